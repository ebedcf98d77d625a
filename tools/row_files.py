"""Read rows from a data file, one at a time, in memory that does not grow with the file.

A file is read only if its extension is one of EXTENSIONS. What is wrong with one row comes back as a RawRow with a
`problem`, so that the caller can count it; what is wrong with the whole file is a BadRequest.
"""

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .base import BadRequest, require_extra

__all__ = ["EXTENSIONS", "MAX_ROW_BYTES", "RawRow", "check_extension", "read_file"]

MAX_ROW_BYTES = 10_000_000
"""A longer line (or JSON item, or CSV field) is no training row but a sign of another format."""

_CHUNK = 1 << 20


@dataclass(frozen=True)
class RawRow:
    """One row as it came: `values` by column, or the `problem` that keeps it from being read."""

    place: str
    values: dict[str, Any]
    problem: str | None = None


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


# First bytes of formats that people rename by mistake -> what they are called.
_SIGNATURES = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "a zip archive or an office document",
    b"PAR1": "Parquet",
    b"ARROW1": "Arrow",
    b"%PDF": "PDF",
    b"\x89PNG": "PNG",
    b"GGUF": "GGUF",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}


def _refuse_binary(path: Path, name: str) -> None:
    with path.open("rb") as stream:
        head = stream.read(8192)
    for signature, what in _SIGNATURES.items():
        if head.startswith(signature):
            raise BadRequest(f"`{name}` is {what}, not UTF-8 text; convert it, or give it the extension of its format")
    if head.count(0) * 20 > len(head):
        raise BadRequest(f"`{name}` holds binary data, not UTF-8 text; check that it is the file you mean")


def _lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """(number, line) for each line; None instead of a line longer than MAX_ROW_BYTES, which is passed over."""
    with path.open("rb") as stream:
        number = 0
        while line := stream.readline(MAX_ROW_BYTES + 1):
            number += 1
            if len(line) > MAX_ROW_BYTES and not line.endswith(b"\n"):
                while (rest := stream.readline(_CHUNK)) and not rest.endswith(b"\n"):
                    pass
                yield number, None
            else:
                yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line


def _decode(line: bytes | None) -> str:
    """The line as text. Raises ValueError with the reason where it is none."""
    if line is None:
        raise ValueError(f"the line is longer than {MAX_ROW_BYTES // 1_000_000} MB; split it into rows")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"byte 0x{line[error.start]:02x} at position {error.start + 1} is not UTF-8; save the file as UTF-8"
        ) from error
    if "\x00" in text:
        raise ValueError(f"there is a NUL byte at position {text.index(chr(0)) + 1}; remove it")
    return text


def _kind_of(value: Any) -> str:
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def _jsonl(path: Path, name: str) -> Iterator[RawRow]:
    _refuse_binary(path, name)
    for number, line in _lines(path):
        place = f"`{name}` line {number}"
        try:
            text = _decode(line)
            if not text.strip():
                continue
            value = json.loads(text)
        except json.JSONDecodeError as error:
            yield RawRow(place, {}, f"not JSON: {error.msg} at column {error.colno}")
        except RecursionError:
            yield RawRow(place, {}, "the JSON is nested too deeply")
        except ValueError as error:
            yield RawRow(place, {}, str(error))
        else:
            if isinstance(value, dict):
                yield RawRow(place, value)
            else:
                yield RawRow(place, {}, f"it is {_kind_of(value)}, not an object with named columns")


def _json(path: Path, name: str) -> Iterator[RawRow]:
    """An array of objects; a `.json` file of one object a line is read as JSON lines."""
    _refuse_binary(path, name)
    with path.open("rb") as stream:
        head = stream.read(8192).removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"{"):
        first = next((line for _, line in _lines(path) if line is None or line.strip()), None)
        try:
            json.loads(_decode(first))
        except ValueError:
            raise BadRequest(
                f"`{name}` holds one object, not an array of objects; write [{{...}}, {{...}}] or one object a line"
            ) from None
        yield from _jsonl(path, name)
    elif not head.startswith(b"["):
        raise BadRequest(f"`{name}` is not an array of objects; write [{{...}}, {{...}}] or one object a line")
    else:
        yield from _json_array(path, name)


