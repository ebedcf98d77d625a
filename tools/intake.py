"""Take raw rows in: recognise their shape once, convert each, count what is dropped, collect what is broken."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from .base import BadRequest, emit, note
from .chat_messages import RowError
from .heldout import key_of
from .raw_rows import RawRow
from .row_spool import RowSpool, TokenCounter
from .shapes import SHAPES, Shape, prompt_text, recognise

__all__ = ["Intake"]

_PROBLEMS_SHOWN = 5
_SAMPLES = 3
_ROWS_PER_REPORT = 2000
_SAMPLE_CHARACTERS = 400


class Intake:
    """One shape for all rows of a source, and what happened to them."""

    def __init__(self, source: str, on_bad_rows: Literal["error", "skip"], count_tokens: TokenCounter | None) -> None:
        self.shape: Shape | None = None
        self.skipped = 0
        self._source = source
        self._stop_at_bad_rows = on_bad_rows == "error"
        self._count_tokens = count_tokens
        self._problems: list[str] = []
        self._strange_columns: set[str] | None = None
        self._samples = 0

    def collect(self, rows: Iterable[RawRow], limit: int | None, path: Path) -> RowSpool | None:
        """Convert rows into a spool at `path`; None where there was no row at all.

        Raises:
            BadRequest: broken rows where none are allowed, columns of no known shape, or no usable row.
        """
        spool: RowSpool | None = None
        try:
            for number, raw in enumerate(islice(rows, limit), 1):
                if number % _ROWS_PER_REPORT == 0:
                    emit("step", done=number, total=limit, unit="rows")
                try:
                    stored = self._convert(raw)
                    key = key_of(prompt_text(stored))
                    if spool is None:
                        assert self.shape is not None
                        spool = RowSpool(path, self.shape.kind, self._count_tokens)
                    spool.add(stored, key)
                except RowError as error:
                    self._drop(raw.place, str(error))
                except UnicodeEncodeError:
                    self._drop(raw.place, "a text holds half a surrogate pair")
                else:
                    self._show(raw, stored)
        finally:
            if spool is not None:
                spool.close()
        if self._problems and (self._stop_at_bad_rows or spool is None):
            raise self._refusal()
        return spool

    def _convert(self, raw: RawRow) -> dict[str, Any]:
        if raw.problem is not None:
            raise RowError(raw.problem)
        shape = recognise(raw.values)
        if self.shape is None:
            if shape is None:
                if self._strange_columns is None:
                    self._strange_columns = set(raw.values)
                raise RowError(f"its columns {_listed(raw.values)} are of no known shape")
            self.shape = shape
            if unused := shape.unused(raw.values):
                note(f"the rows are read as {shape.name}; not used: {_listed(unused)}")
        elif shape is not self.shape and not self.shape.fits(raw.values):
            what = f"it is of the shape {shape.name}" if shape else f"it has the columns {_listed(raw.values)}"
            raise RowError(f"{what}, the rows before are {self.shape}; keep one shape in a data set")
        return self.shape.convert(raw.values)

    def _drop(self, place: str, reason: str) -> None:
        self.skipped += 1
        if len(self._problems) < _PROBLEMS_SHOWN:
            self._problems.append(f"{place}: {reason}")
        if self._stop_at_bad_rows and len(self._problems) == _PROBLEMS_SHOWN:
            raise self._refusal()

    def _refusal(self) -> BadRequest:
        if self.shape is None and self._strange_columns is not None:
            return BadRequest(
                f"`{self._source}` has the columns {_listed(self._strange_columns)}, which are of no known shape; "
                f"known are {'; '.join(map(str, SHAPES))}"
            )
        shown = "; ".join(self._problems)
        if self.shape is None:
            return BadRequest(f"`{self._source}` has no usable row: {shown}")
        more = ", the first of them are" if len(self._problems) == _PROBLEMS_SHOWN else ""
        return BadRequest(
            f"`{self._source}` has broken rows{more}: {shown}. Repair them, or pass on_bad_rows=skip to drop them"
        )

    def _show(self, raw: RawRow, stored: dict[str, Any]) -> None:
        if self._samples < _SAMPLES:
            self._samples += 1
            emit("sample", title=raw.place, before=_short(raw.values), after=_short(stored))


def _short(value: Any) -> Any:
    """A value for the screen: long texts cut, what JSON does not know as text."""
    if isinstance(value, dict):
        return {str(key): _short(item) for key, item in islice(value.items(), 20)}
    if isinstance(value, list):
        return [_short(item) for item in value[:20]]
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _SAMPLE_CHARACTERS else text[:_SAMPLE_CHARACTERS] + " ..."


def _listed(columns: Iterable[str]) -> str:
    names = sorted(columns)
    shown = ", ".join(f"`{name:.40}`" for name in names[:12])
    return (shown + (f" and {len(names) - 12} more" if len(names) > 12 else "")) or "(none)"
