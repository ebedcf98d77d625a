"""How much work a step is, in a unit of its tool, so that what one took tells what another will take.

A preparation's time goes with the bytes that it reads, a training's with the characters it reads times the weights of
its model, an export's with the weights, an evaluation's with the weights times the items.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.tools.artifacts import METADATA, read_json
from tunesmith.tools.catalogue import find_base_model
from tunesmith.tools.heldout import heldout_size
from tunesmith.tools.locations import local_path
from tunesmith.tools.workplace import here

from .forecast import models_of
from .plan import Plan
from .records import StepRecord
from .speeds import Speed, this_machine

__all__ = ["MEMORY_NAMES", "Call", "measured"]

MEMORY_NAMES = ("base_model", "method", "quant", "lora_r", "batch_size", "max_seq_length")
"""The arguments that a training's memory depends on."""

_TIME_NAMES = {
    "finetune_unsloth": ("method", "quant"),
    "export_gguf": ("imatrix",),
    "run_eval": ("eval_set",),
}
"""The arguments that must be the same in an earlier call for its time to tell anything."""


@dataclass(frozen=True)
class _Rows:
    """Rows that a training reads: those of a prepared data set, or those that a file is going to be."""

    rows: float
    characters: float
    heldout: float


@dataclass(frozen=True)
class Call:
    """One step, and the plan that says what its inputs are."""

    tool: str
    args: dict[str, Any]
    plan: Plan

    def like(self, speed: Speed) -> bool:
        """Whether the time of `speed` tells something of this call's."""
        names = _TIME_NAMES.get(self.tool, ())
        return self.tool == speed.tool and all(self.args.get(name) == speed.args.get(name) for name in names)

    def size(self, past: Sequence[Speed]) -> float | None:
        """How much work it is; None where that is not known. `past` tells what a file's bytes become when prepared."""
        if self.tool == "prepare_dataset":
            return _source_bytes(self.args)
        weights = _weights(self._model())
        if weights is None or self.tool not in ("finetune_unsloth", "run_eval"):
            return weights
        if self.tool == "run_eval":
            items = self._items(past)
            return weights * items if items else None
        rows = self._rows(str(self.args.get("dataset")), past)
        if rows is None:
            return None
        passes = float(self.args.get("epochs") or 1)
        if self.args.get("max_steps"):
            passes = self.args["max_steps"] * (self.args.get("batch_size") or 1) / max(rows.rows, 1)
        return weights * passes * rows.characters

    def _model(self) -> str:
        """The model that it works on, in the words of the plan."""
        if self.tool == "finetune_unsloth":
            return str(self.args.get("base_model"))
        checkpoint = self._checkpoint()
        return models_of(self.plan).get(checkpoint, checkpoint)

    def _checkpoint(self) -> str:
        name = str(self.args.get("checkpoint_dir") or self.args.get("gguf_file"))
        made = {str(step.args.get("output_file")): str(step.args.get("checkpoint_dir")) for step in self.plan.steps}
        return made.get(name, name)

    def _items(self, past: Sequence[Speed]) -> float | None:
        """Items of an evaluation, or 1 for a set that is always the same."""
        limit = self.args.get("limit")
        if self.args.get("eval_set") != "heldout":
            return float(limit or 1)
        trained = [step.args for step in self.plan.steps if step.tool == "finetune_unsloth"]
        metadata = _metadata(self._checkpoint())
        dataset = trained[-1].get("dataset") if trained else metadata.get("dataset") if metadata else None
        rows = self._rows(str(dataset), past) if dataset else None
        return min(rows.heldout, limit or rows.heldout) if rows is not None else None

    def _rows(self, dataset: str, past: Sequence[Speed]) -> _Rows | None:
        card = _metadata(dataset)
        if card is not None:
            rows, characters = card.get("rows"), (card.get("characters") or {}).get("total")
            return _Rows(rows, characters, float(card.get("heldout_rows") or 0)) if rows and characters else None
        for step in self.plan.steps:
            if step.tool == "prepare_dataset" and Path(step.args["output_dir"], step.args["split"]) == Path(dataset):
                return _to_be_prepared(step.args, past)
        return None


def measured(step: StepRecord, plan: Plan) -> Speed | None:
    """What a step that was done tells of others; None where its work can't be measured."""
    if step.state != "done" or not step.seconds or not step.result:
        return None
    size = Call(step.tool, step.args, plan).size(())
    if not size:
        return None
    training = step.tool == "finetune_unsloth"
    names = (*_TIME_NAMES.get(step.tool, ()), *(MEMORY_NAMES if training else ()))
    return Speed(
        machine=this_machine(),
        tool=step.tool,
        args={name: step.args.get(name) for name in dict.fromkeys(names)},
        size=size,
        seconds=step.seconds,
        growing=min(float(step.result["seconds"]), step.seconds) if training else step.seconds,
        memory_gib=float(step.result["peak_memory_gib"]) if training else None,
        per_byte=_per_byte(step.args, size) if step.tool == "prepare_dataset" else None,
    )


def _per_byte(args: dict[str, Any], size: float) -> dict[str, Any] | None:
    """What the bytes of a source became, held-out rows included."""
    card = _metadata(str(Path(args["output_dir"], args["split"])))
    if card is None or not (card.get("characters") or {}).get("total") or not card.get("rows"):
        return None
    rows = card["rows"] + (card.get("heldout_rows") or 0)
    characters = card["characters"]["total"] * rows / card["rows"]
    return {"ending": Path(args["source"]).suffix, "rows": rows / size, "characters": characters / size}


def _to_be_prepared(args: dict[str, Any], past: Sequence[Speed]) -> _Rows | None:
    """What a file will be once it is prepared, as the newest file of its kind was."""
    size, ending = _source_bytes(args), Path(str(args["source"])).suffix
    became = next((one.per_byte for one in past if one.per_byte and one.per_byte.get("ending") == ending), None)
    if not size or became is None:
        return None
    rows = size * float(became["rows"])
    heldout = float(heldout_size(round(rows), float(args.get("heldout_fraction") or 0)))
    share = (rows - heldout) / rows if rows else 0
    return _Rows(rows - heldout, size * float(became["characters"]) * share, heldout)


def _weights(model: str) -> float | None:
    entry = find_base_model(model)
    if entry is not None:
        return float(entry.parameters)
    from tunesmith.tools.size_forecast import model_tensors_of

    tensors = model_tensors_of(model)
    return float(tensors.weights) if tensors is not None else None


def _source_bytes(args: dict[str, Any]) -> float | None:
    path = local_path(str(args["source"]))
    try:
        whole = path is not None and here(path).is_file() and not args.get("limit")
        return float(here(path).stat().st_size) if path is not None and whole else None
    except OSError:
        return None


def _metadata(folder: str) -> dict[str, Any] | None:
    try:
        found = read_json(here(folder) / METADATA)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
