"""Corrections inside one message: `2 epochs, no wait, 3` asks for 3 epochs and for nothing else."""

from .lexicon import NUMERIC
from .nearby import governing_tool
from .words import Token, family_members, word_set

__all__ = ["corrected", "is_retracted"]

_MARKERS = word_set(
    "wanted sorry oops whoops wait actually rather correction er erm uh um hmm mean meant pardon apologies better nope"
)
_TAKEN_BACK = {("scratch", "that"), ("strike", "that"), ("make", "that"), ("second", "thought"), ("second", "thoughts")}
_BETWEEN = _MARKERS | word_set(
    "i on to with for use using it that this should be is the a an let us lets go say please make want need take from "
    "as of in at well no have meant id my bad should have been"
)
_BREAKS = word_set(", ( : - – — … . ! ; ' \"")
_KINDS = {"model": "model", "family": "model", "bits": "quant"}


def corrected(tokens: list[Token]) -> list[Token]:
    """The message as its writer wants it read: what was said wrong replaced by what was said instead.

    A correction is a word such as `sorry` and then, with nothing of its own between, a value of the kind of an
    earlier one. Without such an earlier value the message is left as it is.
    """
    i = 0
    while i < len(tokens):
        if _marks(tokens, i) and (new := _next_value(tokens, i)) is not None:
            old = _value_meant(tokens, i, new)
            refused = (
                old is not None and old > 0 and tokens[old - 1].text in ("never", "not", "no", "forget", "neither")
            )
            if old is not None and not refused:
                tokens = _replaced(tokens, old, i, new)
                continue
        i += 1
    return tokens


def is_retracted(tokens: list[Token], i: int) -> bool:
    """Whether the order at `i` is taken back after it was given: `on second thought, don't export`."""
    j = i - 1
    while j >= 0 and i - j < 10:
        if _marks(tokens, j):
            return True
        j -= 1
    return False


def _marks(tokens: list[Token], i: int) -> bool:
    text, after = tokens[i].text, tokens[i + 1].text if i + 1 < len(tokens) else ""
    if tokens[i].kind != "word" or after == "than":
        return False
    if text == "wanted":  # `I wanted the 3b`
        return i > 0 and tokens[i - 1].text == "i"
    if text == "no":
        return after == "," or after in _MARKERS or after in ("make", "i", "use")
    if text == "better":
        return i > 0 and (tokens[i - 1].kind == "punct" or tokens[i - 1].text in _MARKERS)
    return text in _MARKERS or (text, after) in _TAKEN_BACK


def _next_value(tokens: list[Token], i: int) -> int | None:
    """The value that follows a marker, with no other words between."""
    j = i + 1 + ((tokens[i].text, tokens[i + 1].text if i + 1 < len(tokens) else "") in _TAKEN_BACK)
    while j < len(tokens):
        token = tokens[j]
        if token.kind in ("number", "quant", "bits", "name", "model", "family", "set", "size"):
            return j
        if token.kind not in ("label", "tool") and token.text not in _BETWEEN | _BREAKS:
            return None
        j += 1
    return None


def _label_of(tokens: list[Token], i: int, start: int = 0) -> str:
    """The parameter that a number at `i` is written with, if it is."""
    if i + 1 < len(tokens) and tokens[i + 1].kind == "label" and tokens[i + 1].unit:
        return str(tokens[i + 1].value[0])
    if start:  # anywhere between the marker and the number
        said = [t for t in tokens[start:i] if t.kind == "label" and t.value[0] in NUMERIC]
        return str(said[-1].value[0]) if said else ""
    j = i - 1
    while j >= 0 and tokens[j].kind in ("word", "punct") and tokens[j].text in ("of", "to", "=", ":", "is", "at"):
        j -= 1
    named = j >= 0 and tokens[j].kind == "label" and tokens[j].value[0] in NUMERIC
    return str(tokens[j].value[0]) if named else ""


def _value_meant(tokens: list[Token], marker: int, new: int) -> int | None:
    """The nearest earlier value that the one at `new` can replace."""
    wanted = "model" if tokens[new].kind == "size" else _kind(tokens[new])  # `gemma3-1b, I mean the 4b`
    label = _label_of(tokens, new, marker)
    ordered = {str(token.value) for token in tokens[marker:new] if token.kind == "tool"}
    for j in range(marker - 1, -1, -1):
        token = tokens[j]
        if _kind(token) != wanted or token.kind == "size":
            continue
        if token.kind == "number" and label and label != _label_of(tokens, j):
            continue
        return j if not ordered or ordered == {governing_tool(tokens, j)} else None
    return None


def _kind(token: Token) -> str:
    if token.kind == "name":
        return "gguf" if str(token.value).lower().endswith(".gguf") else "name"
    return _KINDS.get(token.kind, token.kind)


def _replaced(tokens: list[Token], old: int, marker: int, new: int) -> list[Token]:
    """The tokens without the correction, whose value stands where the wrong one stood."""
    value = tokens[new]
    if value.kind == "size":
        members = family_members(str(tokens[old].value).rsplit("-", 1)[0], str(value.value))
        value = Token("model", value.text, members[0]) if len(members) == 1 else value
    end = new + 1
    if end < len(tokens) and tokens[end].kind == "label" and tokens[end].unit and _label_of(tokens, old):
        end += 1
    while end < len(tokens) and tokens[end].text in (")", "—", "–"):
        end += 1
    start = marker
    while start > old + 1 and (tokens[start - 1].text in _BETWEEN | _BREAKS or tokens[start - 1].text == "or"):
        start -= 1
    return [*tokens[:old], value, *tokens[old + 1 : start], *tokens[end:]]
