"""A plan while it is made: steps that know whose output they read, built from nothing or from the last plan."""

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

from .frame import Frame
from .plan import History, Origin, Plan, Step
from .questions import missing

__all__ = ["INPUT", "ORDER", "OUTPUT", "Ask", "Draft", "build", "edit", "from_plan", "produced"]

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

# A step has one of these; a second value means a second step, and a new value replaces them all.
_ONE_STEP_EACH = {"source", "base_model", "dataset", "quantization", "eval_set", "checkpoint_dir", "gguf_file"}


class Ask(Exception):
    """The request needs an answer, or cannot be: `args[0]` says it, `about` names the parameter."""

    def __init__(self, reply: str, about: str | None = None, *, refuse: bool = False) -> None:
        super().__init__(reply)
        self.about, self.refuse = about, refuse


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
        if isinstance(value, dict):
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


def _products(frame: Frame, tool: str, skip: frozenset[str] = frozenset()) -> list[dict[str, Any]]:
    """Every combination of the values asked for one tool: one dict for each step."""
    names = [key.split(".")[1] for key in frame.values if key.startswith(tool + ".")]
    names = [name for name in names if name not in skip]
    lists = [frame.values[f"{tool}.{name}"] for name in names]
    return [dict(zip(names, combination, strict=True)) for combination in itertools.product(*lists)]


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
            fresh += [_with(Draft(tool), values) for values in _products(frame, tool)]
        elif tool == "finetune_unsloth":
            fresh += _trainings(frame, fresh)
        elif tool == "run_eval":
            fresh += _evaluations(frame, fresh, history)
        else:
            fresh += _exports(frame, tool, fresh, history)
    return fresh


def _with(draft: Draft, values: dict[str, Any]) -> Draft:
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
    return [
        _with(Draft("finetune_unsloth", feed=feed), values)
        for feed in feeds
        for values in _products(frame, "finetune_unsloth")
    ]


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
    named = _untuned(frame, drafts) + frame.values.get("export_gguf.checkpoint_dir", []) + frame.values.get(
        "export_safetensors.checkpoint_dir", []
    )
    feeds: list[Draft | None] = [draft for draft in drafts if draft.tool == "finetune_unsloth"]
    others = [draft for draft in drafts if draft.tool in ("export_gguf", "export_safetensors")]
    values = _products(frame, tool, frozenset({"checkpoint_dir"}))
    made: list[Draft] = []
    if named:
        for checkpoint in named:
            made += [_with(Draft(tool), {"checkpoint_dir": checkpoint, **one}) for one in values]
        return made
    if not feeds and others:  # another form of what is exported already
        for other in {id(d.values.get("checkpoint_dir")): d for d in others}.values():
            for one in values:
                draft = _with(Draft(tool, feed=other.feed), one)
                if "checkpoint_dir" in other.values:
                    draft.values["checkpoint_dir"] = (other.values["checkpoint_dir"][0], "last run")
                made.append(draft)
        return made
    if not feeds and (training := _last_training(history)) is not None and training.old is not None:
        path = produced("finetune_unsloth", training.old.args)
        for one in values:
            draft = _with(Draft(tool), one)
            draft.values["checkpoint_dir"] = (path, "last run")
            made.append(draft)
        return made
    if not feeds:
        raise Ask(missing("export_gguf.checkpoint_dir", family=frame.family), "export_gguf.checkpoint_dir")
    return [_with(Draft(tool, feed=feed), one) for feed in feeds for one in values]


def _evaluations(frame: Frame, drafts: list[Draft], history: History) -> list[Draft]:
    files = frame.values.get("run_eval.gguf_file", [])
    made: list[Draft] = []
    values = _products(frame, "run_eval", frozenset({"gguf_file"}))
    if files:
        return [_with(Draft("run_eval"), {"gguf_file": file, **one}) for file in files for one in values]
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
    return made + [_with(Draft("run_eval", feed=export), one) for export in chosen for one in values]


def edit(frame: Frame, drafts: list[Draft], history: History) -> list[Draft]:
    """The last plan's drafts with the changes that `frame` asks for."""
    for tool in frame.drop:
        drafts = _without(drafts, [draft for draft in drafts if draft.tool == tool])
    for key, gone in frame.without.items():
        tool, name = key.split(".")
        matching = [d for d in drafts if d.tool == tool and _is(d, name, gone)]
        if key in frame.values and matching:
            others = [d for d in drafts if d.tool == tool and d not in matching]
            for draft in matching:
                draft.put(name, frame.values[key][0])
            if others:  # the values not spoken of stay
                frame = _settled(frame, key)
        elif key not in frame.values and len(matching) < len([d for d in drafts if d.tool == tool]) + (
            tool != "finetune_unsloth"
        ):
            drafts = _without(drafts, matching)
    _known_family(frame, drafts)
    created: list[str] = []
    extended = {key.split(".")[0] for key in frame.more}
    for tool in extended:
        drafts = drafts + _siblings(drafts, tool, frame)
    for key, values in frame.values.items():
        tool, name = key.split(".")
        if tool in extended and any(d.tool == tool for d in drafts):
            continue
        if key == "prepare_dataset.source":
            drafts = _resourced(drafts, values)
        elif key == "finetune_unsloth.dataset":
            for draft in [d for d in drafts if d.tool == "finetune_unsloth"]:
                draft.feed = None
                draft.put(name, values[0])
            drafts = [d for d in drafts if d.tool != "prepare_dataset" or any(o.feed is d for o in drafts)]
        elif any(d.tool == tool for d in drafts):
            drafts = _replaced(drafts, tool, name, values)
        else:
            created.append(tool)
    wanted = list(dict.fromkeys([*frame.want, *(tool for tool in created if tool != "prepare_dataset")]))
    wanted = [tool for tool in wanted if tool in ORDER]
    return build(replace(frame, want=tuple(wanted)), drafts, history)


