"""A plan while it is made: steps that know whose output they read."""

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

from .frame import Frame
from .plan import History, Origin, Plan, Step
from .questions import missing

__all__ = ["INPUT", "ORDER", "OUTPUT", "Ask", "Draft", "build", "filled", "from_plan", "produced", "products"]

INPUT = {
    "finetune_unsloth": "dataset",
    "export_gguf": "checkpoint_dir",
    "export_safetensors": "checkpoint_dir",
    "run_eval": "gguf_file",
}
"""The parameter by which a step reads what an earlier one wrote."""

OUTPUT = {
    "prepare_dataset": "output_dir",
    "finetune_unsloth": "output_dir",
    "export_gguf": "output_file",
    "export_safetensors": "output_dir",
}
"""The parameter that says where a step writes."""

ORDER = ("prepare_dataset", "finetune_unsloth", "export_gguf", "export_safetensors", "run_eval")


class Ask(Exception):
    """The request needs an answer, or cannot be: `args[0]` says it, `about` names the parameter.

    `wrong` are all parameters whose values can't be.
    """

    def __init__(
        self, reply: str, about: str | None = None, *, refuse: bool = False, wrong: tuple[str, ...] = ()
    ) -> None:
        super().__init__(reply)
        self.about, self.refuse, self.wrong = about, refuse, wrong


@dataclass(eq=False)
class Draft:
    """One step to be. `values` are those asked for, with their origin; `changes` are relative to what it has so far."""

    tool: str
    values: dict[str, tuple[Any, Origin]] = field(default_factory=dict)
    changes: dict[str, dict[str, float]] = field(default_factory=dict)
    feed: "Draft | None" = None
    old: Step | None = None

    def copy(self, feed: "Draft | None") -> "Draft":
        return Draft(self.tool, dict(self.values), dict(self.changes), feed, self.old)

    def put(self, name: str, value: Any) -> None:
        """Take a value, or a change of the one it has."""
        if isinstance(value, dict) and "default" in value:
            self.values.pop(name, None)
        elif isinstance(value, dict):
            self.changes[name] = value
        else:
            self.values[name] = (value, "you")
            self.changes.pop(name, None)


def produced(tool: str, args: dict[str, Any]) -> str | None:
    """The path that a step's result has, as a later step reads it."""
    if tool == "prepare_dataset":
        return f"{str(args['output_dir']).rstrip('/')}/{args['split']}"
    return args.get(OUTPUT[tool]) if tool in OUTPUT else None


def from_plan(plan: Plan) -> list[Draft]:
    """The last plan's steps as drafts; what nobody asked for is left to be filled in again."""
    drafts: list[Draft] = []
    writers: dict[str, Draft] = {}
    for step in plan.steps:
        draft = Draft(step.tool, old=step)
        reads = INPUT.get(step.tool)
        draft.feed = writers.get(str(step.args.get(reads))) if reads else None
        for name, value in step.args.items():
            if step.origin.get(name) in ("you", "last run") and not (name == reads and draft.feed):
                draft.values[name] = (value, "last run")
        drafts.append(draft)
        if (path := produced(step.tool, step.args)) is not None:
            writers[path] = draft
    return drafts


def products(frame: Frame, tool: str, skip: frozenset[str] = frozenset()) -> list[dict[str, Any]]:
    """Every combination of the values asked for one tool: one dict for each step."""
    names = [key.split(".")[1] for key in frame.values if key.startswith(tool + ".")]
    names = [name for name in names if name not in skip]
    lists = [list(enumerate(frame.values[f"{tool}.{name}"])) for name in names]
    together = [n for n, name in enumerate(names) if f"{tool}.{name}" in frame.paired]
    return [
        {name: value for name, (_, value) in zip(names, combination, strict=True)}
        for combination in itertools.product(*lists)
        if len({combination[n][0] for n in together}) < 2
    ]


def build(frame: Frame, drafts: list[Draft], history: History) -> list[Draft]:
    """Append the tools that `frame` wants to `drafts`, with what they need before them.

    Raises:
        Ask: a base model, a dataset, a checkpoint or a GGUF is missing.
    """
    want = [tool for tool in ORDER if tool in frame.want and tool not in frame.drop]
    fresh = list(drafts)
    sources = frame.values.get("prepare_dataset.source", [])
    if "finetune_unsloth" in want and sources and "prepare_dataset" not in want:
        want.insert(0, "prepare_dataset")
    for tool in want:
        if any(draft.tool == tool for draft in drafts):
            if tool == "run_eval":
                fresh += _evaluations_alike(fresh)
            continue
        if tool == "prepare_dataset":
            if not sources:
                raise Ask(missing("prepare_dataset.source"), "prepare_dataset.source")
            fresh += [filled(Draft(tool), values) for values in products(frame, tool)]
        elif tool == "finetune_unsloth":
            fresh += _trainings(frame, fresh)
        elif tool == "run_eval":
            fresh += _evaluations(frame, fresh, history)
        else:
            fresh += _exports(frame, tool, fresh, history)
    return fresh


