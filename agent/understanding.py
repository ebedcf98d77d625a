"""How much of a message the rules understood: whether their plan can stand, or a language model should read it too.

The rules know English words for work and skip the rest. So a message in another language may leave them with one
word of ten, and a plan that is half of what was asked. What is told here is what they skipped.
"""

import re
import unicodedata
from dataclasses import dataclass

from .frame import Frame
from .lexicon import read_tokens, vocabulary
from .translation import in_english
from .words import Token, word_set

__all__ = ["Understood", "understood"]

# Words that hold sentences together, of languages in Latin letters, without those that English has as well.
_FOREIGN = word_set(
    "der den dem das ein eine einen einem einer und mit für auf nicht bitte ich mir mich wir uns von zu zur zum im "
    "wie wird sind ist nach über auch noch kein keine keinen ohne dann nur bei aus oder aber doch mal danach sowie "
    "mein meine meinen meinem dein deine werde werden soll sollen kannst können möchte hätte "
    "el los las un una unos unas del con por para que en sobre durante como mis pero sin haz y ahora quiero "
    "puedes cuál qué solo luego después también otra vez "
    "le les une du des aux au avec pour sur et puis est dans sans mes fais peux je j'aimerais que quel quelle aussi "
    "pendant ensuite il faut veux moi "
    "os um uma uns umas com em do dos da das na nas no nos depois meu minha meus sem faça quero pode agora também "
    "por favor pelo pela então seu sua"
) - word_set("a an as do no me die so in on at of to us is was am or not den des sur nos du vez")
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
    >>> understood("Trainiere smollm2-135m mit rows.jsonl", Frame())
    Understood(skipped=('trainiere', 'mit'), foreign=True)
    """
    values = {str(value).casefold() for values in frame.values.values() for value in values}
    translated = in_english(text)
    tokens = read_tokens(translated)
    words = [token for token in tokens if token.kind == "word"]
    skipped = [token.text for token in words if _unknown(token) and token.text not in values]
    foreign = len([word for word in skipped if word in _FOREIGN])
    letters = "".join(token.text for token in words)
    other_script = any(char.isalpha() and not unicodedata.name(char, "").startswith("LATIN") for char in letters)
    accents = len([word for word in skipped if not word.isascii()])
    said = len([token for token in tokens if token.kind in _WORDED])
    mostly = len(skipped) >= max(_SEVERAL, _MOSTLY * said)
    strange = other_script or mostly or accents + foreign >= (1 if len(words) <= 4 else 2)
    return Understood(tuple(skipped), translated != text or strange)


def _unknown(token: Token) -> bool:
    return token.text not in vocabulary() and bool(re.search(r"[^\W\d_]{2}", token.text) or not token.text.isascii())
