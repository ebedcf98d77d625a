"""What would stop a plan on this machine now: files that are not there, names that are taken, too little room.

Planning never fails on these; only running is refused. Each problem is one sentence.
"""

import functools
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tunesmith.tools.artifacts import is_complete
from tunesmith.tools.base import BadRequest
from tunesmith.tools.catalogue import find_base_model
from tunesmith.tools.registry import TOOLS
from tunesmith.tools.workplace import here

from .forecast import export_bytes, models_of
from .plan import History, Plan, Step

__all__ = ["disk_bytes", "gpu_memory_bytes", "problems", "training_bytes"]

# Lower bounds, in bytes per weight of the base: what must be in memory at the least while training. 16-bit and
# quantised weights as stored; full fine-tuning adds a gradient and two AdamW moments in 32 bit.
_BYTES_PER_WEIGHT = {"16bit": 2.0, "8bit": 1.0, "4bit": 0.5}
_FULL_TRAINING_BYTES = 2.0 + 4.0 + 8.0
_GIB = 2**30


def problems(plan: Plan, history: History | None = None) -> tuple[str, ...]:
    """Every reason, as one sentence each, why running this plan here and now would be refused.

    With a `history`, the outputs of its plans count as being there, whether or not they are on this disk.
    """
    found: list[str] = []
    written: set[Path] = set()
    for ran in history.ran if history is not None else ():
        for step in ran.plan.steps:
            written.update(TOOLS[step.tool].validate(step.args).writes())
    wanted = 0
    models = models_of(plan)
    for step in plan.steps:
        try:
            request = TOOLS[step.tool].validate(step.args)
        except BadRequest as error:
            found.append(str(error))
            continue
        if not step.reuse:
            found.extend(_missing(step, request.reads(), written))
            found.extend(_taken(step, request.writes(), written))
            found.extend(_memory(step))
            wanted += disk_bytes(step, models)
        written.update(request.writes())
    free = shutil.disk_usage(here()).free
    if wanted > free:
        found.append(f"the plan needs about {wanted / _GIB:.1f} GiB of disk and {free / _GIB:.1f} GiB are free here")
    return tuple(dict.fromkeys(found))


def _missing(step: Step, reads: Iterable[Path], written: set[Path]) -> list[str]:
    found = []
    for path in reads:
        if _among(path, written):
            continue
        there = here(path)
        if not there.exists():
            found.append(f"{step.tool}: `{path}` is not there")
        elif there.is_dir() and not any(there.iterdir()):
            found.append(f"{step.tool}: `{path}` is an empty folder")
    return found


def _taken(step: Step, writes: Iterable[Path], written: set[Path]) -> list[str]:
    found = []
    for path in writes:
        there = here(path)
        if _among(path, written, parents=False):
            found.append(f"{step.tool}: `{path}` is written by an earlier step of this plan or of a run")
        elif there.is_file() or is_complete(there):
            found.append(f"{step.tool}: `{path}` exists already and is never overwritten; name another")
        elif there.is_dir() and any(there.iterdir()):
            # An unfinished folder belongs to a run that can be resumed; a new plan must not mix with it.
            found.append(f"{step.tool}: `{path}` holds something else or an unfinished run; name another, or resume it")
    return found


def _among(path: Path, written: set[Path], *, parents: bool = True) -> bool:
    candidates = (path, *path.parents) if parents else (path,)
    return any(candidate in written for candidate in candidates)


def training_bytes(step: Step) -> float | None:
    """What a training must hold in memory at the least, in bytes; None for another step or an unknown model."""
    entry = find_base_model(str(step.args["base_model"])) if step.tool == "finetune_unsloth" else None
    if entry is None:
        return None
    full = step.args.get("lora_r") == 0
    per_weight = _FULL_TRAINING_BYTES if full else _BYTES_PER_WEIGHT[str(step.args.get("quant", "16bit"))]
    return entry.parameters * per_weight


def _memory(step: Step) -> list[str]:
    need = training_bytes(step)
    if need is None:
        return []
    gpu = gpu_memory_bytes()
    have, where = (
        (gpu, "GPU memory")
        if gpu
        else (os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), "memory, without a GPU")
    )
    if need <= have:
        return []
    advice = "use a smaller model" if step.args.get("quant") == "4bit" else "load it in 4bit or use a smaller model"
    return [
        f"finetune_unsloth: `{step.args['base_model']}` needs at least {need / _GIB:.1f} GiB to train this way and "
        f"this machine has {have / _GIB:.1f} GiB of {where}; {advice}"
    ]


def disk_bytes(step: Step, models: dict[str, str]) -> int:
    """What a step writes, in bytes: exported files, merged models, a base in the cache."""
    if step.tool == "export_gguf":
        return export_bytes(step, models) or 0
    name = str(step.args.get("base_model") or step.args.get("checkpoint_dir") or "").rstrip("/").rsplit("/", 1)[-1]
    entry = find_base_model(name)
    if entry is not None and step.tool in ("finetune_unsloth", "export_safetensors"):
        return 2 * entry.parameters
    return 0


@functools.cache
def gpu_memory_bytes() -> int | None:
    """Memory of the largest NVIDIA GPU in bytes, asked of the driver's own tool; None without one."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = [program, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        answer: Any = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
        return max((int(line) for line in answer.split()), default=0) * 2**20 or None
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
