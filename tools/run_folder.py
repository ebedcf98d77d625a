"""The folder of one training run: who may write to it, and whether it goes on from an earlier attempt.

`run.json` is written first and holds what the run is made of; `metadata.json` is written last and marks it finished.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .artifacts import is_complete, read_json, write_json
from .base import BadRequest, slug

__all__ = ["RUN_FILE", "claim_run_folder", "default_run_folder"]

RUN_FILE = "run.json"

_LOCK = ".lock"
_LOCK_SECONDS = 10  # a process whose parent was killed is gone after a second or two
# What may lie in a folder before the run begins: the executor's log, operations written ahead.
_HARMLESS = (_LOCK, "control.jsonl", "*.log")


def default_run_folder(base_model: str, identity: dict[str, Any]) -> Path:
    """`runs/<base_model>`, or the first of `-2`, `-3`, ... that is free or holds an unfinished run of this identity."""
    number, folder = 1, Path("runs") / slug(base_model)
    while _is_taken(folder) and not _is_unfinished(folder, identity):
        number += 1
        folder = folder.with_name(f"{slug(base_model)}-{number}")
    return folder


def _is_taken(folder: Path) -> bool:
    if not folder.is_dir():
        return folder.exists()
    return any(not any(path.match(pattern) for pattern in _HARMLESS) for path in folder.iterdir())


def _is_unfinished(folder: Path, identity: dict[str, Any]) -> bool:
    return not is_complete(folder) and _recorded(folder) == identity


def _recorded(folder: Path) -> Any:
    try:
        return read_json(folder / RUN_FILE)
    except (OSError, ValueError):
        return None


@contextmanager
def claim_run_folder(folder: Path, identity: dict[str, Any]) -> Iterator[None]:
    """Hold a run folder for this process: a new one, or one whose unfinished run is this one.

    Args:
        folder: made if missing.
        identity: what the run is made of, as JSON values; an unfinished run goes on only if it is the same.

    Raises:
        BadRequest: the name is taken by something else, or another process trains there.
    """
    from filelock import FileLock, Timeout

    if folder.exists() and not folder.is_dir():
        raise BadRequest(f"`{folder}` exists already and is a file; name another `output_dir`")
    if is_complete(folder):
        raise BadRequest(f"`{folder}` exists already and is finished; name another `output_dir`")
    taken = _is_taken(folder)
    if taken and (recorded := _recorded(folder)) != identity:
        if isinstance(recorded, dict):
            other = ", ".join(f"`{name}`" for name in _differences(recorded, identity))
            raise BadRequest(f"`{folder}` holds an unfinished run with another {other}; name another `output_dir`")
        raise BadRequest(f"`{folder}` exists already and is no run of this tool; name another `output_dir`")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadRequest(f"can't make the folder `{folder}`: {error.strerror}") from error
    try:
        with FileLock(folder / _LOCK, timeout=_LOCK_SECONDS):
            if not taken:
                write_json(folder / RUN_FILE, identity)
            yield
    except Timeout as error:
        raise BadRequest(
            f"another process is training in `{folder}`; wait for it, or name another `output_dir`"
        ) from error


def _differences(recorded: dict[str, Any], identity: dict[str, Any]) -> list[str]:
    """Names of what differs, those inside `arguments` by their own name.

    >>> _differences({"seed": 1, "arguments": {"epochs": 1}}, {"seed": 1, "arguments": {"epochs": 2}})
    ['epochs']
    """
    left, right = (
        {**{k: v for k, v in value.items() if k != "arguments"}, **dict(value.get("arguments") or {})}
        for value in (recorded, json.loads(json.dumps(identity)))
    )
    return sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))
