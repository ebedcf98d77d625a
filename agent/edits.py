"""A follow-up: the last plan's steps with the changes that a frame asks for."""

from dataclasses import replace
from typing import Any

from .frame import Frame
from .pipeline import INPUT, ORDER, OUTPUT, Ask, Draft, build, filled, products
from .plan import History
from .questions import missing

__all__ = ["edit"]

# A step has one of these; a second value means a second step, and a new value replaces them all.
_ONE_STEP_EACH = {"source", "base_model", "dataset", "quantization", "eval_set", "checkpoint_dir", "gguf_file"}


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
    prepare = filled(Draft("prepare_dataset"), {"source": sources[0]})
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
        for values in products(frame, tool):
            draft = template.copy(template.feed)
            draft.old = None
            draft.values.pop(OUTPUT.get(tool, ""), None)
            if reads in values:
                draft.feed = None
            made.append(filled(draft, values))
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
