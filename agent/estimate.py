"""What a plan will take on this machine: time and memory from what ran here before, disk from shapes.

Nothing is invented: a time is told once something like it has run, in this folder or another one of this machine, and
then in proportion to the work.
"""

from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict

from . import records
from .check import disk_bytes, training_bytes
from .forecast import models_of
from .live_run import clock
from .plan import Plan, Step
from .records import Record, StepRecord, artifact
from .speeds import Speed, remembered
from .work import MEMORY_NAMES, Call, measured

__all__ = ["Estimate", "estimate", "took"]

_GIB = 2**30
_WORTH_TELLING = 10_000_000  # bytes on a disk


class Estimate(BaseModel):
    """What a plan will take.

    Attributes:
        seconds: of each step, in order; None where nothing like it has run here, 0 where it is not run again.
        memory_gib: most memory of a training; None without one.
        memory_at_least: whether that is only a lower bound.
        disk: bytes that are written.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    seconds: tuple[float | None, ...]
    memory_gib: float | None = None
    memory_at_least: bool = False
    disk: int

    @property
    def total(self) -> float | None:
        """Seconds of the whole plan, or None where a step's are not known."""
        known = [seconds for seconds in self.seconds if seconds is not None]
        return sum(known) if len(known) == len(self.seconds) else None

    def told(self, plan: Plan) -> str:
        """The estimate in one line."""
        parts = []
        open_steps = [step.tool for step, seconds in zip(plan.steps, self.seconds, strict=True) if seconds is None]
        known = sum(seconds for seconds in self.seconds if seconds is not None)
        if not open_steps:
            parts.append(f"about {_time(known)}")
        elif known:
            unknown = " and ".join(dict.fromkeys(open_steps))
            parts.append(f"about {_time(known)} without {unknown} (nothing here to go by yet)")
        if self.memory_gib is not None:
            parts.append(f"{'at least' if self.memory_at_least else 'about'} {self.memory_gib:.1f} GiB of memory")
        if self.disk >= _WORTH_TELLING:
            parts.append(f"about {self.disk / 1e9:.2f} GB of disk")
        if open_steps and not known:
            parts.append("the time is told once something like it has run here")
        return f"estimate: {', '.join(parts)}"


def estimate(plan: Plan) -> Estimate:
    """What a plan will take here, from its values, the shapes of its models and what ran before."""
    past = [*_of_this_folder(), *remembered()]
    models = models_of(plan)
    memory = [_memory_gib(step, past) for step in plan.steps if not step.reuse]
    most = max((found for found in memory if found is not None), default=(None, False))
    return Estimate(
        seconds=tuple(_seconds(step, plan, past) for step in plan.steps),
        memory_gib=most[0],
        memory_at_least=most[1],
        disk=sum(disk_bytes(step, models) for step in plan.steps if not step.reuse),
    )


def took(record: Record) -> str | None:
    """What a finished run took, with the estimate beside it, in one line; None where nothing had to run."""
    expected = Estimate.model_validate(record.estimate) if record.estimate else None
    done = [step for step in record.steps if step.state == "done"]
    if not done:
        return None
    total = expected.total if expected else None
    parts = [f"{_time(sum(step.seconds or 0 for step in done))}{_estimated(None if total is None else _time(total))}"]
    peaks = [step.result["peak_memory_gib"] for step in done if step.result and "peak_memory_gib" in step.result]
    if peaks:
        least = "at least " if expected and expected.memory_at_least else ""
        memory = f"{least}{expected.memory_gib:.1f}" if expected and expected.memory_gib is not None else None
        parts.append(f"{max(peaks):.1f} GiB of memory{_estimated(memory)}")
    written = sum(_bytes_of(record, step) for step in done)
    if written >= _WORTH_TELLING:
        disk = f"{expected.disk / 1e9:.2f}" if expected and expected.disk else None
        parts.append(f"{written / 1e9:.2f} GB of disk{_estimated(disk)}")
    return f"took: {', '.join(parts)}"


def _of_this_folder() -> list[Speed]:
    """What was done in this folder, newest first."""
    found = []
    for record in records.newest():
        plan = record.plan()
        found += [speed for step in record.steps if (speed := measured(step, plan)) is not None]
    return found


def _seconds(step: Step, plan: Plan, past: Sequence[Speed]) -> float | None:
    """In proportion to the newest call that is alike; what is start-up does not grow."""
    if step.reuse:
        return 0.0
    call = Call(step.tool, step.args, plan)
    size, other = call.size(past), next((speed for speed in past if call.like(speed)), None)
    if size is None or other is None:
        return None
    return other.seconds - other.growing + other.growing * size / other.size


def _memory_gib(step: Step, past: Iterable[Speed]) -> tuple[float, bool] | None:
    """Memory, and whether that is only a lower bound; None for a step that is no training."""
    if step.tool != "finetune_unsloth":
        return None
    for speed in past:
        alike = speed.tool == step.tool and all(speed.args.get(name) == step.args.get(name) for name in MEMORY_NAMES)
        if alike and speed.memory_gib is not None:
            return speed.memory_gib, False
    least = training_bytes(step)
    return (least / _GIB, True) if least is not None else None


def _time(seconds: float) -> str:
    return clock(max(seconds, 1.0))


def _estimated(text: str | None) -> str:
    return f" (estimated {text})" if text else ""


def _bytes_of(record: Record, step: StepRecord) -> int:
    made = artifact(step.tool, step.args)
    if made is None:
        return 0
    there = record.home / made
    files = [path for path in there.rglob("*") if path.is_file()] if there.is_dir() else [there]
    return sum(path.stat().st_size for path in files if path.is_file())
