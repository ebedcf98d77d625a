"""Read rows from a data file, one at a time, in memory that does not grow with the file.

A file is read only if its extension is one of EXTENSIONS. What is wrong with one row comes back as a RawRow with a
`problem`, so that the caller can count it; what is wrong with the whole file is a BadRequest.
"""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

from .base import BadRequest, require_extra
from .json_rows import read_json, read_jsonl
from .raw_rows import MAX_ROW_BYTES, RawRow, decode, lines_of, refuse_binary

__all__ = ["EXTENSIONS", "check_extension", "read_file"]


def check_extension(name: str) -> str:
    """The extension of a file name or of an address's path, lower case, with its dot.

    Raises:
        BadRequest: it is not one of EXTENSIONS.

    >>> check_extension("Rows.JSONL")
    '.jsonl'
    """
    extension = Path(name).suffix.lower()
    if extension not in EXTENSIONS:
        ending = f"ends in `{extension}`" if extension else "has no extension"
        raise BadRequest(f"`{name}` {ending}; a data file ends in {', '.join(EXTENSIONS)}")
    return extension


def read_file(path: Path, name: str) -> Iterator[RawRow]:
    """Yield the rows of one file in their order; `name` is what messages call it.

    Raises:
        BadRequest: the extension is unknown, the file is missing, empty, binary, or not what its extension says.
    """
    reader = EXTENSIONS[check_extension(name)]
    if not path.is_file():
        raise BadRequest(f"`{name}` is {'not a file' if path.exists() else 'missing'}; pass a file that exists")
    try:
        if path.stat().st_size == 0:
            raise BadRequest(f"`{name}` is empty; a data file needs at least one row")
        yield from reader(path, name)
    except PermissionError as error:
        raise BadRequest(f"`{name}` may not be read: {error.strerror}; check its permissions") from error


class _TextLines:
    """The lines of a file as text. Unlike a generator it goes on after it has raised ValueError for a bad line."""

    def __init__(self, path: Path) -> None:
        self._lines = lines_of(path)
        self.number = 0

    def __iter__(self) -> "_TextLines":
        return self

    def __next__(self) -> str:
        self.number, line = next(self._lines)
        return decode(line)


def _csv(path: Path, name: str) -> Iterator[RawRow]:
    """A header line, then rows of as many fields. The separator is whichever of , ; tab the header has most of."""
    refuse_binary(path, name)
    csv.field_size_limit(MAX_ROW_BYTES)
    lines = _TextLines(path)
    try:
        header = next(lines)
        separator = max(",;\t", key=header.count)
        columns = next(csv.reader([header], delimiter=separator, strict=True), [])
    except (ValueError, csv.Error) as error:
        raise BadRequest(f"`{name}` line 1: {error}") from error
    if not all(columns) or len(set(columns)) < len(columns):
        raise BadRequest(f"`{name}` line 1: a CSV file begins with a line of column names, each once and none empty")
    reader = csv.reader(lines, delimiter=separator, strict=True)
    while True:
        place = f"`{name}` line {lines.number + 1}"
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield RawRow(place, {}, f"not CSV: {error}")
        except ValueError as error:
            yield RawRow(place, {}, str(error))
        else:
            if len(fields) == len(columns):
                yield RawRow(place, dict(zip(columns, fields, strict=True)))
            elif fields:
                yield RawRow(place, {}, f"it has {len(fields)} fields, the header has {len(columns)}")


def _txt(path: Path, name: str) -> Iterator[RawRow]:
    """Raw text: paragraphs parted by blank lines; a file without a blank line between texts is one text a line."""
    refuse_binary(path, name)
    paragraphs = _has_paragraphs(path)
    start, block, size = 0, list[str](), 0
    for number, line in lines_of(path):
        try:
            text = decode(line)
        except ValueError as error:
            yield RawRow(f"`{name}` line {number}", {}, str(error))
            continue
        if block and (not paragraphs or not text.strip()):
            yield RawRow(f"`{name}` line {start}", {"text": "".join(block).strip()})
            block, size = [], 0
        if text.strip():
            if not block:
                start = number
            block.append(text)
            size += len(text)
            if size > MAX_ROW_BYTES:
                raise BadRequest(
                    f"`{name}` line {start}: the paragraph is longer than {MAX_ROW_BYTES // 1_000_000} MB; "
                    "part texts by blank lines"
                )
    if block:
        yield RawRow(f"`{name}` line {start}", {"text": "".join(block).strip()})


def _has_paragraphs(path: Path) -> bool:
    """Whether a blank line stands between two lines with text."""
    text_seen = blank_seen = False
    for _, line in lines_of(path):
        if line is None or line.strip():
            if blank_seen:
                return True
            text_seen = True
        else:
            blank_seen = text_seen
    return False


def _parquet(path: Path, name: str) -> Iterator[RawRow]:
    require_extra("train", "pyarrow")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=1000):
                for values in batch.to_pylist():
                    number += 1
                    yield RawRow(f"`{name}` row {number}", values)
    except (pa.ArrowException, OSError) as error:
        raise BadRequest(f"`{name}` is not a readable Parquet file: {_first_line(error)}") from error


def _arrow(path: Path, name: str) -> Iterator[RawRow]:
    """An Arrow IPC file, or an IPC stream as the `datasets` library saves it."""
    require_extra("train", "pyarrow")
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as source:
            head = source.read(6)
            source.seek(0)
            if head == b"ARROW1":
                reader = pa.ipc.open_file(source)
                batches = (reader.get_batch(index) for index in range(reader.num_record_batches))
            else:
                batches = iter(pa.ipc.open_stream(source))
            number = 0
            for batch in batches:
                for start in range(0, batch.num_rows, 1000):
                    for values in batch.slice(start, 1000).to_pylist():
                        number += 1
                        yield RawRow(f"`{name}` row {number}", values)
    except (pa.ArrowException, OSError) as error:
        raise BadRequest(f"`{name}` is not a readable Arrow file: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0].rstrip(".")


EXTENSIONS: dict[str, Callable[[Path, str], Iterator[RawRow]]] = {
    ".jsonl": read_jsonl,
    ".json": read_json,
    ".csv": _csv,
    ".parquet": _parquet,
    ".arrow": _arrow,
    ".txt": _txt,
}
"""Extension -> the function that yields a file's rows."""
