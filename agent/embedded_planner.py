"""The embedded planner: rules first, and a small language model for what they do not understand.

Whoever names things plainly, in English or one of the languages that have a glossary, is answered by the rules, in a
millisecond or two and without a model. The model is asked where they skipped words and the message is in another
language, came out as a question or as nothing, or has a number that they could not place. `choose` says whose plan it
is then. A reading of which the model is not sure does not count: a poor adapter leaves the rules as they are.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tunesmith.tools.base import BadRequest, MissingExtra, ToolFailed
from tunesmith.tools.workplace import on_disk

from .frame import Frame
from .plan import History, Plan
from .planner import RulesPlanner, plan_of
from .planner_adapter import find_adapter
from .replies import REFUSALS
from .rules import UNUSED, read
from .understanding import Understood, understood

if TYPE_CHECKING:
    from .frame_reader import FrameReader

__all__ = ["EmbeddedPlanner", "choose", "shared_reader"]

_SHOWN = 4  # skipped words that are named
_OVERRULES = 0.95
"""The certainty from which on the model's reading counts although the rules made a plan.

Of 101 lessons and 84 requests of other authors where the rules had a plan and the model was asked nevertheless, it was
that certain of 59, and right each time; the rules were right in 50 of them. Between 0.7 and 0.95 the two differed in
10: in 7 lessons the model was right, in 3 requests of others the rules.
"""

_lock = threading.Lock()
_loaded: "dict[str, FrameReader | str]" = {}


def shared_reader() -> "FrameReader | str | None":
    """The model of this process, loaded once; a sentence that says why it can't be; None where there is no adapter."""
    with _lock:
        if "reader" not in _loaded:
            try:
                adapter = find_adapter()
                if adapter is None:
                    return None
                from tunesmith.tools.bundled_model import bundled_gguf

                from .frame_reader import SURE, FrameReader

                _loaded["reader"] = FrameReader(bundled_gguf(), adapter.file, sure=adapter.provenance.get("sure", SURE))
            except (BadRequest, MissingExtra, ToolFailed) as error:
                _loaded["reader"] = str(error)
        return _loaded["reader"]


class EmbeddedPlanner:
    """Plans without a network. Implements `Planner`.

    Args:
        look_at_disk: whether paths that exist in the working folder count as taken.
        reader: gives the model when it is needed; by default the one that this process shares.
    """

    def __init__(
        self, *, look_at_disk: bool = True, reader: "Callable[[], FrameReader | str | None]" = shared_reader
    ) -> None:
        self._look_at_disk = look_at_disk
        self._rules = RulesPlanner(look_at_disk=look_at_disk)
        self._reader = reader

    def plan(self, text: str, history: History) -> Plan:
        """Answer one request: a plan, a question or a refusal; never an exception for any text."""
        by_rules = self._rules.plan(text, history)
        frame = read(text, history)
        seen = understood(text, frame)
        if not _doubtful(frame, by_rules, seen):
            return by_rules
        reader = self._reader()
        if reader is None or isinstance(reader, str):
            return _with_caution(by_rules, seen, reader)
        reading = reader.read(text, history)
        if reading is None or reading.certainty < reader.sure:
            return _with_caution(by_rules, seen, None)
        by_model = plan_of(reading.frame, text, history, lambda path: self._look_at_disk and on_disk(path))
        chosen = choose(by_rules, by_model, reading.certainty)
        return chosen if chosen is not by_rules or _alike(by_rules, by_model) else _with_caution(by_rules, seen, None)


def _doubtful(frame: Frame, plan: Plan, seen: Understood) -> bool:
    """Whether the rules may have missed what was meant."""
    if not seen.skipped or (frame.intent == "refuse" and frame.reply != REFUSALS["topic"]):
        return False
    unplaced = any(remark.startswith(UNUSED) for remark in frame.remarks)
    return seen.foreign or not plan.steps or unplaced


def choose(by_rules: Plan, by_model: Plan, certainty: float) -> Plan:
    """Whose plan it is: the model's where the rules made none, or where it is all but certain.

    Where both are plans and heard the user say different values for one parameter, the plan says so.

    Args:
        certainty: of the model, 0 to 1.
    """
    if not by_model.steps and not by_rules.steps:
        return by_rules  # their questions are more precise
    if certainty >= _OVERRULES or not by_rules.steps:
        return by_model
    disputed = _disputed(by_rules, by_model)
    if disputed is None:
        return by_rules
    key, (mine, theirs) = disputed
    doubt = f"I read `{key.split('.')[1]}` as {mine}; {theirs} would be possible too, so look at the plan."
    return replace(by_rules, reply=f"{by_rules.reply} {doubt}" if by_rules.reply else doubt)


def _alike(one: Plan, other: Plan) -> bool:
    return [(step.tool, step.args) for step in one.steps] == [(step.tool, step.args) for step in other.steps]


def _disputed(one: Plan, other: Plan) -> tuple[str, list[Any]] | None:
    """The first parameter that has one value of the user's in each plan, and not the same; with both values."""
    mine, theirs = _said(one), _said(other)
    for key, values in mine.items():
        if len(values) == len(theirs.get(key, [])) == 1 and values != theirs[key]:
            return key, [*values, *theirs[key]]
    return None


def _said(plan: Plan) -> dict[str, list[Any]]:
    """What a plan has from the user: `tool.parameter` -> its values."""
    found: dict[str, list[Any]] = {}
    for step in plan.steps:
        for name, value in step.args.items():
            if step.origin[name] == "you" and value not in found.setdefault(f"{step.tool}.{name}", []):
                found[f"{step.tool}.{name}"].append(value)
    return found


def _with_caution(plan: Plan, seen: Understood, reason: str | None) -> Plan:
    """A plan of the rules alone for a message in another language: it may be half of what was asked."""
    if not seen.foreign or not plan.steps:
        return plan
    words = ", ".join(f"`{word}`" for word in seen.skipped[:_SHOWN])
    more = " and more" if len(seen.skipped) > _SHOWN else ""
    caution = f"I skipped {words}{more}; look at the plan, or say it in English"
    told = f"{caution} ({reason})." if reason else f"{caution}."
    return replace(plan, reply=f"{plan.reply} {told}" if plan.reply else told)
