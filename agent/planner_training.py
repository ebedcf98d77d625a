"""The planner's own model, made by Tunesmith's own tools: rows, prepare_dataset, finetune_unsloth, export_gguf, scores.

Everything happens in a work folder in the cache, named by what it is made of. The same call after an interruption goes
on where it was: rows are the same from the same seed, and the tools resume.
"""

import hashlib
import itertools
import json
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tunesmith.tools.artifacts import file_sha256, read_json, write_json
from tunesmith.tools.base import BadRequest
from tunesmith.tools.base_models import BUNDLED_MODEL, cache_dir
from tunesmith.tools.lora_gguf import halve_lora_gguf
from tunesmith.tools.process import run_tool

from .frame_prompt import SYSTEM
from .learned import kept_rows
from .lessons.rows import taught_lessons
from .planner_adapter import ADAPTER_FILE, PROVENANCE_FILE, find_adapter
from .planner_scores import scores

__all__ = ["EARLIER", "RECIPE", "ROWS", "SEED", "is_better", "put_in_place", "train_planner"]

ROWS, SEED = 10_000, 1
RECIPE: dict[str, Any] = {
    "base_model": BUNDLED_MODEL,
    "epochs": 1,
    "learning_rate": 3e-3,
    "lora_r": 16,
    "batch_size": 8,
    "max_seq_length": 256,
    "warmup_steps": 20,
}
"""Arguments of finetune_unsloth."""

EARLIER = "earlier"
"""The folder, beside an adapter, of the one that it replaced."""

# What the provenance takes over from the run: nothing that names this machine's folders.
_TOLD = (
    "base_model", "base_sha256", "steps", "trained_rows", "dropped_rows", "supervised_tokens", "first_loss",
    "final_loss", "seconds", "tokens_per_second", "device", "versions",
)  # fmt: skip
_HISTORY_TIMES = 4  # a kept row is learned as often as this: it is one among thousands

Listener = Callable[[str, dict[str, Any]], None]
"""Hears (tool, event) of every step."""


def train_planner(
    output: Path, *, rows: int = ROWS, seed: int = SEED, history: bool = False, on_event: Listener | None = None
) -> dict[str, Any]:
    """Train an adapter and put it into `output`, with its provenance beside it.

    Where an adapter is in use already and kept rows are trained on, the new one is put there only if it answers more of
    the held-out lessons right; the old one stays in `output/earlier`.

    Args:
        output: folder of the adapter.
        rows: lessons to train on, beside the kept rows.
        seed: of the lessons.
        history: train on the rows that were kept of this user's requests as well.
        on_event: hears the tools.

    Returns:
        The provenance: recipe, seed, rows, versions, sha256, seconds, loss, scores, and `used`, whether it is in place.

    Raises:
        BadRequest: no rows were kept, or `output` is no folder for an adapter.
        BadRequest, MissingExtra, ToolFailed: as the tools raise them.
    """
    if rows < 1:
        raise BadRequest(f"`rows` cannot be {rows}; it is at least 1")
    kept = list(kept_rows()) if history else []
    if history and not kept:
        raise BadRequest(
            "no request has been kept yet; say `tunesmith config planner.learn true`, and accept some plans"
        )
    if output.exists() and not output.is_dir():
        raise BadRequest(f"`{output}` is no folder; name the folder that receives the adapter")
    began = time.monotonic()
    taught = _rows(rows, seed, kept)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in taught)
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    recipe_key = json.dumps(RECIPE, sort_keys=True)
    work = cache_dir() / "planner" / hashlib.sha256(f"{sha256}{recipe_key}".encode()).hexdigest()[:16]
    exported = _made(work, text, on_event)
    trained = read_json(work / "run" / "metadata.json")
    training = {name: trained[name] for name in _TOLD}
    found = scores(exported)
    provenance = {
        "sha256": file_sha256(exported),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "recipe": RECIPE,
        "rows": {"lessons": rows, "seed": seed, "kept": len(kept), "sha256": sha256},
        "training": training,
        "seconds": round(time.monotonic() - began, 1),
        "held_out": found,
    }
    old = find_adapter() if history else None
    if old is not None:
        before = scores(old.file)
        provenance["before"] = before
        if not is_better(found, before):
            return provenance | {"used": False}
    put_in_place(output, exported, provenance)
    return provenance | {"used": True}


def _rows(count: int, seed: int, kept: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Lessons and kept rows as conversations, the kept ones spread among the lessons."""
    rows = [lesson.row() for lesson in itertools.islice(taught_lessons(seed), count)]
    extra = [
        {
            "messages": [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": row["prompt"]},
                {"role": "assistant", "content": row["line"]},
            ]
        }
        for row in kept * _HISTORY_TIMES
    ]
    every = max(len(rows) // (len(extra) + 1), 1)
    for n, row in enumerate(extra):
        rows.insert(min((n + 1) * every + n, len(rows)), row)
    return rows


def _made(work: Path, text: str, on_event: Listener | None) -> Path:
    """The exported adapter of these rows, made where it is not there."""

    def run(tool: str, **args: Any) -> None:
        run_tool(tool, args, on_event=lambda event: on_event(tool, event) if on_event else None)

    exported = work / "export" / ADAPTER_FILE
    if exported.exists():
        return exported
    source = work / "lessons.jsonl"
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(text, encoding="utf-8")
    run("prepare_dataset", source=str(source), output_dir=str(work / "data"), heldout_fraction=0)
    run("finetune_unsloth", dataset=str(work / "data" / "train"), output_dir=str(work / "run"), **RECIPE)
    full = work / "export" / "full.gguf"
    full.unlink(missing_ok=True)  # of a call that was stopped between this step and the next
    run("export_gguf", checkpoint_dir=str(work / "run"), quantization="lora", output_file=str(full))
    partial = work / "export" / f"{ADAPTER_FILE}.partial"
    halve_lora_gguf(full, partial)
    partial.rename(exported)
    return exported


def is_better(new: dict[str, Any], old: dict[str, Any]) -> bool:
    """Whether the new adapter reads more of the held-out lessons right; at a draw the old one stays."""
    return bool(new["exact"]["right"] > old["exact"]["right"])


def put_in_place(output: Path, exported: Path, provenance: dict[str, Any]) -> None:
    """The adapter under its name, its provenance beside it; what was there goes into `earlier`."""
    output.mkdir(parents=True, exist_ok=True)
    if (output / ADAPTER_FILE).exists():
        earlier = output / EARLIER
        shutil.rmtree(earlier, ignore_errors=True)
        earlier.mkdir()
        for name in (ADAPTER_FILE, PROVENANCE_FILE):
            if (output / name).exists():
                (output / name).rename(earlier / name)
    partial = output / f"{ADAPTER_FILE}.partial"
    shutil.copyfile(exported, partial)
    write_json(output / PROVENANCE_FILE, provenance)
    partial.rename(output / ADAPTER_FILE)
