"""What a message says and no tool can do anything with: found, so that it is not dropped in silence."""

from .lexicon import vocabulary
from .words import Token, word_set

__all__ = ["later_time", "no_number"]

_TIMES = word_set(
    "night day morning evening afternoon hour week weekend month monday tuesday wednesday thursday friday saturday "
    "sunday"
)
_REGULARLY = word_set("nightly daily hourly weekly monthly tonight tomorrow")
_NO_NUMBERS = word_set("nan inf infinity infinite many few some several lots enough none null whatever random")
_ENDS = (".", ",", ";", "!", "?", "\n", "and", "at", "then")


def later_time(tokens: list[Token]) -> str | None:
    """The words that ask for another time than now, or for every so often.

    >>> from .words import tokenize
    >>> later_time(tokenize("train smollm2-135m on rows.jsonl every night")), later_time(tokenize("on daily.jsonl"))
    ('every night', None)
    """
    for i, token in enumerate(tokens):
        after = tokens[i + 1].text if i + 1 < len(tokens) else "."
        if token.kind == "word" and token.text in ("every", "each") and after in _TIMES:
            return f"{token.text} {after}"
        if token.kind == "word" and token.text in _REGULARLY and after in _ENDS:
            return token.text
    return None


def no_number(tokens: list[Token], label: int) -> str | None:
    """The word that stands where the number of a parameter belongs, as in `epochs NaN` or `seed = random`."""
    i, assigned = label + 1, False
    if i < len(tokens) and tokens[i].text in ("=", ":"):
        i, assigned = i + 1, True
    if i >= len(tokens) or tokens[i].kind != "word":
        return None
    word = tokens[i].text
    return word if word in _NO_NUMBERS or (assigned and word not in vocabulary()) else None
