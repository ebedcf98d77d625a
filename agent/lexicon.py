"""Find in a request the phrases by which people name tools, parameters, choices and evaluation sets."""

import functools
import re
import types
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin

from tunesmith.tools.registry import TOOLS

from .phrases import (
    CHOICES,
    EVAL_SETS,
    FILLERS,
    LABELS,
    NAMED,
    NOT_MISSPELLED,
    NOUNS,
    ORDINARY,
    SPELLED,
    UNITS,
    VERBS,
)
from .words import Token, Vocabulary, tokenize

__all__ = ["NUMERIC", "field_types", "read_tokens", "vocabulary"]


def field_types(key: str) -> set[Any]:
    """The types that a parameter `tool.parameter` takes, None left out."""
    tool, parameter = key.split(".")
    annotation = TOOLS[tool].input.model_fields[parameter].annotation
    union = get_origin(annotation) in (Union, types.UnionType)
    return {part for part in (get_args(annotation) if union else (annotation,)) if part is not type(None)}


NUMERIC = frozenset(
    f"{tool}.{name}"
    for tool, code in TOOLS.items()
    for name in code.input.model_fields
    if field_types(f"{tool}.{name}") & {int, float}
)


@dataclass(frozen=True)
class _Phrase:
    words: tuple[str, ...]
    kind: str
    value: Any
    unit: str = ""


def _each(text: str) -> list[tuple[str, ...]]:
    return [tuple(phrase.split()) for phrase in text.split(", ")]


@functools.cache
def _phrases() -> dict[str, list[_Phrase]]:
    """First word -> phrases, longest first. A later table gives way to an earlier one for the same words."""
    found: dict[tuple[str, ...], _Phrase] = {}

    def add(text: str, kind: str, value: Any, unit: str = "") -> None:
        for words in _each(text):
            found.setdefault(words, _Phrase(words, kind, value, unit))

    add(FILLERS, "filler", None)
    for (key, choice), text in CHOICES.items():
        add(text, "choice", (key, choice))
    for keys, text in UNITS.items():
        add(text, "label", tuple(keys.split("|")), "unit")
    for keys, text in (LABELS | NAMED).items():
        add(text, "label", tuple(keys.split("|")))
    for tool, code in TOOLS.items():  # every parameter by its own name, however it is spelled
        add(tool, "tool", tool, "verb")
        for name in code.input.model_fields:
            owners = tuple(f"{t}.{name}" for t, c in TOOLS.items() if name in c.input.model_fields)
            meant = ("output_dir",) if name == "output_dir" else owners
            add(f"{name}, {name.replace('_', ' ')}, {name.replace('_', '')}", "label", meant)
            add(f"{tool}.{name}", "label", (f"{tool}.{name}",))
    for tool, text in VERBS.items():
        add(text, "tool", tool, "verb")
    for tool, text in NOUNS.items():
        add(text, "tool", tool, "noun")
    for eval_set, text in EVAL_SETS.items():
        add(f"{eval_set}, {text}", "set", eval_set)
    table: dict[str, list[_Phrase]] = {}
    for phrase in sorted(found.values(), key=lambda p: -len(p.words)):
        table.setdefault(phrase.words[0], []).append(phrase)
    return table


@functools.cache
def vocabulary() -> frozenset[str]:
    """Every word that a phrase above is made of, and the ordinary words of requests."""
    words = {word for phrases in _phrases().values() for phrase in phrases for word in phrase.words}
    return frozenset(words | set(ORDINARY))


@functools.cache
def _known() -> Vocabulary:
    single = [p for phrases in _phrases().values() for p in phrases if len(p.words) == 1 and p.kind in ("tool", "set")]
    return Vocabulary(vocabulary(), frozenset(phrase.words[0] for phrase in single))


_GLUED = re.compile(r"([a-z]+)(\d+(?:\.\d+)?(?:e-?\d+)?)")


def _counts(word: str) -> bool:
    """Whether a number may be glued to a word: `r32`, `bs4`."""
    return any(p.words == (word,) and p.kind == "label" and p.value[0] in NUMERIC for p in _phrases().get(word, []))


def _joined_words(tokens: list[Token]) -> list[Token]:
    """`warm_up_steps` and `r32` as what they are made of, where that is a phrase; any other such word is a name."""
    result: list[Token] = []
    for token in tokens:
        words = tuple(token.text.split("_")) if token.kind == "word" else ()
        if len(words) > 1 and any(phrase.words == words for phrase in _phrases().get(words[0], [])):
            result += [Token("word", word, spaced=token.spaced) for word in words]
        elif token.kind == "word" and (glued := _GLUED.fullmatch(token.text)) and _counts(glued[1]):
            value = int(glued[2]) if glued[2].isdigit() else float(glued[2])
            result += [Token("word", glued[1]), Token("number", glued[2], value, spaced=False)]
        elif token.text == "=" and result and result[-1].text == "a":  # `r=8 a=16`
            result[-1].text = "alpha"
            result.append(token)
        else:
            result.append(token)
    return result


def _distance(one: str, other: str) -> int:
    """Optimal string alignment distance: insertions, deletions, substitutions, swaps of neighbours."""
    rows = [list(range(len(other) + 1))]
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            best = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]


def _respelled(word: str) -> str:
    if len(word) < 5 or not word.isalpha() or word in vocabulary() or word in NOT_MISSPELLED:
        return word
    for right in SPELLED.split():
        near = 2 if min(len(word), len(right)) >= 7 else 1
        if abs(len(word) - len(right)) <= near and sorted(word[:2])[0] in right[:2] and _distance(word, right) <= near:
            return right
    return word


def read_tokens(text: str) -> list[Token]:
    """The tokens of a request, with every known phrase joined to one token of its meaning."""
    tokens = _joined_words(tokenize(text, _known()))
    for token in tokens:
        if token.kind == "word":
            token.text = _respelled(token.text)
    table = _phrases()
    result: list[Token] = []
    position = 0
    while position < len(tokens):
        token = tokens[position]
        phrase = _phrase_at(tokens, position, table.get(token.text, [])) if token.kind == "word" else None
        if phrase is None:
            result.append(token)
            position += 1
            continue
        result.append(Token(phrase.kind, " ".join(phrase.words), phrase.value, phrase.unit, spaced=token.spaced))
        position += len(phrase.words)
    return result


def _phrase_at(tokens: list[Token], position: int, phrases: list[_Phrase]) -> _Phrase | None:
    for phrase in phrases:
        window = tokens[position : position + len(phrase.words)]
        if len(window) == len(phrase.words) and all(
            token.kind in ("word", "number") and token.text.lower() == word
            for token, word in zip(window, phrase.words, strict=True)
        ):
            return phrase
    return None
