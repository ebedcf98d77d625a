"""What every tool shares: the base of its Input and Result, its errors, and how it reports progress.

A tool is one module: an Input model that declares every parameter once, a Result model, and one plain function
from the first to the second. Command line, schemas and adapters are generated from these two models.
"""

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict

__all__ = [
    "BadRequest",
    "MissingExtra",
    "OutputPath",
    "Result",
    "ToolFailed",
    "ToolInput",
    "emit",
    "note",
    "on_event",
    "require_extra",
    "slug",
]


class BadRequest(Exception):
    """The arguments are wrong; whoever wrote them can repair it. Exit status 2."""


class MissingExtra(Exception):
    """A package is not installed; the operator can install it. Exit status 2."""


class ToolFailed(Exception):
    """The work itself failed with good arguments; the log says why. Exit status 1."""


class ToolInput(BaseModel):
    """Arguments of one tool call. Unknown names are errors, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    def reads(self) -> list[Path]:
        """Local paths that must exist, or be written by an earlier step, before this call starts."""
        return []

    def writes(self) -> list[Path]:
        """Local paths that this call creates and that must not exist yet.

        The first is the artifact itself, which is complete last; the others may be absent where there is nothing
        to put into them.
        """
        return []


class Result(BaseModel):
    """What a tool reports when it is done: plain values that go into the record as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    def summary(self) -> str:
        """One or two lines for a person, without markup."""
        raise NotImplementedError


def _inside_or_absolute(value: str) -> str:
    if not value.strip():
        raise ValueError("an output path can't be empty")
    if "\x00" in value or "\n" in value:
        raise ValueError("an output path can't hold control characters")
    if ".." in Path(value).parts:
        raise ValueError(
            f"`{value}` climbs out of the working folder with `..`; name a path inside it or an absolute path"
        )
    return value


OutputPath = Annotated[str, AfterValidator(_inside_or_absolute)]
"""A path to create: relative to the working folder without `..`, or absolute because someone wrote it so."""


def slug(name: str) -> str:
    """Last component of a model name, hub id or path, lower case, safe as a file name.

    >>> slug("unsloth/Gemma-3-270m-it")
    'gemma-3-270m-it'
    >>> slug("runs/Legal V1/")
    'legal-v1'
    """
    last = name.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1].lower()
    return re.sub(r"[^a-z0-9._-]+", "-", last).strip("-.") or "model"


def require_extra(extra: str, *modules: str) -> None:
    """Check that `modules` can be imported, without importing them.

    Raises:
        MissingExtra: names the modules that are missing and the command that installs them.
    """
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise MissingExtra(
            f"{', '.join(f'`{module}`' for module in missing)} {'is' if len(missing) == 1 else 'are'} not installed; "
            f"run: pip install 'tunesmith[{extra}]'"
        )


_listener: Callable[[dict[str, Any]], None] | None = None


def on_event(listener: Callable[[dict[str, Any]], None] | None) -> None:
    """Send this process's events to `listener`; None drops them. A tool process has exactly one."""
    global _listener
    _listener = listener


def emit(event: str, **fields: Any) -> None:
    """Report something that happened now. Kinds and fields:

    - `note`: `text`, one sentence for a person (a fallback, a count of dropped rows, a resumed checkpoint).
    - `step`: `done`, `total` (None where it is not known), `unit`, and figures such as `loss`, `tokens_per_second`,
      `seconds_left`.
    - `probe`: what a training's first steps tell of all of it, see probe.py.
    - `sample`: `title`, `before`, `after`, one row as it came and as it is stored.
    """
    if _listener is not None:
        _listener({"event": event, **fields})


def note(text: str) -> None:
    """Report one sentence for a person."""
    emit("note", text=text)
