"""What a message tells of other times, other people and what data holds: it sets nothing."""

import itertools

from .nearby import STOPS
from .words import Token, word_set

__all__ = ["ignore_stories"]

_PAST = word_set("yesterday overfitted overfit overfits crashed")
_TIMES = word_set("week month year night time weekend attempt try run experiment training job model")
_OTHERS = word_set("uses recommends suggests prefers runs says")
_NOBODY = word_set("it that this which sure always usually often he she")
_DONE = word_set(
    "trained retrained tuned finetuned exported evaluated scored tested benchmarked measured quantized quantised "
    "converted merged"
)
_HOLDING = word_set("holds contains says say reads")
_JOINTS = frozenset({*STOPS, ",", ":", "but", "so", "-", "–", "—"})
_VALUES = {"number", "set", "model", "family", "size", "label", "quant", "bits", "choice", "tool", "name"}
_KINDS = {"set", "model", "quant", "label"}


def ignore_stories(tokens: list[Token]) -> list[str]:
    """Mark the values of clauses that tell and order nothing, and return them as they stand.

    `Yesterday it ran for 10 epochs, so train for 2` tells of another time. What other people do (`he uses rank 64`) is
    a story only where the message orders otherwise itself. A clause with a verb of work in it orders something; a file
    in it counts too, unless the clauses that order name files of their own.

    >>> from .lexicon import read_tokens
    >>> ignore_stories(read_tokens("my colleague uses rank 64, but train it with rank 8"))
    ['rank', '64']
    >>> ignore_stories(read_tokens("make sure it uses rank 64, and train it"))
    []
    """
    clauses: list[list[Token]] = [[]]
    for token in tokens:
        if token.text in _JOINTS:
            clauses.append([])
        clauses[-1].append(token)
    told = [_tells(clause) for clause in clauses]
    left = [token for clause, story in zip(clauses, told, strict=True) if not story for token in clause]
    if not any(token.kind in ("tool", "name", "label") for token in left):
        return _contents(clauses)
    named = any(token.kind == "name" for token in left) and any(token.kind == "tool" for token in left)
    ordered = {_sort(token) for token in left if token.kind in _KINDS}
    ignored: list[str] = []
    for clause, story in zip(clauses, told, strict=True):
        contradicted = {_sort(token) for token in clause if token.kind in _KINDS} <= ordered
        if story and (story == "past" or contradicted) and (named or not any(t.kind == "name" for t in clause)):
            ignored += _forget(clause)
    return ignored + _contents(clauses)


def _tells(clause: list[Token]) -> str:
    """`past` for a clause that speaks of another time, `others` of other people; empty where it may order something."""
    if any(token.kind == "tool" and token.text.split()[-1] not in _DONE for token in clause):
        return ""
    words = [token.text for token in clause]
    pairs = set(itertools.pairwise(words))
    last = any(word == "last" and after in _TIMES for word, after in pairs)
    if last or _PAST & {*words} or ("thought", "about") in pairs or {"tomorrow", "will"} <= {*words}:
        return "past"
    for i, token in enumerate(clause):
        before = next((word for word in reversed(words[:i]) if word not in ("always", "usually", "often")), "")
        if token.kind == "word" and token.text in _OTHERS and i and before not in _NOBODY | {"", *_JOINTS}:
            return "others"
    return ""


def _sort(token: Token) -> object:
    return token.value if token.kind == "label" else token.kind


def _contents(clauses: list[list[Token]]) -> list[str]:
    """`faq.jsonl holds questions on how to export to q4_k_m. Train on it`: forget what data says of itself."""
    for n, clause in enumerate(clauses):
        for i, token in enumerate(clause):
            held = token.text in _HOLDING and token.kind == "word" and any(t.kind == "name" for t in clause[:i])
            orders = any(t.kind == "tool" for other in clauses[n + 1 : n + 4] for t in other)
            if held and orders and not any(t.kind == "tool" for t in clause[:i]):
                return _forget(clause[i:])
    return []


def _forget(tokens: list[Token]) -> list[str]:
    values = [token for token in tokens if token.kind in _VALUES]
    for token in values:
        token.kind, token.used = "filler", True
    return [token.text for token in values]
