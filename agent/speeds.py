"""How long steps took on this machine, in whatever folder: what an estimate goes by where nothing ran yet.

One JSON line for each step that was done, newest last, in the user's state folder. Lines are appended in one write, so
that runs that end at once do not mix theirs; a line that can't be read is passed over; a folder that can't be written
to is done without.
"""

import contextlib
import os
import platform
from pathlib import Path
from typing import Any

from platformdirs import user_state_path
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .check import gpu_memory_bytes

__all__ = ["Speed", "remember", "remembered", "this_machine"]

_FILE = "speeds.jsonl"
_LARGEST = 128 * 1024  # bytes; then the older half goes
_READ = 300  # lines


class Speed(BaseModel):
    """What one step took. Of names, only those of base models and evaluation sets are kept.

    Attributes:
        machine: what the work ran on, see `this_machine`.
        args: the arguments that time and memory depend on.
        size: how much work it was, in a unit of the tool (work.py).
        growing: of its seconds, those that grow with the work; the rest is start-up.
        memory_gib: most memory of a training.
        per_byte: of a preparation, the rows and characters that a byte of the source became, and the source's ending.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)
    machine: str
    tool: str
    args: dict[str, Any]
    size: float = Field(gt=0, allow_inf_nan=False)
    seconds: float = Field(gt=0, allow_inf_nan=False)
    growing: float = Field(ge=0, allow_inf_nan=False)
    memory_gib: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    per_byte: dict[str, Any] | None = None


def this_machine() -> str:
    """What speeds depend on here: kind of system, number of cores, size of the GPU."""
    gpu = gpu_memory_bytes()
    device = f", GPU with {gpu / 2**30:.0f} GiB" if gpu else ""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores{device}"


def remember(speed: Speed) -> None:
    """Append a line; the older half of a file that has grown large goes."""
    path = _path()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as stream:  # the first line end closes a line that a crash cut off
            stream.write(b"\n" + speed.model_dump_json(exclude_none=True).encode() + b"\n")
        if path.stat().st_size > _LARGEST:
            lines = path.read_bytes().splitlines(keepends=True)
            partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
            partial.write_bytes(b"".join(lines[len(lines) // 2 :]))
            partial.replace(path)


def remembered() -> list[Speed]:
    """What ran on a machine like this one, newest first."""
    try:
        lines = _path().read_bytes().splitlines()[-2 * _READ :]
    except OSError:
        return []
    found, machine = [], this_machine()
    for line in reversed(lines):
        with contextlib.suppress(ValidationError):
            if line.strip() and (speed := Speed.model_validate_json(line)).machine == machine:
                found.append(speed)
    return found[:_READ]


def _path() -> Path:
    return user_state_path("tunesmith", appauthor=False) / _FILE
