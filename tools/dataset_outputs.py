"""The two folders of a prepared dataset appear together: held-out rows first, training rows last."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .artifacts import METADATA, is_complete, read_json, sync
from .base import BadRequest, note

__all__ = ["only_one", "publish", "refuse_taken", "remove"]


def refuse_taken(finals: list[Path], arguments: dict[str, Any]) -> None:
    """Raise BadRequest where an output exists that a call with the same arguments did not make."""
    for path in finals:
        if path.parent.exists() and not path.parent.is_dir():
            raise BadRequest(f"`{path.parent}` is a file; output_dir must name a folder")
        # A held-out part without its training rows is what a killed call leaves.
        if path.exists() and not _is_from(path, arguments) and not _is_empty_folder(path):
            raise BadRequest(f"`{path}` exists already; choose another output_dir, or move it away")


def _is_from(path: Path, arguments: dict[str, Any]) -> bool:
    if not is_complete(path):
        return False
    try:
        return bool(read_json(path / METADATA)["arguments"] == arguments)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def publish(partials: list[Path], finals: list[Path], source: str) -> None:
    """Give the folders their final names; where they hold the same rows already, leave them as they are.

    Raises:
        BadRequest: they hold other rows.
    """
    dataset, heldout = finals
    if is_complete(dataset):
        if any(_content(partial) != _content(final) for partial, final in zip(partials, finals, strict=True)):
            raise BadRequest(
                f"`{dataset}` was prepared from `{source}` when that held other rows; "
                "move it away, or choose another output_dir"
            )
        note(f"`{dataset}` holds these rows already")
        return
    remove(heldout)
    for partial, final in zip(reversed(partials), reversed(finals), strict=True):
        if partial.exists():
            partial.rename(final)
            sync(final.parent)


def _content(folder: Path) -> str | None:
    return read_json(folder / METADATA)["sha256"] if is_complete(folder) else None


@contextmanager
def only_one(output_dir: Path) -> Iterator[None]:
    """Create the folder and keep other calls out of it; remove it again where nothing came into it."""
    import fcntl  # not at the top: Windows has none, and must still be able to import the tools

    output_dir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(output_dir, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadRequest(
                f"another call prepares data in `{output_dir}` now; wait for it, or choose another"
            ) from error
        yield
    finally:
        if _is_empty_folder(output_dir):
            output_dir.rmdir()
        os.close(descriptor)


def remove(path: Path) -> None:
    """Delete a file or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
