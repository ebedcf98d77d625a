"""What a plan will take on this machine: time and memory from what ran in this folder, disk from shapes.

Nothing is invented: a time is told once something like it has run here, and then in proportion. A training's time
goes with the characters it reads and the weights of its model, that of an export and an evaluation with the weights.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.tools.artifacts import METADATA, read_json
from tunesmith.tools.catalogue import find_base_model
from tunesmith.tools.locations import local_path

from . import records
from .check import disk_bytes, training_bytes
from .forecast import models_of
from .live_run import clock
from .plan import Plan, Step
from .records import Record, StepRecord, artifact

__all__ = ["Estimate", "estimate"]

_GIB = 2**30
_FIRST_STEPS = 2  # of a training, after which its time is known better
_WORTH_TELLING = 10_000_000  # bytes on a disk
# What must be the same in an earlier call for its time to tell anything.
_ALIKE = {"finetune_unsloth": ("method", "quant"), "run_eval": ("eval_set", "limit")}


@dataclass(frozen=True)
class Estimate:
    """What a plan will take.

    Attributes:
        seconds: of each step, in order; None where nothing like it has run here, 0 where it is not run again.
        memory_gib: most memory of a training, and whether that is only a lower bound; None without a training.
        disk: bytes that are written.
    """

    seconds: tuple[float | None, ...]
    memory_gib: tuple[float, bool] | None
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
            size, lower_bound = self.memory_gib
            parts.append(f"{'at least' if lower_bound else 'about'} {size:.1f} GiB of memory")
        if self.disk >= _WORTH_TELLING:
            parts.append(f"about {self.disk / 1e9:.2f} GB of disk")
        if open_steps and not known:
            parts.append("the time is told once something like it has run here")
        return f"estimate: {', '.join(parts)}"

    def overrun(self, position: int, event: dict[str, Any]) -> str | None:
        """A remark once a training's first steps, the longest batch among them, show that it more than doubles."""
        expected = self.seconds[position]
        first = event["event"] == "step" and "loss" in event and event["done"] == _FIRST_STEPS
        if not first or not expected or event["seconds_left"] <= 2 * expected:
            return None
        return (
            f"this takes longer than estimated: about {_time(event['seconds_left'])} left instead of "
            f"{_time(expected)}; `stop` ends it and keeps its state"
        )

    def beside(self, record: Record) -> str:
        """What a finished run took, with the estimate beside it, in one line."""
        done = [step for step in record.steps if step.state == "done"]
        took = sum(step.seconds or 0 for step in done)
        parts = [f"{_time(took)}{_estimated(_time(self.total) if self.total is not None else None)}"]
        peaks = [step.result["peak_memory_gib"] for step in done if step.result and "peak_memory_gib" in step.result]
        if peaks:
            memory = self.memory_gib and f"{'at least ' if self.memory_gib[1] else ''}{self.memory_gib[0]:.1f}"
            parts.append(f"{max(peaks):.1f} GiB of memory{_estimated(memory)}")
        written = sum(_bytes_of(step) for step in done)
        if written >= _WORTH_TELLING:
            parts.append(f"{written / 1e9:.2f} GB of disk{_estimated(f'{self.disk / 1e9:.2f}' if self.disk else None)}")
        return f"took: {', '.join(parts)}"


def _time(seconds: float) -> str:
    return clock(max(seconds, 1.0))


def _estimated(text: str | None) -> str:
    return f" (estimated {text})" if text else ""


def _bytes_of(step: StepRecord) -> int:
    made = artifact(step.tool, step.args)
    if made is None:
        return 0
    files = [path for path in made.rglob("*") if path.is_file()] if made.is_dir() else [made]
    return sum(path.stat().st_size for path in files if path.is_file())


