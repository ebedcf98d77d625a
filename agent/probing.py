"""What a training's first steps tell of the rest, in words, and the answer where they ask for one.

See tools/probe.py. The answer goes through the run's control file like any other word to a running training, so it is
recorded with the run, and may come from another terminal.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunesmith.tools.control_file import GoOn, Stop, request

from .live_run import clock

__all__ = ["Confirm", "answer", "told"]

Confirm = Callable[[str], bool | None]
"""Asks a person whether a training that waits shall go on: yes, no, or None where the answer comes later."""


def told(event: dict[str, Any]) -> str:
    """The event `probe` in a sentence or two.

    >>> told({"seconds": 190.0, "memory_gib": 2.31, "asks": False})
    'after two steps at the longest batches: 3:10 for all steps, 2.3 GiB of memory'
    """
    steps = f"{clock(event['seconds'])} for all steps, {event['memory_gib']:.1f} GiB of memory"
    reasons = []
    if "free_gib" in event:
        reasons.append(
            f"the next such step needs up to {event['more_gib']:.1f} GiB more and {event['free_gib']:.1f} GiB are free"
        )
    if "expected_seconds" in event:
        reasons.append(f"that is more than twice the {clock(event['expected_seconds'])} of the estimate")
    return ". ".join([f"after two steps at the longest batches: {steps}", *reasons])


def answer(event: dict[str, Any], folder: Path, confirm: Confirm | None) -> str | None:
    """Have a question answered, and pass the answer on to the training in `folder`.

    Where nobody is there to ask (`confirm` is None), a training that takes longer goes on, and one that does not fit
    stops before it does harm. Returns a sentence that says so, None in any other case.
    """
    if not event["asks"]:
        return None
    goes_on = "free_gib" not in event if confirm is None else confirm(told(event))
    if goes_on is None:
        return None
    request(folder, GoOn() if goes_on else Stop())
    if confirm is not None:
        return None
    return "it goes on, as nobody is asked" if goes_on else "it is stopped, as nobody is asked; the state is kept"
