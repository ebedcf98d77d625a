"""Which tokens of many texts are computed together, so that what texts begin with in common is computed once.

The texts are taken in lexical order: neighbours then share the longest starts, be it few-shot examples, the examples
of one subject among many, the context of one item or the first words of two choices.
"""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Batch", "Pack", "common_start", "lay_out", "plan"]

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Pack:
    """Texts that are computed together.

    Attributes:
        members: their numbers, in lexical order.
        shared: how many first tokens of the first member have been computed already, as those of the last member of
            the pack before.
        cells: tokens in memory while they are computed, the shared ones included.
    """

    members: tuple[int, ...]
    shared: int
    cells: int


@dataclass
class Batch:
    """Tokens to compute: `tokens[k]` stands at `positions[k]` of every sequence in `sequences[k]`.

    `places[i][p - starts[i]]` is the k of the token at position p of text i.
    """

    tokens: list[int]
    positions: list[int]
    sequences: list[list[int]]
    places: list[list[int]]
    starts: list[int]


def common_start(one: Tokens, other: Tokens) -> int:
    """How many tokens both begin with.

    >>> common_start((1, 2, 3), (1, 2, 4, 5)), common_start((1, 2), (1, 2, 3))
    (2, 2)
    """
    length = min(len(one), len(other))
    if one[:length] == other[:length]:
        return length
    return next(i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)


def plan(texts: Sequence[Tokens], needed: Sequence[int], *, tokens: int, sequences: int, sharing: bool) -> list[Pack]:
    """Texts in packs of at most `tokens` tokens to compute and `sequences` texts; a longer text is a pack by itself.

    Args:
        needed: the first position of each text whose logits are wanted; it is computed with its own text's pack.
        sharing: whether texts may share tokens at all.

    >>> texts = [(1, 2, 3, 4), (1, 2, 3, 5, 6), (7, 8)]
    >>> plan(texts, [2, 2, 0], tokens=5, sequences=9, sharing=True)
    [Pack(members=(0,), shared=0, cells=4), Pack(members=(1, 2), shared=2, cells=7)]
    """
    order = sorted(range(len(texts)), key=lambda i: texts[i]) if sharing else range(len(texts))
    packs: list[Pack] = []
    members: list[int] = []
    shared = size = reach = 0
    before: Tokens = ()
    for i in order:
        start = common_start(before, texts[i]) if sharing else 0
        reach = min(reach, start)  # how much of the shared tokens this text begins with
        if members and (len(members) == sequences or size + len(texts[i]) - start > tokens or needed[i] < reach):
            packs.append(Pack(tuple(members), shared, shared + size))
            members = []
        if not members:
            start = shared = reach = min(start, needed[i])
            size = 0
        members.append(i)
        size += len(texts[i]) - start
        before = texts[i]
    if members:
        packs.append(Pack(tuple(members), shared, shared + size))
    return packs


def lay_out(texts: Sequence[Tokens], shared: int, first_sequence: int, *, sharing: bool) -> Batch:
    """The tokens of one pack's texts, each shared one once; text i is sequence `first_sequence + i`.

    `shared` first tokens of the first text are computed already, and as much of them as the others begin with.

    >>> lay_out([(1, 2, 3), (1, 2, 4)], 1, 5, sharing=True)
    Batch(tokens=[2, 3, 4], positions=[1, 2, 2], sequences=[[5, 6], [5], [6]], places=[[0, 1], [0, 2]], starts=[1, 1])
    """
    batch = Batch([], [], [], [], [])
    before: Tokens = ()
    for i, text in enumerate(texts):
        same = common_start(before, text) if sharing else 0
        start = min(shared, common_start(texts[0], text)) if sharing else 0
        known = batch.places[-1][: same - start] if i and same > start else []
        for k in known:
            batch.sequences[k].append(first_sequence + i)
        begin = start + len(known)
        added = range(len(batch.tokens), len(batch.tokens) + len(text) - begin)
        batch.tokens += text[begin:]
        batch.positions += range(begin, len(text))
        batch.sequences += [[first_sequence + i] for _ in added]
        batch.places.append([*known, *added])
        batch.starts.append(start)
        before = text
    return batch
