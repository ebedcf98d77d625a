"""Numbers that were bound to parameters, and the small steps of binding one."""

from typing import Any

from .words import Token

__all__ = ["Amounts", "bind", "number_at", "scaled", "text_at"]


class Amounts:
    """What `read_amounts` found: values by parameter, changes of none in particular, and what is unclear."""

    def __init__(self) -> None:
        self.values: list[tuple[tuple[str, ...], list[Any], int]] = []  # candidate keys, values, position of the label
        self.relative: list[dict[str, float]] = []
        self.unclear: tuple[tuple[str, ...], str] | None = None  # candidate keys, what is unclear


def text_at(tokens: list[Token], i: int) -> str:
    """A word's or mark's text; empty for other tokens and outside of the request."""
    return tokens[i].text if 0 <= i < len(tokens) and tokens[i].kind in ("word", "punct", "choice") else ""


def number_at(tokens: list[Token], i: int) -> Token | None:
    """The number at a position that nothing has taken yet."""
    return tokens[i] if 0 <= i < len(tokens) and tokens[i].kind == "number" and not tokens[i].used else None


def bind(tokens: list[Token], i: int, found: Amounts, values: list[Any]) -> bool:
    """Give a label its values; true, so that attempts chain."""
    tokens[i].used = True
    found.values.append((tokens[i].value, values, i))
    return True


def scaled(number: Token, label: Token) -> Any:
    """A number in the unit of its parameter: `2k` rows are 2000, a 2k context is 2048."""
    key = label.value[0]
    if number.unit == "k":
        return number.value * (1024 if key.endswith("max_seq_length") else 1000)
    if number.unit == "m":
        return number.value * 1_000_000
    return number.value / 100 if number.unit == "%" else number.value
