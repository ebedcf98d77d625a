"""How much of a message the rules understood: whether their plan can stand, or a language model should read it too.

The rules know English words for work, the glossaries of six languages turn those of other languages into them, and
both skip the rest. So a message may leave them with half of its words, and a plan that is half of what was asked. What
is told here is what they skipped.
"""

import re
import unicodedata
from dataclasses import dataclass

from .frame import Frame
from .lexicon import read_tokens, vocabulary
from .translation import in_english
from .words import Token

__all__ = ["Understood", "understood"]

_WORDED = {"word", "label", "tool", "choice", "set", "filler"}
_MOSTLY, _SEVERAL = 0.6, 3  # of the words of a message, and words


@dataclass(frozen=True)
class Understood:
    """What the rules made of a message.

    Attributes:
        skipped: words that mean nothing to them.
        foreign: whether the message is in another language than English, or strange for another reason.
    """

    skipped: tuple[str, ...]
    foreign: bool


def understood(text: str, frame: Frame) -> Understood:
    """What of a message the rules skipped, `frame` being what they read in it.

    >>> understood("train smollm2-135m on rows.jsonl for 2 epochs", Frame())
    Understood(skipped=(), foreign=False)
    >>> understood("Allena smollm2-135m con rows.jsonl", Frame())
    Understood(skipped=('allena',), foreign=True)
    """
    values = {str(value).casefold() for values in frame.values.values() for value in values}
    translated = in_english(text)
    tokens = read_tokens(translated)
    words = [token for token in tokens if token.kind == "word"]
    skipped = [token.text for token in words if _unknown(token) and token.text not in values]
    letters = "".join(token.text for token in words)
    other_script = any(char.isalpha() and not unicodedata.name(char, "").startswith("LATIN") for char in letters)
    accents = len([word for word in skipped if not word.isascii()])
    said = len([token for token in tokens if token.kind in _WORDED])
    mostly = len(skipped) >= max(_SEVERAL, _MOSTLY * said)
    strange = other_script or mostly or accents >= (1 if len(words) <= 4 else 2)
    return Understood(tuple(skipped), translated != text or strange)


def _unknown(token: Token) -> bool:
    return token.text not in vocabulary() and bool(re.search(r"[^\W\d_]{2}", token.text) or not token.text.isascii())
