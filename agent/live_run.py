"""The run that is going on in this working folder: how far it is, and the operations it is asked for."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from tunesmith.tools.base import BadRequest
from tunesmith.tools.control_file import GoOn, Operation, Save, SetValue, Stop, operations, request

from . import records
from .records import Record, StepRecord
from .steering import EXAMPLES, AskProgress, SetRate, Wish, read_wish

__all__ = ["LiveRun", "clock", "find_live", "refused", "steer"]

_RECENT = 20  # steps whose speed and loss are told


def find_live() -> "LiveRun | None":
    """The run that is at work in this folder, whichever process started it."""
    for record in reversed(records.load_all()):
        if record.state == "running":
            position = next((i for i, step in enumerate(record.steps) if step.state == "running"), None)
            return None if position is None else LiveRun(record, position)
    return None


def steer(text: str) -> str | None:
    """Pass a word for a running training on to it, and say what came of it; None for any other message.

    Raises:
        BadRequest: the step that is going on can't do it.
    """
    wish = read_wish(text)
    if wish is None:
        return None
    if (live := find_live()) is not None:
        return live.answer(wish)
    if isinstance(wish, AskProgress | Save) or (isinstance(wish, Stop) and wish != Stop()):
        return "nothing is running in this folder; `tunesmith runs` lists what ran"
    return None  # the words may mean the last plan


@dataclass(frozen=True)
class LiveRun:
    """A record that a process works on, and the position of the step that is going on."""

    record: Record
    position: int

    @property
    def step(self) -> StepRecord:
        return self.record.steps[self.position]

    def answer(self, wish: Wish) -> str:
        """Do what is asked, and tell it in one sentence.

        Raises:
            BadRequest: the step that is going on can't do it, or the value is out of its range.
        """
        if isinstance(wish, AskProgress):
            return self.progress()
        if self.step.tool != "finetune_unsloth":
            raise BadRequest(
                f"`{self.step.tool}` is going on, and only a training takes that; Ctrl-C stops it and keeps its state"
            )
        folder = Path(self.step.args["output_dir"])
        operation, answer = self._operation(wish, folder)
        request(folder, operation)
        return answer

    def _operation(self, wish: SetRate | Stop | GoOn | Save, folder: Path) -> tuple[Operation, str]:
        if isinstance(wish, Save):
            return wish, "a checkpoint is saved at the end of this step"
        if isinstance(wish, GoOn):
            return wish, "it goes on to its end"
        if isinstance(wish, Stop):
            return wish, self._stop(wish, folder)
        set_before = [one.value for one in operations(folder) if isinstance(one, SetValue)]
        peak = set_before[-1] if set_before else float(self.step.args["learning_rate"])
        value = peak * wish.times if wish.times is not None else wish.value
        try:
            operation = SetValue.model_validate({"value": value})
        except ValidationError as error:
            raise BadRequest(f"`learning_rate` would be {value:g}; it is above 0 and at most 0.1") from error
        return operation, f"learning_rate {peak:g} → {operation.value:g} from the next step on"

    def _stop(self, stop: Stop, folder: Path) -> str:
        last = _last(folder)
        now = {"step": last.get("step", 0), "epoch": math.ceil(last.get("epoch", 0))}[stop.after]
        most = {"step": last.get("total"), "epoch": self.step.args.get("epochs")}[stop.after]
        if stop.number is not None and stop.number < now:
            raise BadRequest(f"{stop.after} {stop.number} is over: it is at {stop.after} {now}")
        if stop.number is not None and most is not None and stop.number > most:
            raise BadRequest(f"there is no {stop.after} {stop.number}: the training has {most}")
        which = f"this {stop.after}" if stop.number is None else f"{stop.after} {stop.number}"
        return f"it stops after {which}, `resume` goes on from there; `keep going` takes this back"

    def progress(self) -> str:
        """How far it is, in one sentence."""
        where = f"{self.step.tool} ({self.position + 1} of {len(self.record.steps)})"
        since = f"{clock(_seconds_since(self.step.started))} so far"
        metrics = _metrics(self.step) if self.step.tool == "finetune_unsloth" else []
        if not metrics:
            return f"{where} is at work, {since}"
        last, recent = metrics[-1], metrics[-_RECENT:]
        seconds = sum(line["seconds"] for line in recent) / len(recent)
        loss = sum(line["loss"] for line in recent) / len(recent)
        speed = sum(line["tokens"] for line in recent) / max(sum(line["seconds"] for line in recent), 1e-9)
        left = clock(seconds * (last["total"] - last["step"]))
        return (
            f"{where}: step {last['step']} of {last['total']}, epoch {last['epoch']:.1f}, loss {loss:.3f} "
            f"(at first {metrics[0]['loss']:.3f}), {speed:.0f} tokens/s, {since}, about {left} left"
        )


def refused(text: str) -> str:
    """What to say to a message that a running process does not take."""
    return f"a run is going on, and `{text}` is nothing it takes: {EXAMPLES}. Other requests wait for its end"


def _metrics(step: StepRecord) -> list[dict[str, Any]]:
    from tunesmith.tools.training_loop import read_metrics

    return read_metrics(Path(step.args["output_dir"]))


def _last(folder: Path) -> dict[str, Any]:
    from tunesmith.tools.training_loop import read_metrics

    return next(reversed(read_metrics(folder)), {})


def _seconds_since(started: str | None) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(started)).total_seconds() if started else 0.0


def clock(seconds: float) -> str:
    """A time as people read it.

    >>> clock(80), clock(4000)
    ('1:20', '1:06:40')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
