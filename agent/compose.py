"""From a frame and what ran before to a plan: values filled in and checked, paths found, finished steps recognised."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from . import contract
from .edits import edit
from .frame import Frame
from .keys import BASE, DATASET, SOURCE
from .pipeline import INPUT, ORDER, OUTPUT, Ask, Draft, build, from_plan
from .plan import History, Plan, Step
from .replies import HELP
from .settle import Settler

__all__ = ["compose"]


def compose(frame: Frame, history: History, request: str, on_disk: Callable[[str], bool]) -> Plan:
    """The plan for a frame. `on_disk` says whether a path to be written exists already.

    Every value is checked against the tools' Input models here, whoever filled the frame in.
    """
    if frame.intent in ("chat", "refuse", "cancel"):
        open_question = history.pending.pending if history.pending and frame.intent != "cancel" else None
        kind: Literal["chat", "refusal"] = "refusal" if frame.intent == "refuse" else "chat"
        return Plan(request, reply=frame.reply, pending=open_question, kind=kind)
    try:
        if frame.reply is not None:
            raise Ask(frame.reply, frame.about)
        drafts = _drafts(frame, history)
        if not drafts:
            raise Ask(_nothing_left(frame, history))
        _offered([draft.tool for draft in drafts])
        again = (
            frozenset(frame.want or set(ORDER) - {"prepare_dataset"}) if frame.intent == "repeat" else frozenset[str]()
        )
        steps = Settler(history, on_disk, again=again).settle(drafts)
    except Ask as question:
        open_frame = replace(frame, reply=None, about=None)
        if frame.intent == "change":
            open_frame = _without_refused(open_frame, {question.about, *question.wrong}, history.last)
        pending = {"frame": open_frame.to_json(), "about": question.about}
        return Plan(request, reply=str(question), pending=pending, kind="refusal" if question.refuse else "question")
    remarks = [f"{remark}." for remark in frame.remarks]
    if "export_gguf" in frame.drop and any(step.tool == "export_gguf" and not step.reuse for step in steps):
        remarks.append("An evaluation needs a GGUF, so one is exported all the same.")
    if all(step.reuse for step in steps):
        remarks.append("Nothing to run: all of it is there already. Say `again` to run it once more.")
    undone = frame.intent == "undo"
    compared = _side_by_side(steps, history.last) if undone else drafts
    changed = _changed(compared, steps, history.last) if frame.intent == "change" or undone else ()
    return Plan(
        request, steps=steps, reply=" ".join(remarks) or None, changed=changed, undone=undone, frame=frame.to_json()
    )


def _without_refused(frame: Frame, refused: set[str | None], last: Plan | None) -> Frame:
    """A change without the values that can't be, so that the next message does not ask for them once more."""
    gone = {key.split(".")[0] for key in frame.values if key in refused}
    kept = {step.tool for step in last.steps} if last is not None else set()
    return replace(
        frame,
        values={key: values for key, values in frame.values.items() if key not in refused},
        want=tuple(tool for tool in frame.want if tool not in gone - kept),
    )


def _offered(tools: list[str]) -> None:
    """A tool whose row was taken out of the contract is not planned."""
    offered = contract.load().tools
    for tool in tools:
        if tool not in offered:
            raise Ask(f"`{tool}` is not offered here; tools are {', '.join(offered)}", refuse=True)


def _nothing_left(frame: Frame, history: History) -> str:
    if frame.intent == "change" and history.last is not None:
        return "That leaves nothing to run; say what to train, export or evaluate"
    named = [str(value) for values in frame.values.values() for value in values if isinstance(value, str)]
    if not named and frame.values and history.last is None:
        names = " and ".join(f"`{key.split('.')[1]}`" for key in frame.values)
        return (
            f"Nothing is planned here yet that {names} could belong to; say what to train as well, such as: "
            "fine-tune smollm2-135m on examples/tickets.jsonl"
        )
    if not named:
        return HELP
    return f"What shall I do with {' and '.join(f'`{name}`' for name in named)}? Prepare, train, export or evaluate"


def _drafts(frame: Frame, history: History) -> list[Draft]:
    last = history.last
    if not frame.want and frame.intent == "new" and {BASE} < frame.values.keys() & {BASE, SOURCE, DATASET}:
        frame = replace(frame, want=("finetune_unsloth",))
    if frame.intent == "new" or last is None:
        drafts = build(frame, [], history)
    elif frame.intent == "repeat":
        drafts = from_plan(last)
    elif frame.intent == "undo":
        if history.before_last is None:
            raise Ask("There is no earlier plan to go back to; say what to change", refuse=True)
        drafts = from_plan(history.before_last)
    else:
        drafts = edit(frame, from_plan(last), history)
    return sorted(drafts, key=lambda draft: ORDER.index(draft.tool))


def _side_by_side(steps: tuple[Step, ...], last: Plan | None) -> list[Draft]:
    """For each step the last plan's step of its tool, in order, where there is one left."""
    left = list(last.steps) if last is not None else []
    found = []
    for step in steps:
        old = next((other for other in left if other.tool == step.tool), None)
        if old is not None:
            left = [other for other in left if other is not old]
            found.append(Draft(step.tool, old=old))
    return found


def _changed(drafts: list[Draft], steps: tuple[Step, ...], last: Plan | None) -> tuple[str, ...]:
    """What differs from the last plan, a phrase each."""
    phrases: list[str] = []
    waiting = [draft for draft in drafts if draft.old is not None]
    kept = {id(draft.old) for draft in waiting}
    for step in steps:
        draft = next((draft for draft in waiting if draft.tool == step.tool), None)
        if draft is None or draft.old is None:
            phrases.append(f"+ {_titled(step)}")
            continue
        waiting.remove(draft)
        linked = {INPUT.get(step.tool), OUTPUT.get(step.tool)}
        for name in dict.fromkeys([*draft.old.args, *step.args]):
            was, now = draft.old.args.get(name), step.args.get(name)
            if was != now and (
                name not in linked or (step.origin.get(name) == "you" and name == OUTPUT.get(step.tool))
            ):
                phrases.append(f"{name} {_shown(was)} → {_shown(now)}")
    phrases += [f"- {_titled(step)}" for step in (last.steps if last is not None else ()) if id(step) not in kept]
    return tuple(dict.fromkeys(phrases))


def _titled(step: Step) -> str:
    which = next((step.args[name] for name in ("quantization", "eval_set", "source") if name in step.args), "")
    return f"{step.tool} {which}".rstrip()


def _shown(value: Any) -> str:
    return "none" if value is None else ", ".join(value) if isinstance(value, list) else str(value)
