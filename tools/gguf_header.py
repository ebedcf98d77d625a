"""Read the header of a GGUF file in Python, strictly, before any C code sees the file.

Layout: the specification `docs/gguf.md` of ggml: magic, version, number of tensors, number of keys, the keys with
typed values, one record for each tensor, padding, the tensors' bytes. All numbers are little-endian.
"""

import mmap
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from .base import BadRequest

__all__ = ["GGML_TYPES", "GgmlType", "GgufArray", "GgufHeader", "GgufTensor", "read_header"]


@dataclass(frozen=True)
class GgmlType:
    """How ggml packs weights: `block_bytes` bytes hold `block` weights of one row."""

    name: str
    id: int
    block: int
    block_bytes: int

    @property
    def bits(self) -> float:
        """Bits that one weight takes."""
        return 8 * self.block_bytes / self.block

    def row_bytes(self, columns: int) -> int:
        """Bytes of one row; `columns` must be a multiple of `block`.

        >>> GGML_TYPES["Q4_K"].row_bytes(512)
        288
        """
        assert columns % self.block == 0, (self.name, columns)
        return columns // self.block * self.block_bytes


GGML_TYPES = {
    name: GgmlType(name, number, block, size)
    for name, number, block, size in (
        ("F32", 0, 1, 4),
        ("F16", 1, 1, 2),
        ("Q4_0", 2, 32, 18),
        ("Q4_1", 3, 32, 20),
        ("Q5_0", 6, 32, 22),
        ("Q5_1", 7, 32, 24),
        ("Q8_0", 8, 32, 34),
        ("Q8_1", 9, 32, 36),
        ("Q2_K", 10, 256, 84),
        ("Q3_K", 11, 256, 110),
        ("Q4_K", 12, 256, 144),
        ("Q5_K", 13, 256, 176),
        ("Q6_K", 14, 256, 210),
        ("Q8_K", 15, 256, 292),
        ("IQ2_XXS", 16, 256, 66),
        ("IQ2_XS", 17, 256, 74),
        ("IQ3_XXS", 18, 256, 98),
        ("IQ1_S", 19, 256, 50),
        ("IQ4_NL", 20, 32, 18),
        ("IQ3_S", 21, 256, 110),
        ("IQ2_S", 22, 256, 82),
        ("IQ4_XS", 23, 256, 136),
        ("I8", 24, 1, 1),
        ("I16", 25, 1, 2),
        ("I32", 26, 1, 4),
        ("I64", 27, 1, 8),
        ("F64", 28, 1, 8),
        ("IQ1_M", 29, 256, 56),
        ("BF16", 30, 1, 2),
        ("TQ1_0", 34, 256, 54),
        ("TQ2_0", 35, 256, 66),
        ("MXFP4", 39, 32, 17),
        ("NVFP4", 40, 64, 36),
        ("Q1_0", 41, 128, 18),
        ("Q2_0", 42, 64, 18),
    )
}
"""Every tensor type of ggml by name; llama_cpp.py compares the sizes with the library's when it loads."""

_BY_ID = {kind.id: kind for kind in GGML_TYPES.values()}

# Types of metadata values: number in the file -> struct format. Strings are 8, arrays 9.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_BOOL, _STRING, _ARRAY = 7, 8, 9

# Limits of llama.cpp (GGML_MAX_DIMS, GGML_MAX_NAME, the key length in gguf.cpp) and one of ours: the longest chat
# template known to us has 20 KB.
_MAX_DIMS, _MAX_NAME, _MAX_KEY, _MAX_TEMPLATE = 4, 63, 65535, 1_000_000


@dataclass(frozen=True)
class GgufArray:
    """A list in the metadata; its items stay in the file until `items()` reads them."""

    path: Path
    type: int
    count: int
    offset: int

    def items(self) -> list[Any]:
        """The values. Strings are decoded, with U+FFFD where they are not UTF-8."""
        with self.path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if self.type != _STRING:
                return list(struct.unpack_from(f"<{self.count}{_SCALARS[self.type]}", data, self.offset))
            values, position = [], self.offset
            for _ in range(self.count):
                (length,) = struct.unpack_from("<Q", data, position)
                position += 8 + length
                values.append(data[position - length : position].decode("utf-8", errors="replace"))
            return values


@dataclass(frozen=True)
class GgufTensor:
    """One tensor. `shape` as GGUF orders it, row length first; `offset` counts from the start of the file."""

    name: str
    shape: tuple[int, ...]
    type: GgmlType
    offset: int

    @property
    def weights(self) -> int:
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.type.row_bytes(self.shape[0]) * prod(self.shape[1:])