def filled(draft: Draft, values: dict[str, Any]) -> Draft:
    """The draft, after it took these values."""
    for name, value in values.items():
        draft.put(name, value)
    return draft


def _trainings(frame: Frame, drafts: list[Draft]) -> list[Draft]:
    bases = frame.values.get("finetune_unsloth.base_model", [])
    feeds: list[Draft | None] = [draft for draft in drafts if draft.tool == "prepare_dataset"]
    direct = frame.values.get("finetune_unsloth.dataset", [])
    if direct:
        feeds = [None]
    if not bases or not feeds:
        about = "prepare_dataset.source" if bases else "finetune_unsloth.base_model"
        raise Ask(missing(about, both=not bases and not feeds, family=frame.family), about)
    made: list[Draft] = []
    for n, feed in enumerate(feeds):
        own = frame
        if "prepare_dataset.source" in frame.paired:  # the n-th source goes with the n-th of its partners
            mine = {key: frame.values[key][n : n + 1] for key in frame.paired if key.startswith("finetune_unsloth")}
            own = replace(frame, values=frame.values | mine)
        made += [filled(Draft("finetune_unsloth", feed=feed), values) for values in products(own, "finetune_unsloth")]
    return made


def _evaluations_alike(drafts: list[Draft]) -> list[Draft]:
    """For every new export, the evaluations that the others have: `export q4_k_m too and evaluate that as well`."""
    evaluations = [draft for draft in drafts if draft.tool == "run_eval" and draft.feed is not None]
    made: list[Draft] = []
    for export in drafts:
        if export.tool == "export_gguf" and export.old is None and not any(e.feed is export for e in evaluations):
            alike = {str(e.values.get("eval_set")): e for e in evaluations if e.feed in drafts}
            made += [evaluation.copy(export) for evaluation in alike.values()]
    for draft in made:
        draft.old = None
    return made


def _last_training(history: History) -> Draft | None:
    for ran in reversed(history.ran):
        for step in reversed(ran.plan.steps):
            if step.tool == "finetune_unsloth":
                return next(d for d in reversed(from_plan(ran.plan)) if d.old is step)
    return None


def _untuned(frame: Frame, drafts: list[Draft]) -> list[Any]:
    """In a request without training, a base model is what is exported."""
    trains = "finetune_unsloth" in frame.want or any(draft.tool == "finetune_unsloth" for draft in drafts)
    return [] if trains else list(frame.values.get("finetune_unsloth.base_model", []))


def _exports(frame: Frame, tool: str, drafts: list[Draft], history: History) -> list[Draft]:
    named = (
        _untuned(frame, drafts)
        + frame.values.get("export_gguf.checkpoint_dir", [])
        + frame.values.get("export_safetensors.checkpoint_dir", [])
    )
    feeds: list[Draft | None] = [draft for draft in drafts if draft.tool == "finetune_unsloth"]
    others = [draft for draft in drafts if draft.tool in ("export_gguf", "export_safetensors")]
    values = products(frame, tool, frozenset({"checkpoint_dir"}))
    made: list[Draft] = []
    if named:
        own = replace(frame, values=frame.values | {f"{tool}.checkpoint_dir": named})
        return [filled(Draft(tool), one) for one in products(own, tool)]
    if not feeds and others:  # another form of what is exported already
        for other in {id(d.values.get("checkpoint_dir")): d for d in others}.values():
            for one in values:
                draft = filled(Draft(tool, feed=other.feed), one)
                if "checkpoint_dir" in other.values:
                    draft.values["checkpoint_dir"] = (other.values["checkpoint_dir"][0], "last run")
                made.append(draft)
        return made
    if not feeds and (training := _last_training(history)) is not None and training.old is not None:
        path = produced("finetune_unsloth", training.old.args)
        for one in values:
            draft = filled(Draft(tool), one)
            draft.values["checkpoint_dir"] = (path, "last run")
            made.append(draft)
        return made
    if not feeds:
        raise Ask(missing("export_gguf.checkpoint_dir", family=frame.family), "export_gguf.checkpoint_dir")
    return [filled(Draft(tool, feed=feed), one) for feed in feeds for one in values]


def _evaluations(frame: Frame, drafts: list[Draft], history: History) -> list[Draft]:
    files = frame.values.get("run_eval.gguf_file", [])
    made: list[Draft] = []
    if files:
        return [filled(Draft("run_eval"), one) for one in products(frame, "run_eval")]
    values = products(frame, "run_eval")
    exports = [draft for draft in drafts if draft.tool == "export_gguf"]
    if not exports:
        try:
            exports = _exports(frame, "export_gguf", drafts, history)
        except Ask as question:
            raise Ask(missing("run_eval.gguf_file"), "run_eval.gguf_file") from question
        made += exports
    made_now = [draft for draft in exports if draft.old is None]
    newest = made_now or [draft for draft in exports if draft.old is not None and not draft.old.reuse]
    chosen = exports if frame.every or not newest else newest
    return made + [filled(Draft("run_eval", feed=export), one) for export in chosen for one in values]
