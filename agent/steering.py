"""Read what a person says to a training that is going on: how is it going, stop, save, another learning rate.

Every word of a message has to be understood. A running process can't be asked to forget a step, so a message with
anything else in it is not read as far as it goes; it is not read at all.
"""

import re
from dataclasses import dataclass

from tunesmith.tools.control_file import GoOn, Save, Stop

from .keys import LEARNING_RATE
from .lexicon import read_tokens
from .plan import History
from .rules import read
from .words import word_set

__all__ = ["EXAMPLES", "AskProgress", "SetRate", "Wish", "read_wish"]

EXAMPLES = "`how is it going?`, `save now`, `stop after this epoch`, `keep going`, `halve the learning rate`"


@dataclass(frozen=True)
class AskProgress:
    """How far is it?"""


@dataclass(frozen=True)
class SetRate:
    """Another peak learning rate: a value, or a factor of the present one."""

    value: float | None = None
    times: float | None = None


Wish = AskProgress | SetRate | Stop | GoOn | Save

_LONGEST = 200  # characters; nobody says more to a running process
_POLITE = word_set("please ok okay hey so then can could would you lets let us just")
_WORK = r"(?: (?:the|this|that|our|my))?(?: (?:it|training|run|process))?"
_NOW = r"(?: (?:right|immediately|here|for|at|once|now))*"

_ASKING = word_set("how what is are when where which any show tell give status progress eta loss news")
_ASKED = word_set(
    "going doing far long longer much status progress eta loss left done ready finished happening news we epoch step"
)
_IN_A_QUESTION = (
    _ASKING
    | _ASKED
    | word_set(
        "it the a of this that me my our run training process model things looking look coming along so still yet at "
        "in to go until end now will be take takes need needs there current currently are well on time has got over"
    )
)

_VERB = r"(?:stop|halt|end|finish|quit|pause|abort|interrupt|cancel)"
_THIS = r"(?:the |this |the current |this current |the present |current )?"
_OVER = r"(?: (?:is |has )?(?:over|done|finished|complete|completed|ends|finishes|ended|through))"
_STOP_NOW = re.compile(rf"{_VERB}{_WORK}{_NOW}")
_STOP_AFTER = re.compile(
    rf"{_VERB}{_WORK} (?:(?:after|at the end of|when done with) {_THIS}(?P<after>epoch|step)"
    rf"|(?:when|once|as soon as) {_THIS}(?P<when>epoch|step){_OVER})"
)
_STOP_AT = re.compile(
    rf"{_VERB}{_WORK} (?:(?:after|at the end of) (?P<after>epoch|step)|at (?P<at>step)) (?P<number>\d+)"
)
_GO_ON = re.compile(
    rf"(?:(?:no )?do not {_VERB}{_WORK}|(?:keep|go|carry) (?:going|on|training)|continue{_WORK}|never mind)"
    r"(?: (?:after|all|anyway|now|though))*"
)
_SAVE = re.compile(
    rf"(?:(?:save|store)(?:{_WORK}|(?: (?:the|a|its|your))? (?:state|checkpoint|weights|progress|model))"
    rf"|(?:(?:write|make|take) )?(?:a )?checkpoint){_NOW}"
)
_ABOUT_A_RATE = word_set(
    "set lower raise reduce increase decrease drop cut change make use halve half double triple divide multiply scale "
    "put bring the a to by of from now on this point factor times third quarter tenth twice percent its current with "
    "it step next down up"
)


def read_wish(text: str) -> Wish | None:
    """What is asked of the running training, or None for anything else.

    >>> read_wish("Stop after this epoch, please"), read_wish("stop at step 40")
    (Stop(op='stop', after='epoch', number=None), Stop(op='stop', after='step', number=40))
    >>> read_wish("halve the learning rate from now")
    SetRate(value=None, times=0.5)
    >>> read_wish("stop after this epoch and export q4_k_m") is None
    True
    """
    if len(text) > _LONGEST:
        return None
    words = _words(text)
    said = " ".join(words)
    if words and words[0] in _ASKING and set(words) <= _IN_A_QUESTION and set(words) & _ASKED:
        return AskProgress()
    if _STOP_NOW.fullmatch(said):
        return Stop()
    if match := _STOP_AFTER.fullmatch(said):
        return Stop(after="epoch" if "epoch" in (match["after"], match["when"]) else "step")
    if (match := _STOP_AT.fullmatch(said)) and int(match["number"]) > 0:
        return Stop(after="epoch" if match["after"] == "epoch" else "step", number=int(match["number"]))
    if _GO_ON.fullmatch(said):
        return GoOn()
    if _SAVE.fullmatch(said):
        return Save()
    return _rate(text)


def _words(text: str) -> list[str]:
    plain = text.lower().replace("’", "'").replace("don't", "do not").replace("dont", "do not")
    plain = re.sub(r"\b(how|what|where|that|it)'?s\b", r"\1 is", plain)
    if re.search(r"[^\w\s,.!?']", plain):
        return []
    return [word for word in re.findall(r"[\w']+", plain) if word not in _POLITE]


def _rate(text: str) -> SetRate | None:
    """`lower lr to 1e-5`, `learning_rate=1e-5`, `halve the learning rate from now`: read as in any request."""
    for token in read_tokens(text):
        known = token.kind in ("number", "label") or (token.kind == "punct" and token.text in ("=", ",", ".", "!", ":"))
        if not known and token.text not in _ABOUT_A_RATE | _POLITE:
            return None
    frame = read(text, History())
    if frame.to_json().keys() != {"intent", "values"} or frame.values.keys() != {LEARNING_RATE}:
        return None
    asked = frame.values[LEARNING_RATE]
    if len(asked) != 1:
        return None
    if isinstance(asked[0], dict):
        return SetRate(times=asked[0]["times"]) if asked[0].keys() == {"times"} else None
    return SetRate(value=float(asked[0]))
