"""Files and folders that are complete or absent.

A file is written to `NAME.partial`, flushed to disk and renamed. A folder counts as complete when its
`metadata.json` is there; that file is written last, the same way.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = [
    "METADATA",
    "file_sha256",
    "free_path",
    "is_complete",
    "new_file",
    "read_json",
    "sync",
    "write_json",
    "write_metadata",
]

METADATA = "metadata.json"


def sync(path: Path) -> None:
    """Flush a file's content, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def new_file(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield `NAME.partial` to write to; at a clean end it takes its final name, at an error it is removed.

    Raises:
        FileExistsError: the final name is taken and `replace` is false.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not replace and path.exists():
        raise FileExistsError(f"`{path}` exists already")
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        sync(partial)
        if not replace and path.exists():
            raise FileExistsError(f"`{path}` exists already")
        partial.replace(path)
        sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, complete or not at all; an earlier file of that name is replaced."""
    with new_file(path, replace=True) as partial:
        partial.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Parse a JSON file. Raises OSError or ValueError."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_metadata(folder: Path, value: dict[str, Any]) -> None:
    """Mark `folder` as complete. Call it after everything else in the folder is on the disk."""
    for entry in folder.rglob("*"):
        if entry.is_file():
            sync(entry)
    write_json(folder / METADATA, value)


def is_complete(folder: Path) -> bool:
    """Whether `folder` holds a finished artifact."""
    return (folder / METADATA).is_file()


def free_path(path: Path) -> Path:
    """The path itself, or the first of `NAME-2`, `NAME-3`, ... that does not exist.

    >>> free_path(Path("no/such/model.gguf")).as_posix()
    'no/such/model.gguf'
    """
    # The name of a folder may hold dots that part no suffix, such as llama3.2-1b.
    stem, suffix = (path.name, "") if path.is_dir() else (path.stem, path.suffix)
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{stem}-{number}{suffix}")
    return candidate


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
