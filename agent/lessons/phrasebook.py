"""The phrases of one language. Some are kept apart, so that what is learned can be measured on wordings never seen."""

import functools
import hashlib
import random
import re
import tomllib
from pathlib import Path
from typing import Any

__all__ = ["Phrasebook", "cased", "expanded", "word_list"]

_HELD_OUT_OF = 8  # every eighth phrase is for the held-out set
_KEEP_FROM = 4  # a shorter list gives none away


def word_list(text: str) -> list[str]:
    """The words of a text, repetitions kept: a word that stands twice is drawn twice as often."""
    return text.split()


@functools.cache
def _tables(language: str) -> dict[str, dict[str, list[str]]]:
    file = Path(__file__).resolve().parent / f"{language}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))


@functools.cache
def _parted(language: str, table: str, name: str) -> tuple[list[str], list[str]]:
    """(phrases to learn from, phrases to be measured on)."""
    phrases = _tables(language)[table][name]
    held = [p for p in phrases if int(hashlib.sha256(p.encode()).hexdigest(), 16) % _HELD_OUT_OF == 0]
    if len(phrases) < _KEEP_FROM:
        held = []
    elif len(held) > len(phrases) // 3:
        held = held[: len(phrases) // 3]
    return [p for p in phrases if p not in held], held


def expanded(draw: random.Random, phrase: str) -> str:
    """A phrase with one of the alternatives of every `(a|b)`.

    >>> expanded(random.Random(1), "(a|b) (c) d")
    'a (c) d'
    """
    text = phrase.replace("\\|", "\0")
    while (match := re.search(r"\(([^()]*\|[^()]*)\)", text)) is not None:
        text = text[: match.start()] + draw.choice(match[1].split("|")) + text[match.end() :]
    return re.sub(r"  +", " ", text.replace("\0", "|"))


def _typos(draw: random.Random, phrase: str, rate: float) -> str:
    """Letters swapped, dropped or doubled in some of the longer words; slots stay."""

    def spoiled(match: "re.Match[str]") -> str:
        word = match[0]
        if draw.random() > rate:
            return word
        place = draw.randrange(1, len(word) - 1)
        kind = draw.random()
        if kind < 0.4:
            return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
        return word[:place] + word[place + 1 :] if kind < 0.75 else word[:place] + word[place] + word[place:]

    return re.sub(r"(?<![{\w])[^\W\d_]{4,}(?![\w}])", spoiled, phrase)


def cased(phrase: str, how: str) -> str:
    """A phrase in `lower`, `upper` or `as is` letters; slots stay.

    >>> cased("Train {base}", "upper")
    'TRAIN {base}'
    """
    if how == "as is":
        return phrase
    pieces = re.split(r"(\{\w+\})", phrase)
    return "".join(
        piece if piece.startswith("{") else piece.lower() if how == "lower" else piece.upper() for piece in pieces
    )


class Phrasebook:
    """Draws phrases for one request.

    Args:
        held: whether phrases of the held-out set are drawn as well, more often than the others.
    """

    def __init__(self, draw: random.Random, language: str, *, held: bool) -> None:
        self.draw, self.language, self._held = draw, language, held
        self.unseen = 0  # phrases of the held-out set that were drawn
        self.typos = 0.12 if draw.random() < 0.12 else 0.0
        kind = draw.random()
        self.case = "lower" if kind < 0.3 else "upper" if kind > 0.99 else "as is"

    def has(self, table: str, name: str) -> bool:
        """Whether there are such phrases."""
        return name in _tables(self.language).get(table, {})

    def pick(self, table: str, name: str, **values: Any) -> str:
        """One phrase, with its alternatives drawn, its letters spoiled where this request is, and its slots filled."""
        seen, unseen = _parted(self.language, table, name)
        phrase = self.draw.choice(seen)
        if self._held and unseen and self.draw.random() < 0.6:
            phrase = self.draw.choice(unseen)
            self.unseen += 1
        text = cased(expanded(self.draw, phrase), self.case)
        if self.typos and table not in ("key", "frame", "refuse"):
            text = _typos(self.draw, text, self.typos)
        text = text if table == "frame" else text.strip()
        return re.sub(r"\{(\w+)\}", lambda match: str(values[match[1]]), text)

    def names(self, table: str) -> list[str]:
        """The names in a table."""
        return list(_tables(self.language)[table])
