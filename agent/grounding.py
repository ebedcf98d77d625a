"""Whether a value that a language model read out of a message stands in it."""

import re
import unicodedata
from collections.abc import Iterable
from typing import Any, Literal, get_args, get_origin

from tunesmith.tools.catalogue import ADAPTER_TYPE, BASE_MODELS, DATASETS, LOAD_PRECISION, QUANTIZATIONS
from tunesmith.tools.registry import TOOLS

from .lexicon import NUMERIC, field_types
from .number_words import number_spans, read_number
from .phrases import EVAL_SETS
from .plan import History
from .words import tokenize

__all__ = ["Grounds"]

_CATALOGUE = frozenset({*BASE_MODELS, *DATASETS, *QUANTIZATIONS, ADAPTER_TYPE, *LOAD_PRECISION.values(), *EVAL_SETS})
# Factors and differences that have words of their own in every language: double, halve, a tenth, one more.
_WORDED = frozenset({2, 3, 4, 10, 0.5, 0.25, 0.1, 1, -1})
_SWITCH = {"true": True, "false": False}


class Grounds:
    """What values may come from: the message, the session before it, and the catalogue.

    A name must stand in one of them as a whole. A number must be written in the message, outside of names, in digits
    or in words; what answers an open question may come from what was asked before.
    """

    def __init__(self, text: str, history: History) -> None:
        earlier = [value for step in (history.last.steps if history.last else ()) for value in step.args.values()]
        waiting = history.pending.pending if history.pending is not None else None
        asked = [v for values in (waiting or {}).get("frame", {}).get("values", {}).values() for v in values]
        said = f"{text}\n{history.pending.request}" if history.pending is not None else text
        self._text = _folded(said)
        self._known = {_folded(name) for value in [*earlier, *asked] for name in _strings(value)} | _CATALOGUE
        self._asked = {value for value in asked if isinstance(value, int | float)}
        for token in tokenize(said):
            if token.kind in ("name", "model"):
                said = said.replace(token.text, " ")
        self._spans = number_spans(said)

    def read(self, parameter: str, value: str, *, relative: bool = False) -> Any:
        """The value of a parameter, typed.

        Raises:
            ValueError: it stands nowhere, or is of another kind; a sentence for the model.
        """
        if relative or (parameter in NUMERIC and str not in field_types(parameter)):
            return self._number(parameter, value, relative)
        if bool in field_types(parameter):
            if value.lower() not in _SWITCH:
                raise ValueError(f"`{parameter}` is true or false, and not {value!r}")
            return _SWITCH[value.lower()]
        folded = _folded(value)
        if not folded or not (folded in self._known or folded in _choices(parameter) or self._says(folded)):
            raise ValueError(f"{value!r} for `{parameter}` stands neither in the message nor in the catalogue")
        return value

    def _number(self, parameter: str, value: str, relative: bool) -> int | float:
        try:
            number = read_number(value, parameter, relative=relative)
        except ValueError as error:
            raise ValueError(f"{value!r} for `{parameter}` is no number") from error
        said = {read_number(span, parameter, relative=relative) for span in self._spans} | self._asked
        said |= {-one for one in said} | {1 / one for one in said if one} if relative else set()
        said |= {1 + sign * one for one in said for sign in (1, -1)} | _WORDED if relative else set()
        if not any(abs(number - one) <= 1e-9 * max(1.0, abs(one)) for one in said):
            raise ValueError(f"{value} for `{parameter}` is not in the message; leave out what the person did not say")
        return number

    def _says(self, folded: str) -> bool:
        """Whether the message has these words or this name as a whole, and not as a piece of a longer name."""
        return re.search(rf"(?<![\w./-]){re.escape(folded)}(?![\w/-]|\.\w)", self._text) is not None


def _folded(text: Any) -> str:
    return " ".join(unicodedata.normalize("NFKC", str(text)).casefold().split())


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _strings(one)


def _choices(parameter: str) -> set[str]:
    """The words that a parameter's own type lists."""
    found: set[str] = set()
    tool, name = parameter.split(".")
    waiting: list[Any] = [TOOLS[tool].input.model_fields[name].annotation]
    while waiting:
        kind = waiting.pop()
        if get_origin(kind) is Literal:
            found |= {_folded(choice) for choice in get_args(kind)}
        else:
            waiting += get_args(kind)
    return found
