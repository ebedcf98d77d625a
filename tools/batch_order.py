"""Which rows are trained together, and in which order: known before the first step, from lengths and a seed."""

import random
from collections.abc import Sequence

__all__ = ["PROBE_STEPS", "batch_order", "steps_per_epoch"]

PROBE_STEPS = 2
"""Steps at the start that are those of the longest batches: what they take tells what the rest will (probe.py)."""

_BATCHES_IN_A_POOL = 50
"""Rows are sorted by length within pools of this many batches: padding nearly goes away, chance stays."""


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Batches in one pass; the last may be smaller.

    >>> steps_per_epoch(270, 8)
    34
    """
    return -(-rows // batch_size)


def batch_order(
    lengths: Sequence[int], batch_size: int, epochs: int, seed: int, max_steps: int | None = None
) -> list[list[int]]:
    """The rows of every step of a run.

    Each epoch sees every row once, in an order of its own. Rows of like length share a batch, since a batch is
    padded to its longest row. The two batches with the longest rows come first, so that a run that does not fit
    into memory, or takes too long, shows it at once.

    Args:
        lengths: tokens of each row.
        batch_size: rows per step.
        epochs: passes over the rows.
        seed: the same seed gives the same order on every machine.
        max_steps: end after this many steps; more epochs are begun if `epochs` are too few for them.

    >>> batch_order([5, 1, 4, 2, 3, 6], batch_size=2, epochs=1, seed=0)
    [[5, 0], [2, 4], [3, 1]]
    """
    per_epoch = steps_per_epoch(len(lengths), batch_size)
    total = epochs * per_epoch if max_steps is None else max_steps
    order: list[list[int]] = []
    epoch = 0
    while len(order) < total:
        order += _one_epoch(lengths, batch_size, random.Random(f"{seed}/{epoch}"))
        epoch += 1
    order = order[:total]
    for place in range(min(PROBE_STEPS, per_epoch, total)):  # within the first epoch, which keeps its rows
        candidates = range(place, min(per_epoch, total))
        longest = max(candidates, key=lambda step: max(lengths[row] for row in order[step]))
        order[place], order[longest] = order[longest], order[place]
    return order


def _one_epoch(lengths: Sequence[int], batch_size: int, draw: random.Random) -> list[list[int]]:
    rows = list(range(len(lengths)))
    draw.shuffle(rows)
    pool = batch_size * _BATCHES_IN_A_POOL
    batches = []
    for start in range(0, len(rows), pool):
        by_length = sorted(rows[start : start + pool], key=lambda row: lengths[row], reverse=True)
        batches += [by_length[first : first + batch_size] for first in range(0, len(by_length), batch_size)]
    draw.shuffle(batches)
    return batches
