"""Operations for a running training: the lines of `control.jsonl` in its folder.

    {"op": "stop"}                                                    save a checkpoint and end
    {"op": "stop", "after": "epoch"}                                  the same when this epoch is over
    {"op": "stop", "after": "step", "number": 40}                     the same when step 40 is over
    {"op": "go on"}                                                   forget a stop that is still to come
    {"op": "save"}                                                    save a checkpoint
    {"op": "set", "parameter": "learning_rate", "value": 0.0001}      from the next step on

Each line is applied once, at the end of a step, and recorded in `control-applied.jsonl` with that step. A run that
goes on from an earlier checkpoint sets the same values at the same steps again; where it stopped it does not stop
again, and a stop that was still to come is still to come.
"""

import contextlib
import functools
import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from .base import note

__all__ = ["STOPPED", "ControlFile", "GoOn", "Operation", "Save", "SetValue", "Stop", "operations", "request"]

STOPPED = "as control.jsonl asks"
"""What the failure of a run that was told to stop says; any other failure does not."""

_FILE = "control.jsonl"


class _Operation(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Stop(_Operation):
    op: Literal["stop"] = "stop"
    after: Literal["step", "epoch"] = "step"
    number: int | None = Field(
        default=None, ge=1, description="which step or epoch, from 1; the present one by default"
    )

    def last_step(self, step: int, steps_per_epoch: int) -> int:
        """The step after which the run ends, where the operation is read after `step`.

        >>> Stop().last_step(40, 34), Stop(after="epoch").last_step(40, 34), Stop(number=50).last_step(40, 34)
        (40, 68, 50)
        """
        if self.after == "step":
            return self.number or step
        return (self.number or -(-step // steps_per_epoch)) * steps_per_epoch


class GoOn(_Operation):
    op: Literal["go on"] = "go on"


class Save(_Operation):
    op: Literal["save"] = "save"


class SetValue(_Operation):
    op: Literal["set"] = "set"
    parameter: Literal["learning_rate"] = "learning_rate"
    value: float = Field(gt=0, le=0.1)


Operation = Stop | GoOn | Save | SetValue


@functools.cache
def _adapter() -> TypeAdapter[Operation]:
    return TypeAdapter(Annotated[Operation, Field(discriminator="op")])


def request(folder: Path, operation: Operation) -> None:
    """Ask the training in `folder` for an operation; it is read at the end of the step that is going on."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _FILE).open("a+b") as stream:
        if stream.tell() and (stream.seek(-1, os.SEEK_END), stream.read(1))[1] != b"\n":
            stream.write(b"\n")  # a line that someone left without its end
        stream.write(operation.model_dump_json(exclude_none=True).encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def operations(folder: Path) -> list[Operation]:
    """What the training in `folder` was asked for so far, lines that are no operation left out."""
    try:
        lines = (folder / _FILE).read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    except OSError:
        return []
    return _parsed(lines)


def _parsed(lines: list[str]) -> list[Operation]:
    found = []
    for line in lines:
        with contextlib.suppress(ValidationError):
            found.append(_adapter().validate_json(line))
    return found


class ControlFile:
    """Reads a run folder's operations.

    Attributes:
        applied: one dict per line that was read: `line` (from 1), `step`, and the operation or a `problem`; `until`
            is the last step before a stop that is still to come.
    """

    def __init__(self, folder: Path, resumed_step: int, steps_per_epoch: int = 1) -> None:
        self._file = folder / _FILE
        self._record = folder / "control-applied.jsonl"
        self._steps_per_epoch = steps_per_epoch
        self._stop_after: int | None = None
        self.applied: list[dict[str, Any]] = []
        if self._record.is_file():
            for line in self._record.read_text(encoding="utf-8").splitlines():
                try:
                    self.applied.append(json.loads(line))
                except ValueError:
                    break  # cut off by a crash before it was applied
            self._record.write_text("".join(json.dumps(entry) + "\n" for entry in self.applied), encoding="utf-8")
        self._repeated = [entry for entry in self.applied if entry["step"] > resumed_step and "problem" not in entry]
        for entry in self.applied:
            if entry.get("until", 0) > resumed_step:
                self._stop_after = entry["until"]
            elif entry.get("operation", {}).get("op") in ("stop", "go on"):
                self._stop_after = None

    def due(self, step: int) -> list[Operation]:
        """The operations to apply at the end of this step."""
        again = [_adapter().validate_python(entry["operation"]) for entry in self._repeated if entry["step"] == step]
        due: list[Operation] = [operation for operation in again if isinstance(operation, SetValue)]
        due += self._read(step)
        if self._stop_after is not None and step >= self._stop_after:
            self._stop_after = None
            due.append(Stop())
        return due

    def has_word(self) -> bool:
        """Whether a stop or a go on came that was not applied yet."""
        return any(isinstance(operation, Stop | GoOn) for operation in _parsed(self._new_lines()))

    def _new_lines(self) -> list[str]:
        """The lines that were not read yet; a line counts once its end is written."""
        try:
            text = self._file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        return text.split("\n")[:-1][len(self.applied) :]

    def _read(self, step: int) -> list[Operation]:
        """The operations of new lines that are due at once; a later stop is kept in mind."""
        due: list[Operation] = []
        for number, line in enumerate(self._new_lines(), len(self.applied) + 1):
            entry: dict[str, Any] = {"line": number, "step": step}
            try:
                operation = _adapter().validate_json(line)
                entry["operation"] = operation.model_dump(exclude_none=True)
                if isinstance(operation, Stop | GoOn):
                    self._stop_after = None
                if isinstance(operation, Stop) and (last := operation.last_step(step, self._steps_per_epoch)) > step:
                    self._stop_after = entry["until"] = last
                else:
                    due.append(operation)
            except ValidationError as error:
                entry["problem"] = f"{line[:200]!r} is not an operation: {error.errors()[0]['msg']}"
                note(f"line {number} of {self._file.name} is passed over: {entry['problem']}")
            self._append(entry)
        return due

    def _append(self, entry: dict[str, Any]) -> None:
        self.applied.append(entry)
        with self._record.open("a", encoding="utf-8") as record:
            record.write(json.dumps(entry) + "\n")
            record.flush()
            os.fsync(record.fileno())