def _known_family(frame: Frame, drafts: list[Draft]) -> None:
    """`what about gemma?` asks which; `evaluate the gemma` speaks of the one that there is."""
    bases = [str(draft.old.args["base_model"]) for draft in drafts if draft.old and draft.tool == "finetune_unsloth"]
    if frame.family and bases and not any(base.startswith(frame.family) for base in bases):
        raise Ask(missing("finetune_unsloth.base_model", family=frame.family), "finetune_unsloth.base_model")


def _settled(frame: Frame, key: str) -> Frame:
    return replace(frame, values={k: v for k, v in frame.values.items() if k != key})


def _is(draft: Draft, name: str, values: list[Any]) -> bool:
    now = draft.old.args.get(name) if draft.old is not None else None
    return any(str(value).lower() == str(now).lower() for value in values)


def _without(drafts: list[Draft], gone: list[Draft]) -> list[Draft]:
    """Take steps out, with everything that reads them."""
    dropped = list(gone)
    for draft in drafts:
        if draft.feed in dropped and draft.feed is not None:
            dropped.append(draft)
    return [draft for draft in drafts if draft not in dropped]


def _resourced(drafts: list[Draft], sources: list[Any]) -> list[Draft]:
    """Other data: every training reads it, prepared first."""
    prepares = [draft for draft in drafts if draft.tool == "prepare_dataset"]
    if prepares:
        return _replaced(drafts, "prepare_dataset", "source", sources)
    prepare = _with(Draft("prepare_dataset"), {"source": sources[0]})
    for draft in drafts:
        if draft.tool == "finetune_unsloth":
            draft.feed = prepare
            draft.values.pop("dataset", None)
    return [prepare, *drafts]


def _siblings(drafts: list[Draft], tool: str, frame: Frame) -> list[Draft]:
    """Further steps like those there are, with other values: `also export q8_0`."""
    made: list[Draft] = []
    reads = INPUT.get(tool, "")
    groups: dict[tuple[int, str], Draft] = {}
    for draft in drafts:
        if draft.tool == tool:
            own = "" if f"{tool}.{reads}" in frame.values else str(draft.values.get(reads))
            groups[id(draft.feed), own] = draft
    for template in groups.values():
        for values in _products(frame, tool):
            draft = template.copy(template.feed)
            draft.old = None
            draft.values.pop(OUTPUT.get(tool, ""), None)
            if reads in values:
                draft.feed = None
            made.append(_with(draft, values))
    return made


def _replaced(drafts: list[Draft], tool: str, name: str, values: list[Any]) -> list[Draft]:
    """Every step of a tool with another value; with several values, a step and its followers for each."""
    targets = [draft for draft in drafts if draft.tool == tool]
    if name in _ONE_STEP_EACH:  # one step remains of those that read the same
        kept = {(id(draft.feed), str(draft.values.get(INPUT.get(tool, "")))): draft for draft in reversed(targets)}
        drafts = _without(drafts, [draft for draft in targets if draft not in kept.values()])
        targets = [draft for draft in targets if draft in kept.values()]
    for draft in targets:
        if (
            name in _ONE_STEP_EACH
            and name in draft.values
            and draft.values[name][0] != values[0]
            and len(targets) > 1
            and name == "eval_set"
        ):
            draft.values.pop(OUTPUT.get(tool, ""), None)
        draft.put(name, values[0])
    for value in values[1:]:
        for draft in targets:
            drafts = drafts + _branch(drafts, draft, name, value)
    return drafts


def _branch(drafts: list[Draft], draft: Draft, name: str, value: Any) -> list[Draft]:
    """A copy of a step and of all that follows from it, with one other value."""
    copy = draft.copy(draft.feed)
    copy.values.pop(OUTPUT.get(draft.tool, ""), None)
    copy.put(name, value)
    made, twins = [copy], {id(draft): copy}
    for follower in drafts:
        if follower.feed is not None and id(follower.feed) in twins:
            twin = follower.copy(twins[id(follower.feed)])
            twin.values.pop(OUTPUT.get(follower.tool, ""), None)
            twins[id(follower)] = twin
            made.append(twin)
    return made
