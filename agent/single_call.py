"""One call of one tool as a plan, with the checks and free paths that a request in words gets."""

from collections.abc import Mapping
from typing import Any

from tunesmith.tools.base import BadRequest
from tunesmith.tools.registry import TOOLS
from tunesmith.tools.workplace import on_disk

from .contract import load
from .pipeline import Ask, Draft
from .plan import History, Plan
from .settle import Settler

__all__ = ["plan_call"]


def plan_call(tool: str, args: Mapping[str, Any], history: History) -> Plan:
    """A plan of one step. What `args` leaves out is filled in; a step that ran before is found again.

    The arguments are values, whatever they say: no text in them is read as a request.

    Raises:
        BadRequest: the contract has no such tool, or the arguments are wrong; names every one.
    """
    offered = load().tools
    if tool not in offered:
        raise BadRequest(f"`{tool}` is not a tool of the contract; known are {', '.join(offered)}")
    given = {name: value for name, value in args.items() if value is not None}
    TOOLS[tool].validate(given)
    draft = Draft(tool, values={name: (value, "you") for name, value in given.items()})
    try:
        steps = Settler(history, on_disk, again=frozenset()).settle([draft])
    except Ask as question:
        raise BadRequest(f"{tool}: {question}") from question
    return Plan(f"{tool}({', '.join(f'{name}={value!r}' for name, value in given.items())})", steps)
