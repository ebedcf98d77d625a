"""Rows that are converted and not yet in their folders: on disk, with a few numbers of each in memory."""

import hashlib
import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .base import require_extra
from .shapes import Kind

__all__ = ["RowSpool", "TokenCounter", "texts_of"]

TokenCounter = Callable[[list[str]], int]
"""Tokens that some texts have together."""

_TABLE_ROWS = 10_000
_TABLE_BYTES = 32_000_000
_MESSAGE_FIELDS = ("role", "content", "tool_calls", "tool_call_id", "name")


class RowSpool:
    """Stored rows on their way into folders: the rows wait in a file, only a few numbers of each in memory.

    In memory are about 150 bytes a row. Exact duplicates are counted and dropped; a row's place is the one where it
    stood first.
    """

    def __init__(self, path: Path, kind: Kind, count_tokens: TokenCounter | None = None) -> None:
        self.kind = kind
        self.duplicates = 0
        self.digests: list[bytes] = []
        self.keys = array("Q")
        self.characters = array("Q")
        self.tokens = array("Q")
        self._count_tokens = count_tokens
        self._seen: set[bytes] = set()
        self._path = path
        self._stream = path.open("wb")

    def add(self, row: dict[str, Any], key: int) -> bool:
        """Take a row in; False if the very same row is there already.

        Raises:
            UnicodeEncodeError: a text holds half a surrogate pair, which no UTF-8 file can store.
        """
        content = json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8")
        digest = hashlib.sha256(content).digest()
        if digest in self._seen:
            self.duplicates += 1
            return False
        self._seen.add(digest)
        self.digests.append(digest)
        self.keys.append(key)
        texts = texts_of(row)
        self.characters.append(sum(map(len, texts)))
        if self._count_tokens is not None:
            self.tokens.append(self._count_tokens(texts))
        self._stream.write(content + b"\n")
        return True

    def __len__(self) -> int:
        return len(self.digests)

    def close(self) -> None:
        """Put everything on disk; afterwards the rows can be read."""
        self._stream.close()

    def tables(self, chosen: Sequence[bool]) -> Iterator[Any]:
        """Arrow tables of the rows whose flag in `chosen` is true, in order."""
        lines: list[bytes] = []
        size = 0
        with self._path.open("rb") as stream:
            for line, keep in zip(stream, chosen, strict=True):
                if keep:
                    lines.append(line)
                    size += len(line)
                if size >= _TABLE_BYTES or len(lines) >= _TABLE_ROWS:
                    yield self._table(lines)
                    lines, size = [], 0
        if lines:
            yield self._table(lines)

    def _table(self, lines: list[bytes]) -> Any:
        # Arrow's own JSON reader, because making a table from Python objects imports pandas, which takes longer than
        # all the rest for a small data set.
        require_extra("train", "pyarrow")
        import pyarrow as pa
        from pyarrow import json as arrow_json

        content = b"".join(lines)
        return arrow_json.read_json(
            pa.BufferReader(content),
            read_options=arrow_json.ReadOptions(block_size=len(content) + 1, use_threads=False),
            parse_options=arrow_json.ParseOptions(
                explicit_schema=_schema(self.kind), unexpected_field_behavior="error", newlines_in_values=False
            ),
        )


def texts_of(row: dict[str, Any]) -> list[str]:
    """Every text of a stored row that a model would read: contents and tool calls, without roles and markup.

    >>> texts_of({"messages": [{"role": "user", "content": "Hi"}]})
    ['Hi']
    """
    if "text" in row:
        return [row["text"]]
    columns = [row[name] for name in ("messages", "prompt", "chosen", "rejected") if name in row]
    return [
        message[name]
        for column in columns
        for message in column
        for name in ("content", "tool_calls")
        if name in message
    ]


def _schema(kind: Kind) -> Any:
    import pyarrow as pa

    messages = pa.list_(pa.struct([(name, pa.string()) for name in _MESSAGE_FIELDS]))
    if kind == "text":
        return pa.schema([("text", pa.string())])
    columns = ["messages"] if kind == "messages" else ["prompt", "chosen", "rejected"]
    return pa.schema([*((name, messages) for name in columns), ("tools", pa.string())])
