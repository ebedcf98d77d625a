"""Many requests at once: what `tunesmith plan --requests` answers."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from tunesmith.tools.base import BadRequest

from .embedded_planner import EmbeddedPlanner
from .plan import History, Plan, Planner, Ran

__all__ = ["answer_requests"]


def answer_requests(lines: Iterable[str], planner: Planner | None = None) -> Iterator[dict[str, Any]]:
    """Answer requests given as JSON lines with `id` and `turns`; each answer is the last turn's plan and the `id`.

    Every line is an empty working folder of its own, in which the earlier turns' plans have run. `planner` is the
    embedded one by default.

    Raises:
        BadRequest: a line is not such an object; names its number.
    """
    planner = planner or EmbeddedPlanner(look_at_disk=False)
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
