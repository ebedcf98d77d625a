"""What a message tells of other times and other people: its numbers and names set nothing."""

from .nearby import STOPS
from .words import Token, word_set

__all__ = ["ignore_stories"]

_TELLING = word_set(
    "yesterday took got ran overfitted overfit overfits attempt attempts uses used colleague colleagues ago crashed"
)
_JOINTS = frozenset({*STOPS, ",", ":", "but", "so", "-", "–", "—"})
_VALUES = {"number", "set", "model", "family", "size", "label", "quant", "bits"}
_ORDERING = {"tool", "name", "label"}


def ignore_stories(tokens: list[Token]) -> None:
    """Mark the values of clauses that tell and order nothing: `the last attempt ran for 10 epochs, so train for 2`.

    A clause that has a verb of work or a file in it orders something, and where no other does, nothing is left out.

    >>> from .lexicon import read_tokens
    >>> tokens = read_tokens("my colleague uses rank 64, but train it with rank 8")
    >>> ignore_stories(tokens); [token.text for token in tokens if token.kind == "number"]
    ['8']
    """
    clauses: list[list[Token]] = [[]]
    for token in tokens:
        if token.text in _JOINTS:
            clauses.append([])
        clauses[-1].append(token)
    ordering = [any(token.kind in _ORDERING for token in clause) for clause in clauses]
    for clause, itself in zip(clauses, ordering, strict=True):
        told = any(token.kind == "word" and token.text in _TELLING for token in clause)
        orders = any(token.kind in ("name", "tool") for token in clause)
        if told and not orders and sum(ordering) > itself:
            for token in clause:
                if token.kind in _VALUES:
                    token.kind, token.used = "filler", True
