"""Training checkpoints that are complete or absent: safetensors and JSON, hashed, and no pickles.

    <run>/checkpoints/step-000040/
        model.safetensors      the trained weights by name
        optimizer.safetensors  the optimizer's and the random generators' tensors
        state.json             everything that is not a tensor
        manifest.json          sha256 of each file

A checkpoint is written to `step-000040.partial`, flushed to disk and renamed.
"""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .artifacts import file_sha256, read_json, sync
from .base import note

__all__ = ["Checkpoint", "newest_checkpoint", "write_checkpoint"]

_KEPT = 2
_MANIFEST = "manifest.json"
_NAME = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class Checkpoint:
    """A training state after `step` steps. Tensors by name, on the CPU."""

    step: int
    model: dict[str, Any]
    optimizer: dict[str, Any]
    state: dict[str, Any]


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write one checkpoint under `folder` and remove all but the last two.

    Raises:
        OSError: it can't be written; what was there before is untouched.
    """
    from safetensors.torch import save_file

    final = folder / f"step-{checkpoint.step:06d}"
    partial = folder / (final.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(checkpoint.model, partial / "model.safetensors")
    save_file(checkpoint.optimizer, partial / "optimizer.safetensors")
    (partial / "state.json").write_text(json.dumps(checkpoint.state), encoding="utf-8")
    hashes = {path.name: file_sha256(path) for path in sorted(partial.iterdir())}
    (partial / _MANIFEST).write_text(json.dumps({"step": checkpoint.step, "sha256": hashes}), encoding="utf-8")
    for path in (*partial.iterdir(), partial):
        sync(path)
    shutil.rmtree(final, ignore_errors=True)  # of a run that was cut off behind it and has come here again
    partial.rename(final)
    sync(folder)
    for _, old in _present(folder)[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def newest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest checkpoint whose files are all there with the right content, or None.

    A damaged one is passed over, with a note; what an interrupted save left is removed.
    """
    if not folder.is_dir():
        return None
    for partial in folder.glob("*.partial"):
        shutil.rmtree(partial, ignore_errors=True)
    for step, path in reversed(_present(folder)):
        try:
            return _read(path, step)
        except (OSError, ValueError, KeyError) as error:
            note(f"checkpoint {path.name} is damaged ({error}); passing over it")
    return None


def _present(folder: Path) -> list[tuple[int, Path]]:
    """Checkpoints by name, oldest first."""
    found = [(int(match.group(1)), path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return sorted(found)


def _read(path: Path, step: int) -> Checkpoint:
    """Raises OSError, ValueError or KeyError for a damaged checkpoint."""
    from safetensors.torch import load_file

    manifest = read_json(path / _MANIFEST)
    if manifest["step"] != step:
        raise ValueError(f"its manifest names step {manifest['step']}")
    for name, sha256 in manifest["sha256"].items():
        if file_sha256(path / name) != sha256:
            raise ValueError(f"{name} has another content than when it was saved")
    return Checkpoint(
        step,
        load_file(path / "model.safetensors"),
        load_file(path / "optimizer.safetensors"),
        read_json(path / "state.json"),
    )
