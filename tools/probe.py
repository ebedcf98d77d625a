"""What the first steps of a training tell of the rest, and a question where that is not what its user expects.

They are the run's own first steps, at its longest batches (batch_order.py puts them there). So a probe costs nothing,
and a run with one is, step by step, the run without.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from .base import emit
from .training_memory import headroom, peak_memory_gib

__all__ = ["PROBE_VARIABLE", "Probe"]

PROBE_VARIABLE = "TUNESMITH_PROBE"
"""Environment variable of a caller that answers a probe: the seconds that its user expects of the training, or inf."""

_TIMES = 2.0  # more than so many times what was expected is worth a question


@dataclass(frozen=True)
class Probe:
    """Tells what a training will take.

    Attributes:
        sizes: tokens of every step, padding included.
        expected_seconds: what the user was told; inf where nothing was.
        cuda: whether the memory in question is a GPU's.
    """

    sizes: Sequence[int]
    expected_seconds: float
    cuda: bool

    @classmethod
    def asked_for(cls, sizes: Sequence[int], *, cuda: bool) -> "Probe | None":
        """The probe that this process's environment asks for, or None."""
        expected = os.environ.get(PROBE_VARIABLE)
        return None if expected is None else cls(sizes, float(expected), cuda)

    def forecast(self, seconds: Sequence[float]) -> float:
        """Seconds of all steps, from those of the first: in proportion to the tokens, padding included.

        The faster of the first steps counts, since one of them pays for what is set up once.

        >>> Probe([200, 100, 100, 50], float("inf"), cuda=False).forecast([4.0, 1.0])
        6.5
        """
        speed = max(size / max(took, 1e-9) for size, took in zip(self.sizes, seconds, strict=False))
        return sum(seconds) + sum(self.sizes[len(seconds) :]) / speed

    def tell(self, seconds: Sequence[float]) -> bool:
        """Report what is to come, after steps that took so long; true where the run must wait for a word.

        The event `probe` has `seconds` (of all steps), `memory_gib` (the most so far), `asks`, and, where it asks,
        `expected_seconds` or `more_gib` and `free_gib`.
        """
        whole = self.forecast(seconds)
        more, free = headroom(cuda=self.cuda)
        reasons: dict[str, float] = {}
        if more > free:
            reasons |= {"more_gib": round(more, 2), "free_gib": round(free, 2)}
        if whole > _TIMES * self.expected_seconds:
            reasons["expected_seconds"] = round(self.expected_seconds, 1)
        memory = round(peak_memory_gib(cuda=self.cuda), 2)
        emit("probe", seconds=round(whole, 1), memory_gib=memory, asks=bool(reasons), **reasons)
        return bool(reasons)
