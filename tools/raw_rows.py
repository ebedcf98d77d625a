"""Rows as they come, and the lines of a text file in memory that does not grow with the file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .base import BadRequest

__all__ = ["MAX_ROW_BYTES", "RawRow", "decode", "lines_of", "refuse_binary"]

MAX_ROW_BYTES = 10_000_000
"""A longer line (or JSON item, or CSV field) is no training row but a sign of another format."""

_CHUNK = 1 << 20


@dataclass(frozen=True)
class RawRow:
    """One row as it came: `values` by column, or the `problem` that keeps it from being read."""

    place: str
    values: dict[str, Any]
    problem: str | None = None


_CONTROL = bytes({*range(32), 127} - set(b"\t\n\v\f\r\x1b"))

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


def refuse_binary(path: Path, name: str) -> None:
    """Raise BadRequest where the first bytes show that a file is no UTF-8 text."""
    with path.open("rb") as stream:
        head = stream.read(8192)
    for signature, what in _SIGNATURES.items():
        if head.startswith(signature):
            raise BadRequest(f"`{name}` is {what}, not UTF-8 text; convert it, or give it the extension of its format")
    # Of random bytes one in ten is a control character, of text hardly one.
    if len(head.translate(None, _CONTROL)) * 20 < len(head) * 19:
        raise BadRequest(f"`{name}` holds binary data, not UTF-8 text; check that it is the file you mean")


def lines_of(path: Path) -> Iterator[tuple[int, bytes | None]]:
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


def decode(line: bytes | None) -> str:
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
