"""Quantise a 16-bit GGUF file as llama-quantize does: the same types, the same bytes, the same header.

Rows are packed by ggml in threads while finished ones are written, so memory stays at a few chunks of rows.
"""

import struct
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from .base import emit
from .float_formats import to_float32
from .gguf_header import GGML_TYPES, GgufHeader, read_header
from .gguf_mixture import FILE_TYPES, TypedTensor, mixture
from .llama_cpp import cpu_threads, quantize_rows

if TYPE_CHECKING:
    import numpy as np

__all__ = ["quantize_file"]

_CHUNK_WEIGHTS = 1 << 20  # 4 MiB of float32: large enough to keep a thread busy, small beside any model
_ALIGNMENT = 32  # GGUF_DEFAULT_ALIGNMENT
_QUANTIZATION_VERSION = 2  # GGML_QNT_VERSION
_UINT32 = 4


def quantize_file(source_file: Path, target: Path, file_type: str) -> list[TypedTensor]:
    """Write `target` from a 16-bit or 32-bit GGUF file; returns every tensor with its type.

    Raises:
        BadRequest: the source is no sound GGUF file, or of an architecture with rules of its own.
        ToolFailed: a weight is not finite.
    """
    source = read_header(source_file)
    typed = mixture(source, file_type)
    with target.open("wb") as stream, ThreadPoolExecutor(cpu_threads()) as pool:
        _write_header(stream, source, typed, file_type)
        for done, (item, written) in enumerate(_written(stream, pool, source, typed), start=1):
            assert written == item.bytes, (item, written)
            stream.write(bytes(-written % _ALIGNMENT))
            emit("step", done=done, total=len(typed), unit="tensors")
    return typed


@dataclass(frozen=True)
class _Chunk:
    """Some rows of one tensor; `last` where the tensor ends with them."""

    item: TypedTensor
    start: int
    stop: int
    last: bool


def _chunks(typed: list[TypedTensor]) -> Iterator[_Chunk]:
    for item in typed:
        columns = item.tensor.shape[0]
        rows = item.tensor.weights // columns
        step = max(1, _CHUNK_WEIGHTS // columns)
        for start in range(0, rows, step):
            yield _Chunk(item, start, min(start + step, rows), start + step >= rows)


def _written(
    stream: BinaryIO, pool: ThreadPoolExecutor, source: GgufHeader, typed: list[TypedTensor]
) -> Iterator[tuple[TypedTensor, int]]:
    """Pack chunks in threads, write them in order; yields each tensor when its last byte is written, with its size."""
    waiting: deque[tuple[_Chunk, Future[Any]]] = deque()
    chunks = _chunks(typed)
    exhausted, size = False, 0
    while waiting or not exhausted:
        while not exhausted and len(waiting) < 3 * cpu_threads():
            chunk = next(chunks, None)
            if chunk is None:
                exhausted = True
            else:
                waiting.append((chunk, pool.submit(_pack, source.path, chunk)))
        if waiting:
            chunk, future = waiting.popleft()
            size += stream.write(future.result())
            if chunk.last:
                yield chunk.item, size
                size = 0


def _pack(path: Path, chunk: _Chunk) -> "np.ndarray[Any, Any]":
    """The bytes of some rows in their new type."""
    import numpy as np

    tensor, kind = chunk.item.tensor, GGML_TYPES[chunk.item.type]
    columns = tensor.shape[0]
    row_bytes = tensor.type.row_bytes(columns)
    rows = chunk.stop - chunk.start
    raw: np.ndarray[Any, Any] = np.fromfile(
        path, dtype=np.uint8, count=rows * row_bytes, offset=tensor.offset + chunk.start * row_bytes
    )
    if kind is tensor.type:
        return raw
    return quantize_rows(to_float32(raw, tensor.type.name).reshape(rows, columns), kind.name)


def _write_header(stream: BinaryIO, source: GgufHeader, typed: list[TypedTensor], file_type: str) -> None:
    """All keys of the source as they are, but for the two that name the quantisation, which come last."""
    ours = {
        "general.quantization_version": _QUANTIZATION_VERSION,
        "general.file_type": FILE_TYPES[file_type].id,
    }
    kept = [span for key, span in source.spans.items() if key not in ours and key != "general.alignment"]
    stream.write(b"GGUF" + struct.pack("<IQQ", 3, len(typed), len(kept) + len(ours)))
    with source.path.open("rb") as original:
        for start, end in kept:
            original.seek(start)
            stream.write(original.read(end - start))
    for key, value in ours.items():
        stream.write(_text(key) + struct.pack("<II", _UINT32, value))
    offset = 0
    for item in typed:
        shape = item.tensor.shape
        record = struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, GGML_TYPES[item.type].id, offset)
        stream.write(_text(item.tensor.name) + record)
        offset += item.bytes + -item.bytes % _ALIGNMENT
    stream.write(bytes(-stream.tell() % _ALIGNMENT))


def _text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw
