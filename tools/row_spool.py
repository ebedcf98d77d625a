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

_BATCH = 1000
_MESSAGE_FIELDS = ("role", "content", "tool_calls", "tool_call_id", "name")


class RowSpool:
    """Stored rows on their way into folders: the rows wait in a file, only a few numbers of each in memory.

    In memory are about 120 bytes a row. Exact duplicates are counted and dropped; a row's place is the one where it
    stood first.
    """

    def __init__(self, path: Path, kind: Kind, count_tokens: TokenCounter | None = None) -> None:
        require_extra("train", "pyarrow")
        import pyarrow as pa

        self.kind = kind
        self.duplicates = 0
        self.digests: list[bytes] = []
        self.keys = array("Q")
        self.characters = array("Q")
        self.tokens = array("Q")
        self._count_tokens = count_tokens
        self._seen: set[bytes] = set()
        self._waiting: list[dict[str, Any]] = []
        self._path = path
        self._schema = _schema(kind)
        self._writer = pa.ipc.new_stream(str(path), self._schema)

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
        self._waiting.append(row)
        if len(self._waiting) >= _BATCH:
            self._flush()
        return True

    def __len__(self) -> int:
        return len(self.digests)

    def _flush(self) -> None:
        import pyarrow as pa

        if self._waiting:
            self._writer.write_batch(pa.RecordBatch.from_pylist(self._waiting, schema=self._schema))
            self._waiting = []

    def close(self) -> None:
        """Put everything on disk; afterwards the rows can be read."""
        self._flush()
        self._writer.close()

    def batches(self, chosen: Sequence[bool]) -> Iterator[Any]:
        """Arrow record batches of the rows whose flag in `chosen` is true, in order."""
        import pyarrow as pa

        start = 0
        with pa.memory_map(str(self._path)) as source, pa.ipc.open_stream(source) as reader:
            for batch in reader:
                part = batch.filter(pa.array(chosen[start : start + batch.num_rows], pa.bool_()))
                start += batch.num_rows
                if part.num_rows:
                    yield part


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