def estimate(plan: Plan) -> Estimate:
    """What a plan will take here, from its values, the shapes of its models and the records of this folder."""
    past = [
        (_Call(step.tool, step.args, record.plan()), step)
        for record in reversed(records.load_all())
        for step in record.steps
        if step.state == "done" and step.seconds and step.result
    ]
    calls = [_Call(step.tool, step.args, plan) for step in plan.steps]
    seconds = tuple(0.0 if step.reuse else _seconds(call, past) for step, call in zip(plan.steps, calls, strict=True))
    models = models_of(plan)
    memory = [_memory_gib(step, past) for step in plan.steps if not step.reuse]
    return Estimate(
        seconds,
        max((found for found in memory if found is not None), default=None),
        sum(disk_bytes(step, models) for step in plan.steps if not step.reuse),
    )


@dataclass(frozen=True)
class _Call:
    """One step, and the plan that says what its inputs are."""

    tool: str
    args: dict[str, Any]
    plan: Plan

    def alike(self, other: "_Call") -> bool:
        names = _ALIKE.get(self.tool, ())
        return self.tool == other.tool and all(self.args.get(name) == other.args.get(name) for name in names)

    def size(self) -> float | None:
        """How much work it is, in a unit that only calls that are alike share; None where that is not known."""
        if self.tool == "prepare_dataset":
            return _source_bytes(self.args)
        weights = _weights(self._model())
        if self.tool != "finetune_unsloth" or weights is None:
            return weights
        card = _card(str(self.args["dataset"]))
        if card is None:
            return None
        passes = float(self.args["epochs"])
        if self.args.get("max_steps"):
            passes = self.args["max_steps"] * self.args["batch_size"] / max(card["rows"], 1)
        return float(weights * passes * card["characters"]["total"])

    def _model(self) -> str:
        """The model that it works on, in the words of the plan."""
        if self.tool == "finetune_unsloth":
            return str(self.args["base_model"])
        name = str(self.args.get("checkpoint_dir") or self.args.get("gguf_file"))
        made = {str(step.args.get("output_file")): str(step.args.get("checkpoint_dir")) for step in self.plan.steps}
        checkpoint = made.get(name, name)
        return models_of(self.plan).get(checkpoint, checkpoint)


def _seconds(call: _Call, past: list[tuple[_Call, StepRecord]]) -> float | None:
    """In proportion to the newest call that is alike; a training's start-up does not grow with it."""
    size = call.size()
    for other, step in past:
        if size is None or not call.alike(other) or not (other_size := other.size()):
            continue
        assert step.seconds is not None and step.result is not None
        grows = min(float(step.result["seconds"]), step.seconds) if call.tool == "finetune_unsloth" else step.seconds
        return step.seconds - grows + grows * size / other_size
    return None


def _memory_gib(step: Step, past: list[tuple[_Call, StepRecord]]) -> tuple[float, bool] | None:
    if step.tool != "finetune_unsloth":
        return None
    names = ("base_model", "method", "quant", "lora_r", "batch_size", "max_seq_length")
    for other, record in past:
        if other.tool == step.tool and all(other.args.get(name) == step.args.get(name) for name in names):
            assert record.result is not None
            return float(record.result["peak_memory_gib"]), False
    least = training_bytes(step)
    return (least / _GIB, True) if least is not None else None


def _weights(model: str) -> int | None:
    entry = find_base_model(model)
    if entry is not None:
        return entry.parameters
    from tunesmith.tools.size_forecast import model_tensors_of

    tensors = model_tensors_of(model)
    return tensors.weights if tensors is not None else None


def _source_bytes(args: dict[str, Any]) -> float | None:
    path = local_path(str(args["source"]))
    return float(path.stat().st_size) if path is not None and path.is_file() and not args.get("limit") else None


def _card(dataset: str) -> dict[str, Any] | None:
    try:
        card = read_json(Path(dataset) / METADATA)
    except (OSError, ValueError):
        return None
    return card if isinstance(card, dict) and (card.get("characters") or {}).get("total") and "rows" in card else None
