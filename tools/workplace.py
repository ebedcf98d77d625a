"""The folder in which relative paths begin.

That is the process's current folder, as for any command, unless a host named another for the work at hand: it may
have several folders at work in as many threads, and its own current folder must stay what it is. Whatever looks at
the disk on behalf of a request goes through `here`. A tool's own process has that folder as its current one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from .base import BadRequest

__all__ = ["here", "on_disk", "working_in"]

_folder: ContextVar[Path | None] = ContextVar("tunesmith_folder", default=None)


def here(path: Path | str = "") -> Path:
    """Where a path of a request lies, as this process finds it.

    >>> with working_in("/"):
    ...     here("runs/a"), here("/tmp/a")
    (PosixPath('/runs/a'), PosixPath('/tmp/a'))
    >>> here("runs/a")
    PosixPath('runs/a')
    """
    folder = _folder.get()
    return Path(path) if folder is None else folder / path


def on_disk(path: str) -> bool:
    """Whether something is there under a path as a user writes it; false for what no disk could hold."""
    try:
        return here(Path(path).expanduser()).exists()
    except (OSError, ValueError, RuntimeError):
        return False


@contextmanager
def working_in(folder: Path | str | None) -> Iterator[None]:
    """Let relative paths begin in `folder`, in this thread or task; None means the process's current folder.

    Raises:
        BadRequest: there is no such folder.
    """
    if folder is not None and not Path(folder).is_dir():
        raise BadRequest(f"`{folder}` is no folder; make it first")
    token = _folder.set(None if folder is None else Path(folder).absolute())
    try:
        yield
    finally:
        _folder.reset(token)
