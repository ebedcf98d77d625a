"""The embedded planner: offline, deterministic, milliseconds. And its form for many requests at once."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from tunesmith.tools.base import BadRequest
from tunesmith.tools.workplace import on_disk

from .compose import compose
from .frame import Frame
from .lexicon import NUMERIC
from .plan import History, Plan, Ran
from .rules import read

__all__ = ["RulesPlanner", "answer_requests"]


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
    return bool(differing - {about}) or (bool(waiting.want) and not set(frame.want) & set(waiting.want))


def answer_requests(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Answer requests given as JSON lines with `id` and `turns`; each answer is the last turn's plan and the `id`.

    Every line is an empty working folder of its own, in which the earlier turns' plans have run.

    Raises:
        BadRequest: a line is not such an object; names its number.
    """
    planner = RulesPlanner(look_at_disk=False)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            request = json.loads(line)
            turns = request["turns"]
            if not turns or not all(isinstance(turn, str) for turn in turns) or "id" not in request:
                raise ValueError("`turns` is a list of texts, and `id` names the line")
        except (ValueError, TypeError, KeyError) as error:
            raise BadRequest(f'line {number} of the requests is not {{"id": ..., "turns": [...]}}: {error}') from error
        history, plan = History(), Plan("")
        for turn in turns:
            plan = planner.plan(turn, history)
            history = History((*history.ran, Ran(plan, finished=len(plan.steps))))
        yield {"id": request["id"], **plan.to_json()}
