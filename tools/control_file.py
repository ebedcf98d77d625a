"""Operations for a running training: the lines of `control.jsonl` in its folder.

    {"op": "stop"}                                                    save a checkpoint and end
    {"op": "save"}                                                    save a checkpoint
    {"op": "set", "parameter": "learning_rate", "value": 0.0001}      from the next step on

Each line is applied once, at the end of a step, and recorded in `control-applied.jsonl` with that step. A run that
goes on from an earlier checkpoint sets the same values at the same steps again; it does not stop again.
"""

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from .base import note

__all__ = ["ControlFile", "Operation", "Save", "SetValue", "Stop"]


class _Operation(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Stop(_Operation):
    op: Literal["stop"]


class Save(_Operation):
    op: Literal["save"]


class SetValue(_Operation):
    op: Literal["set"]
    parameter: Literal["learning_rate"]
    value: float = Field(gt=0, le=0.1)


Operation = Stop | Save | SetValue


class ControlFile:
    """Reads a run folder's operations.

    Attributes:
        applied: one dict per line that was read: `line` (from 1), `step`, and the operation or a `problem`.
    """

    def __init__(self, folder: Path, resumed_step: int) -> None:
        self._file = folder / "control.jsonl"
        self._record = folder / "control-applied.jsonl"
        self._parse: TypeAdapter[Operation] = TypeAdapter(Annotated[Operation, Field(discriminator="op")])
        self.applied: list[dict[str, Any]] = []
        if self._record.is_file():
            for line in self._record.read_text(encoding="utf-8").splitlines():
                try:
                    self.applied.append(json.loads(line))
                except ValueError:
                    break  # cut off by a crash before it was applied
            self._record.write_text("".join(json.dumps(entry) + "\n" for entry in self.applied), encoding="utf-8")
        self._repeated = [entry for entry in self.applied if entry["step"] > resumed_step and "problem" not in entry]

    def due(self, step: int) -> list[Operation]:
        """The operations to apply at the end of this step."""
        again = [self._parse.validate_python(entry["operation"]) for entry in self._repeated if entry["step"] == step]
        due: list[Operation] = [operation for operation in again if isinstance(operation, SetValue)]
        try:
            text = self._file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return due
        lines = text.split("\n")[:-1]  # a line counts once its end is written
        for number, line in enumerate(lines[len(self.applied) :], len(self.applied) + 1):
            entry: dict[str, Any] = {"line": number, "step": step}
            try:
                operation = self._parse.validate_json(line)
                entry["operation"] = operation.model_dump()
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
