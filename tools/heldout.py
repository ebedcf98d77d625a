"""Decide which rows are never trained on.

Rows that ask the same (see `shapes.prompt_text`) share a key and stay on one side. The draw depends on nothing but
keys and seed: each key is ranked by its hash, and the lowest ranks are held out. So the order of the rows makes no
difference, and a few rows more move at most a few others.
"""

from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b

__all__ = ["MAX_HELDOUT", "MIN_HELDOUT", "draw", "heldout_size", "key_of"]

MIN_HELDOUT = 20
MAX_HELDOUT = 500
_TOO_FEW = 10


def heldout_size(rows: int, fraction: float) -> int:
    """How many of `rows` to hold out: the fraction, at least 20, at most 500; half at most; of fewer than 10, none.

    >>> [heldout_size(rows, 0.1) for rows in (9, 10, 30, 40, 300, 1_000, 1_000_000)]
    [0, 5, 15, 20, 30, 100, 500]
    >>> heldout_size(1000, 0)
    0
    """
    if rows < _TOO_FEW or fraction == 0:
        return 0
    return min(max(round(rows * fraction), MIN_HELDOUT), MAX_HELDOUT, rows // 2)


def key_of(text: str) -> int:
    """A 64-bit number for a text, the same in every process."""
    return int.from_bytes(blake2b(text.encode("utf-8"), digest_size=8).digest(), "big")


def draw(keys: Iterable[int], size: int, seed: int) -> set[int]:
    """The keys to hold out, so that together they have `size` rows: fewer only where many rows share a key."""
    counts = Counter(keys)
    if len(counts) < 2:
        return set()
    salt = b"%d" % seed

    def rank(key: int) -> bytes:
        return blake2b(b"%d" % key, key=salt, digest_size=16).digest()

    chosen: set[int] = set()
    for key in sorted(counts, key=rank):
        if size == 0:
            break
        if counts[key] <= size:
            chosen.add(key)
            size -= counts[key]
    return chosen
