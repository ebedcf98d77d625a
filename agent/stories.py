"""What a message tells of other times, other people and what data holds: it sets nothing."""

import itertools

from .nearby import STOPS
from .words import Token, word_set

__all__ = ["ignore_stories"]

_TELLING = word_set(
    "yesterday took got ran overfitted overfit overfits attempt attempts uses used colleague colleagues ago crashed "
    "recommends recommended suggests suggested everyone tomorrow thought"
)
_TIMES = word_set("week month year night time weekend")
_DONE = word_set(
    "trained retrained tuned finetuned exported evaluated scored tested benchmarked measured quantized quantised converted "
    "merged"
) | {"fine tuned"}
_HOLDING = word_set("holds contains says say reads")
_JOINTS = frozenset({*STOPS, ",", ":", "but", "so", "-", "–", "—"})
_VALUES = {"number", "set", "model", "family", "size", "label", "quant", "bits", "choice", "tool", "name"}


def ignore_stories(tokens: list[Token]) -> None:
    """Mark the values of clauses that tell and order nothing: `the last attempt ran for 10 epochs, so train for 2`.

    A clause that has a verb of work in it orders something; a file in it counts too, unless the clauses that order
    name files of their own. Where no other clause orders anything, nothing is left out.

    >>> from .lexicon import read_tokens
    >>> tokens = read_tokens("my colleague uses rank 64, but train it with rank 8")
    >>> ignore_stories(tokens); [token.text for token in tokens if token.kind == "number"]
    ['8']
    """
    _ignore_contents(tokens)
    clauses: list[list[Token]] = [[]]
    for token in tokens:
        if token.text in _JOINTS:
            clauses.append([])
        clauses[-1].append(token)
    told = [_tells(clause) for clause in clauses]
    left = [token for clause, story in zip(clauses, told, strict=True) if not story for token in clause]
    if not any(token.kind in ("tool", "name", "label") for token in left):
        return
    named = any(token.kind == "name" for token in left) and any(token.kind == "tool" for token in left)
    for clause, story in zip(clauses, told, strict=True):
        if story and (named or not any(token.kind == "name" for token in clause)):
            _forget(clause)


def _tells(clause: list[Token]) -> bool:
    """Whether a clause speaks of another time or person, and orders nothing."""
    words = [token.text for token in clause]
    past = any(word == "last" and after in _TIMES for word, after in itertools.pairwise(words))
    cue = past or any(token.kind == "word" and token.text in _TELLING for token in clause)
    return cue and all(token.text in _DONE for token in clause if token.kind == "tool")


def _ignore_contents(tokens: list[Token]) -> None:
    """`faq.jsonl holds questions on how to export to q4_k_m.`: what data says of itself, to the end of the sentence."""
    for i, token in enumerate(tokens):
        if token.text in _HOLDING and token.kind == "word" and any(t.kind == "name" for t in tokens[max(0, i - 2) : i]):
            end = next((j for j in range(i, len(tokens)) if tokens[j].text in STOPS), len(tokens))
            _forget(tokens[i:end])


def _forget(tokens: list[Token]) -> None:
    for token in tokens:
        if token.kind in _VALUES:
            token.kind, token.used = "filler", True
