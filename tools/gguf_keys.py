"""Metadata keys of a GGUF file as the bytes that stand in it.

`gguf.GGUFWriter` knows the names and types of all keys, but packs long lists item by item, which takes a second for a
vocabulary of 262,144 tokens; here a list is packed at once.
"""

import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import gguf

__all__ = ["packed_keys", "packed_text"]

_SCALARS = {
    "UINT8": "B",
    "INT8": "b",
    "UINT16": "H",
    "INT16": "h",
    "UINT32": "I",
    "INT32": "i",
    "UINT64": "Q",
    "INT64": "q",
    "FLOAT32": "f",
    "FLOAT64": "d",
    "BOOL": "?",
}
"""gguf.GGUFValueType -> code of both `struct` and numpy."""


def packed_keys(writer: "gguf.GGUFWriter") -> dict[str, bytes]:
    """Every key that was added to `writer`, in order: its name, type and value."""
    return {key: _packed(key, value) for key, value in writer.kv_data[0].items()}


def packed_text(value: str | bytes) -> bytes:
    """A text as GGUF writes it, its length first.

    >>> packed_text("ab")
    b'\\x02\\x00\\x00\\x00\\x00\\x00\\x00\\x00ab'
    """
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def _packed(key: str, value: "gguf.GGUFValue") -> bytes:
    import gguf
    import numpy as np

    kind, content = value.type, value.value
    start = packed_text(key) + struct.pack("<I", kind)
    if kind == gguf.GGUFValueType.STRING:
        return start + packed_text(content)
    if kind != gguf.GGUFValueType.ARRAY:
        return start + struct.pack("<" + _SCALARS[kind.name], content)
    inner = value.sub_type or gguf.GGUFValueType.get_type(content[0])
    start += struct.pack("<IQ", inner, len(content))
    if inner == gguf.GGUFValueType.STRING:
        return start + b"".join(map(packed_text, content))
    numbers: np.ndarray[Any, Any] = np.array(content, dtype=np.dtype(_SCALARS[inner.name]).newbyteorder("<"))
    return start + numbers.tobytes()
