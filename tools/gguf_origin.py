"""Where a GGUF file comes from, by the `<stem>.json` beside it, and its untuned base in the same type."""

import hashlib
import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .artifacts import read_json
from .base import BadRequest, MissingExtra, ToolFailed, note, slug
from .base_models import cache_dir, fetch_base_model

__all__ = ["Origin", "base_gguf", "read_origin"]


@dataclass(frozen=True)
class Origin:
    """What export_gguf noted beside a file. Names and paths as they were written; None where it is unknown."""

    note: Path
    run: str | None
    base_model: str | None
    heldout: str | None
    quantization: str | None
    sha256: str | None
    checkpoint_dir: str | None


def read_origin(gguf_file: Path) -> Origin | None:
    """The note beside a GGUF file, or None where there is none.

    Raises:
        BadRequest: the note is damaged.
    """
    path = gguf_file.with_suffix(".json")
    if not path.is_file():
        return None
    try:
        value = read_json(path)
    except (OSError, ValueError) as error:
        raise BadRequest(f"`{path}` beside the GGUF file is damaged: {error}; export the file again") from error
    if not isinstance(value, dict):
        raise BadRequest(f"`{path}` beside the GGUF file is not a note of export_gguf; export the file again")

    def text(key: str) -> str | None:
        found: Any = value.get(key)
        return found if isinstance(found, str) and found else None

    keys = ("run", "base_model", "heldout", "quantization", "sha256", "checkpoint_dir")
    return Origin(path, *(text(key) for key in keys))


def base_gguf(gguf_file: Path, origin: Origin | None, sha256: str) -> Path:
    """The untuned base of a tuned file in the same type, exported once and kept in the cache.

    Raises:
        LookupError: there is no base to compare with; its text says why, for the report.
    """
    if origin is None:
        raise LookupError(f"its base is unknown: no `{gguf_file.with_suffix('.json').name}` lies beside it")
    if origin.sha256 is not None and origin.sha256 != sha256:
        raise LookupError(f"its base is unknown: `{origin.note.name}` beside it belongs to another file")
    if origin.base_model is None or origin.quantization is None:
        raise LookupError(f"its base is unknown: `{origin.note.name}` names no base model")
    if origin.run is None:
        raise LookupError("it is an untuned base itself")
    try:
        folder = fetch_base_model(origin.base_model)
        name = f"{slug(origin.base_model)}-{_identity(folder)}-{origin.quantization}.gguf"
        path = cache_dir() / "gguf" / name
        if not path.is_file():
            _export(origin.base_model, origin.quantization, path)
    except (BadRequest, MissingExtra, ToolFailed) as error:
        raise LookupError(f"its base `{origin.base_model}` could not be exported: {error}") from error
    return path


def _export(base_model: str, quantization: str, path: Path) -> None:
    from .process import run_tool

    note(f"exporting the untuned `{base_model}` as {quantization} to compare with, once")
    # The tuned file's own export has just proved the way from weights to file.
    arguments = {
        "checkpoint_dir": base_model,
        "quantization": quantization,
        "output_file": str(path),
        "check_fidelity": False,
    }
    try:
        run_tool("export_gguf", arguments)
    except (BadRequest, ToolFailed):
        if not path.is_file():  # else another process was faster, with the same result
            raise


def _identity(folder: Path) -> str:
    """Ten hex digits that change with the model's files or the library that packs the weights."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    facts = [f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
    facts.append(importlib.metadata.version("xllamacpp"))
    return hashlib.sha256("\n".join([str(folder.resolve()), *facts]).encode()).hexdigest()[:10]