def _json_array(path: Path, name: str) -> Iterator[RawRow]:
    """Parse an array item by item. A syntax error ends it: where the next item starts is then unknown."""
    decoder = json.JSONDecoder()
    buffer, position, line, ended = "", 0, 1, False

    def refuse(reason: str) -> BadRequest:
        return BadRequest(f"`{name}` line {line}: {reason}")

    with path.open(encoding="utf-8-sig", newline="") as stream:

        def more() -> None:
            """Drop what is parsed and read on."""
            nonlocal buffer, position, ended
            try:
                chunk = stream.read(_CHUNK)
            except UnicodeDecodeError as error:
                raise refuse("the file is not UTF-8 from here on or soon after; save it as UTF-8") from error
            ended = not chunk
            buffer, position = buffer[position:] + chunk, 0

        def skip_space() -> str:
            """Move to the next character that is not white space and return it, or "" at the end."""
            nonlocal position, line
            while True:
                while position < len(buffer) and buffer[position] in " \t\r\n":
                    line += buffer[position] == "\n"
                    position += 1
                if position < len(buffer):
                    return buffer[position]
                if ended:
                    return ""
                more()

        skip_space()
        position += 1  # the opening bracket
        expect_item = False  # after a comma there must be one
        while (character := skip_space()) != "]" or expect_item:
            if not character:
                raise refuse("the array is not closed; the file seems to be cut off")
            while True:
                try:
                    value, end = decoder.raw_decode(buffer, position)
                    # A number at the end of the buffer may go on in the next chunk.
                    if end < len(buffer) or ended:
                        break
                except json.JSONDecodeError as error:
                    # An item that goes on in the next chunk fails at the buffer's end, or as an unclosed string.
                    unfinished = error.msg.startswith("Unterminated") or error.pos > len(buffer) - 16
                    if ended or not unfinished:
                        line += buffer.count("\n", position, error.pos)
                        raise refuse(f"not JSON: {error.msg}") from error
                except ValueError as error:
                    raise refuse(str(error)) from error
                except RecursionError:
                    raise refuse("the JSON is nested too deeply") from None
                if len(buffer) - position > MAX_ROW_BYTES:
                    raise refuse(f"no valid item ends within {MAX_ROW_BYTES // 1_000_000} MB; check its brackets")
                more()
            place = f"`{name}` line {line}"
            line += buffer.count("\n", position, end)
            position = end
            if isinstance(value, dict):
                yield RawRow(place, value)
            else:
                yield RawRow(place, {}, f"it is {_kind_of(value)}, not an object with named columns")
            expect_item = skip_space() == ","
            if expect_item:
                position += 1
            elif skip_space() != "]":
                raise refuse("not JSON: a comma or the closing bracket is missing")
        position += 1
        if skip_space():
            raise refuse("there is more text after the end of the array")


class _TextLines:
    """The lines of a file as text. Unlike a generator it goes on after it has raised ValueError for a bad line."""

    def __init__(self, path: Path) -> None:
        self._lines = _lines(path)
        self.number = 0

    def __iter__(self) -> "_TextLines":
        return self

    def __next__(self) -> str:
        self.number, line = next(self._lines)
        return _decode(line)


def _csv(path: Path, name: str) -> Iterator[RawRow]:
    """A header line, then rows of as many fields. The separator is whichever of , ; tab the header has most of."""
    _refuse_binary(path, name)
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
    _refuse_binary(path, name)
    paragraphs = _has_paragraphs(path)
    start, block, size = 0, list[str](), 0
    for number, line in _lines(path):
        try:
            text = _decode(line)
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
    for _, line in _lines(path):
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
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
    ".arrow": _arrow,
    ".txt": _txt,
}
"""Extension -> the function that yields a file's rows."""
