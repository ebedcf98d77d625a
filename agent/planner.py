"""The planner of rules: offline, deterministic, milliseconds. And how any frame that was read becomes a plan."""

from collections.abc import Callable

from tunesmith.tools.workplace import on_disk

from .compose import compose
from .frame import Frame
from .lexicon import NUMERIC
from .plan import History, Plan
from .rules import read

__all__ = ["RulesPlanner", "plan_of"]


class RulesPlanner:
    """Reads a request by rules. Implements `Planner`.

    Args:
        look_at_disk: whether paths that exist in the working folder count as taken.
    """

    def __init__(self, *, look_at_disk: bool = True) -> None:
        self._look_at_disk = look_at_disk

    def plan(self, text: str, history: History) -> Plan:
        """Answer one request: a plan, a question or a refusal; never an exception for any text."""
        frame = read(text, history)
        pending = history.pending
        if (
            pending is not None
            and pending.pending is not None
            and frame.intent not in ("cancel", "chat", "refuse", "repeat", "undo")
        ):
            waiting = Frame.from_json(pending.pending["frame"])
            about = pending.pending.get("about")
            merged = waiting.completed_by(frame, about if about in NUMERIC else None)
            completed = compose(merged, history, f"{pending.request}\n{text}", self._on_disk)
            if completed.steps and not _starts_anew(frame, waiting, about):
                return completed
            alone = compose(frame, history, text, self._on_disk)
            return alone if alone.steps and frame.want else completed
        return compose(frame, history, text, self._on_disk)

    def _on_disk(self, path: str) -> bool:
        return self._look_at_disk and on_disk(path)


def _starts_anew(frame: Frame, waiting: Frame, about: str | None) -> bool:
    """Whether a message is no answer but a request: it orders other work, or contradicts what waits."""
    if not frame.want:
        return False
    differing = {key for key, values in frame.values.items() if waiting.values.get(key, values) != values}
    other_work = bool(waiting.want) and not set(frame.want) & set(waiting.want) and about not in frame.values
    return bool(differing - {about}) or other_work


def plan_of(frame: Frame, text: str, history: History, on_disk: Callable[[str], bool]) -> Plan:
    """The plan for a frame that says itself what it is: an `answer` completes the request of the open question."""
    pending = history.pending
    if frame.intent == "answer" and pending is not None and pending.pending is not None:
        waiting = Frame.from_json(pending.pending["frame"])
        return compose(waiting.completed_by(frame, None), history, f"{pending.request}\n{text}", on_disk)
    return compose(frame, history, text, on_disk)