@dataclass(frozen=True)
class GgufHeader:
    """Everything in a GGUF file but the tensors' bytes. `spans` tells where each key lies in the file."""

    path: Path
    version: int
    alignment: int
    metadata: dict[str, Any]
    spans: dict[str, tuple[int, int]]
    tensors: tuple[GgufTensor, ...]
    data_offset: int

    @property
    def architecture(self) -> str:
        return str(self.metadata["general.architecture"])

    def hyperparameter(self, name: str) -> int | None:
        """A whole number of this architecture, such as `block_count`; of one value per layer, the first's."""
        value = self.metadata.get(f"{self.architecture}.{name}")
        if isinstance(value, GgufArray) and value.count:
            value = value.items()[0]
        return value if isinstance(value, int) else None

    @property
    def chat_template(self) -> str | None:
        template = self.metadata.get("tokenizer.chat_template")
        return template if isinstance(template, str) else None

    def type_counts(self) -> dict[str, int]:
        """How many tensors have which ggml type, most frequent first."""
        return dict(Counter(tensor.type.name for tensor in self.tensors).most_common())

    def bits_per_weight(self) -> float:
        """8 * bytes of all tensors / number of all weights."""
        return 8 * sum(tensor.bytes for tensor in self.tensors) / sum(tensor.weights for tensor in self.tensors)


def read_header(path: Path) -> GgufHeader:
    """Parse and check the header of a GGUF file of version 2 or 3.

    Checked: magic, version, counts against the file's size, every string and array inside the file, duplicate keys
    and tensors, known types, row lengths, alignment, each tensor's bytes inside the file and apart from the others.
    Nothing larger than the file is ever allocated.

    Raises:
        BadRequest: the file is missing, empty, truncated, or not a GGUF file; names what is wrong.
    """
    if not path.is_file():
        raise BadRequest(f"`{path}` is not a file; pass a .gguf file")
    if path.stat().st_size < 24:
        raise BadRequest(f"`{path}` is not a GGUF file: it has only {path.stat().st_size} bytes")
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _Parser(path, data).header()


class _Parser:
    """A position in the mapped file. Every read checks that it stays inside."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.size, self.position = path, data, len(data), 0
        self.spans: dict[str, tuple[int, int]] = {}

    def wrong(self, what: str) -> BadRequest:
        return BadRequest(f"`{self.path}` is not a sound GGUF file: {what}. Export or download it again")

    def number(self, form: str, what: str) -> Any:
        width = struct.calcsize("<" + form)
        if self.position + width > self.size:
            raise self.wrong(f"it ends inside {what}, at byte {self.size}")
        (value,) = struct.unpack_from("<" + form, self.data, self.position)
        self.position += width
        return value

    def text(self, what: str) -> str:
        length = self.number("Q", what)
        if length > self.size - self.position:
            raise self.wrong(f"{what} claims {length} bytes, more than the file has left")
        raw = self.data[self.position : self.position + length]
        self.position += length
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.wrong(f"{what} is not UTF-8") from error

    def header(self) -> GgufHeader:
        if self.data[:4] != b"GGUF":
            raise BadRequest(f"`{self.path}` is not a GGUF file: it starts with {self.data[:4]!r}, not with b'GGUF'")
        self.position = 4
        version = self.number("I", "the version")
        if version not in (2, 3):
            raise self.wrong(f"its version is {version}; 2 and 3 are known")
        n_tensors = self.number("Q", "the number of tensors")
        n_keys = self.number("Q", "the number of keys")
        left = self.size - self.position
        # The smallest key takes 13 bytes (empty name, type, one byte), the smallest tensor record 32.
        if n_keys * 13 + n_tensors * 32 > left:
            raise self.wrong(
                f"it claims {n_keys} keys and {n_tensors} tensors, more than its {self.size} bytes can hold"
            )
        metadata = self.metadata(n_keys)
        alignment = metadata.get("general.alignment", 32)
        if type(alignment) is not int or not 8 <= alignment <= 1 << 20 or alignment & (alignment - 1):
            raise self.wrong(f"`general.alignment` is {alignment!r}; it must be a power of two from 8 to 1048576")
        records = [self.record(number) for number in range(n_tensors)]
        data_offset = -(-self.position // alignment) * alignment
        tensors = tuple(self.placed(records, alignment, data_offset))
        return GgufHeader(self.path, version, alignment, metadata, self.spans, tensors, data_offset)

    def metadata(self, n_keys: int) -> dict[str, Any]:
        metadata: dict[str, Any] = {}
        for number in range(n_keys):
            start = self.position
            key = self.text(f"the name of key {number}")
            if not 0 < len(key) <= _MAX_KEY:
                raise self.wrong(f"the name of key {number} has {len(key)} characters")
            if key in metadata:
                raise self.wrong(f"the key `{key}` is there twice")
            metadata[key] = self.value(self.number("I", f"the type of `{key}`"), f"the value of `{key}`")
            self.spans[key] = start, self.position
        if not isinstance(metadata.get("general.architecture"), str):
            raise self.wrong("the key `general.architecture` is missing or no text")
        template = metadata.get("tokenizer.chat_template", "")
        if isinstance(template, str) and len(template) > _MAX_TEMPLATE:
            raise self.wrong(f"its chat template has {len(template)} characters; {_MAX_TEMPLATE} are allowed")
        return metadata

    def value(self, kind: int, what: str) -> Any:
        if kind == _STRING:
            return self.text(what)
        if kind == _BOOL:
            byte = self.number("B", what)
            if byte > 1:
                raise self.wrong(f"{what} is the byte {byte}, no truth value")
            return bool(byte)
        if kind in _SCALARS:
            return self.number(_SCALARS[kind], what)
        if kind == _ARRAY:
            return self.array(what)
        raise self.wrong(f"{what} has the unknown type {kind}")

    def array(self, what: str) -> GgufArray:
        kind = self.number("I", what)
        count = self.number("Q", what)
        start = self.position
        if kind == _STRING:
            if count * 8 > self.size - start:
                raise self.wrong(f"{what} claims {count} texts, more than the file can hold")
            position, size, unpack = start, self.size, struct.Struct("<Q").unpack_from
            for _ in range(count):
                if position + 8 > size:
                    raise self.wrong(f"it ends inside {what}, at byte {size}")
                position += 8 + unpack(self.data, position)[0]
                if position > size:
                    raise self.wrong(f"a text in {what} is longer than the file")
            self.position = position
        elif kind in _SCALARS:
            width = struct.calcsize("<" + _SCALARS[kind])
            if count * width > self.size - start:
                raise self.wrong(f"{what} claims {count} values, more than the file can hold")
            self.position = start + count * width
        else:
            raise self.wrong(f"{what} is an array of the unknown type {kind}")
        return GgufArray(self.path, kind, count, start)

    def record(self, number: int) -> tuple[str, tuple[int, ...], GgmlType, int]:
        name = self.text(f"the name of tensor {number}")
        if not 0 < len(name.encode()) <= _MAX_NAME:
            raise self.wrong(
                f"the name of tensor {number} has {len(name.encode())} bytes; 1 to {_MAX_NAME} are allowed"
            )
        n_dims = self.number("I", f"the shape of `{name}`")
        if not 1 <= n_dims <= _MAX_DIMS:
            raise self.wrong(f"the tensor `{name}` has {n_dims} dimensions; 1 to {_MAX_DIMS} are allowed")
        shape = tuple(self.number("Q", f"the shape of `{name}`") for _ in range(n_dims))
        kind_id = self.number("I", f"the type of `{name}`")
        offset = self.number("Q", f"the offset of `{name}`")
        kind = _BY_ID.get(kind_id)
        if kind is None:
            raise self.wrong(f"the tensor `{name}` has the unknown type {kind_id}")
        if min(shape) < 1 or prod(shape) >= 1 << 63:
            raise self.wrong(f"the tensor `{name}` has the impossible shape {shape}")
        if shape[0] % kind.block:
            raise self.wrong(f"the rows of `{name}` have {shape[0]} weights, which {kind.name} cannot hold")
        return name, shape, kind, offset

    def placed(
        self, records: list[tuple[str, tuple[int, ...], GgmlType, int]], alignment: int, data_offset: int
    ) -> Iterator[GgufTensor]:
        seen: set[str] = set()
        end = 0
        for name, shape, kind, offset in sorted(records, key=lambda record: record[3]):
            tensor = GgufTensor(name, shape, kind, data_offset + offset)
            if name in seen:
                raise self.wrong(f"the tensor `{name}` is there twice")
            seen.add(name)
            if offset % alignment:
                raise self.wrong(f"the tensor `{name}` starts at {offset}, which is no multiple of {alignment}")
            if offset < end:
                raise self.wrong(f"the tensor `{name}` overlaps the one before it")
            end = offset + tensor.bytes
            if data_offset + end > self.size:
                raise self.wrong(
                    f"it is truncated: `{name}` ends at byte {data_offset + end}, the file has {self.size} bytes"
                )
            yield tensor
