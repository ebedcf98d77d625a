"""Write GGUF files from 16-bit or 32-bit weights, quantised as llama-quantize does: same types, bytes and header.

The weights come from a file or from whatever else can give rows of tensors. Rows are packed by ggml in threads while
finished ones are written, so memory stays at a few chunks of rows.
"""

import struct
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from .base import BadRequest, emit
from .float_formats import FLOAT_FORMATS, from_float32, to_float32
from .gguf_header import GGML_TYPES, GgufHeader, GgufTensor, read_header
from .gguf_keys import packed_text
from .gguf_mixture import FILE_TYPES, TypedTensor, mixture
from .llama_cpp import cpu_threads, quantize_rows

if TYPE_CHECKING:
    import numpy as np

__all__ = ["WeightSource", "quantize", "quantize_file", "write_unquantised"]

_CHUNK_WEIGHTS = 1 << 20  # 4 MiB of float32: large enough to keep a thread busy, small beside any model
_ALIGNMENT = 32  # GGUF_DEFAULT_ALIGNMENT
_QUANTIZATION_VERSION = 2  # GGML_QNT_VERSION
_UINT32 = 4


@dataclass(frozen=True)
class WeightSource:
    """What a 16-bit or 32-bit GGUF file holds, whether or not there is a file.

    Attributes:
        header: its tensors in file order and its metadata; `spans` and the tensors' offsets are not used.
        keys: each metadata key with its name, type and value as the bytes that stand in a file.
        read: (tensor, first row, row after the last) -> those rows' bytes as uint8, in `tensor.type`. It is called
            from several threads at once.
    """

    header: GgufHeader
    keys: dict[str, bytes]
    read: "Callable[[GgufTensor, int, int], np.ndarray[Any, Any]]"


def quantize_file(
    source_file: Path,
    target: Path,
    file_type: str,
    *,
    importance: "Mapping[str, np.ndarray] | None" = None,
    extra_keys: Mapping[str, bytes] | None = None,
) -> list[TypedTensor]:
    """Write `target` from a 16-bit or 32-bit GGUF file; see `quantize`.

    Args:
        extra_keys: metadata to add, as in `WeightSource.keys`.

    Raises:
        BadRequest: the source is no sound GGUF file, or of an architecture with rules of its own.
        ToolFailed: a weight is not finite.
    """
    header = read_header(source_file)
    with source_file.open("rb") as stream:
        keys = {}
        for key, (start, end) in header.spans.items():
            stream.seek(start)
            keys[key] = stream.read(end - start)

    def read(tensor: GgufTensor, start: int, stop: int) -> "np.ndarray[Any, Any]":
        import numpy as np

        row_bytes = tensor.type.row_bytes(tensor.shape[0])
        raw: np.ndarray[Any, Any] = np.fromfile(
            source_file, dtype=np.uint8, count=(stop - start) * row_bytes, offset=tensor.offset + start * row_bytes
        )
        return raw

    keys |= extra_keys or {}
    return quantize(WeightSource(header, keys, read), target, file_type, importance=importance)


def quantize(
    source: WeightSource, target: Path, file_type: str, *, importance: "Mapping[str, np.ndarray] | None" = None
) -> list[TypedTensor]:
    """Write `target` in a quantised file type; returns every tensor with its type.

    Args:
        importance: GGUF tensor name -> float32 weight of each column (of an expert tensor: for each expert in turn),
            as an importance matrix (`imatrix`) holds it. Tensors without an entry are packed as without any.

    Raises:
        BadRequest: an architecture with rules of its own, or importance weights that do not fit their tensor.
        ToolFailed: a weight is not finite.
    """
    typed = mixture(source.header, file_type, importance=importance is not None)
    for item in typed:
        weights = (importance or {}).get(item.tensor.name)
        if weights is not None and weights.size != item.tensor.shape[0] * _experts(item.tensor):
            raise BadRequest(
                f"the importance weights of `{item.tensor.name}` are {weights.size} numbers, its rows have "
                f"{item.tensor.shape[0]}: they were computed with another model"
            )
    # All keys of the source as they are, but for the two that name the quantisation, which come last.
    ours = {
        "general.quantization_version": _QUANTIZATION_VERSION,
        "general.file_type": FILE_TYPES[file_type].id,
    }
    keys = [raw for key, raw in source.keys.items() if key not in ours and key != "general.alignment"]
    keys += [packed_text(key) + struct.pack("<II", _UINT32, value) for key, value in ours.items()]
    _write(target, keys, typed, source, importance or {})
    return typed


def write_unquantised(source: WeightSource, target: Path) -> None:
    """Write `target` with the source's own keys, tensors and types, all in the source's order."""
    typed = [TypedTensor(tensor, tensor.type.name, tensor.type.name) for tensor in source.header.tensors]
    _write(target, list(source.keys.values()), typed, source, {})


def _write(
    target: Path,
    keys: list[bytes],
    typed: list[TypedTensor],
    source: WeightSource,
    importance: "Mapping[str, np.ndarray]",
) -> None:
    with target.open("wb") as stream, ThreadPoolExecutor(cpu_threads()) as pool:
        _write_header(stream, keys, typed)
        for done, (item, written) in enumerate(_written(stream, pool, typed, source, importance), start=1):
            assert written == item.bytes, (item, written)
            stream.write(bytes(-written % _ALIGNMENT))
            emit("step", done=done, total=len(typed), unit="tensors")


@dataclass(frozen=True)
class _Chunk:
    """Some rows of one tensor, all of one expert where it has several; `last` where the tensor ends with them."""

    item: TypedTensor
    start: int
    stop: int
    last: bool


def _experts(tensor: GgufTensor) -> int:
    return tensor.shape[2] if len(tensor.shape) > 2 else 1


def _chunks(typed: list[TypedTensor]) -> Iterator[_Chunk]:
    for item in typed:
        columns = item.tensor.shape[0]
        rows = item.tensor.weights // columns
        block = rows // _experts(item.tensor)
        step = max(1, _CHUNK_WEIGHTS // columns)
        for first in range(0, rows, block):
            for start in range(first, first + block, step):
                stop = min(start + step, first + block)
                yield _Chunk(item, start, stop, stop == rows)


def _written(
    stream: BinaryIO,
    pool: ThreadPoolExecutor,
    typed: list[TypedTensor],
    source: WeightSource,
    importance: "Mapping[str, np.ndarray]",
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
                waiting.append((chunk, pool.submit(_pack, source, chunk, importance.get(chunk.item.tensor.name))))
        if waiting:
            chunk, future = waiting.popleft()
            size += stream.write(future.result())
            if chunk.last:
                yield chunk.item, size
                size = 0


def _pack(source: WeightSource, chunk: _Chunk, weights: "np.ndarray | None") -> "np.ndarray[Any, Any]":
    """The bytes of some rows in their new type."""
    import numpy as np

    tensor, kind = chunk.item.tensor, GGML_TYPES[chunk.item.type]
    raw = source.read(tensor, chunk.start, chunk.stop)
    if kind is tensor.type:
        return raw
    columns = tensor.shape[0]
    weights_C = None
    if weights is not None:
        expert = chunk.start // tensor.shape[1] if len(tensor.shape) > 2 else 0
        weights_C = np.ascontiguousarray(weights, dtype=np.float32).reshape(-1, columns)[expert]
    values_RC = to_float32(raw, tensor.type.name).reshape(-1, columns)
    if kind.name in FLOAT_FORMATS:
        return from_float32(values_RC, kind.name)
    return quantize_rows(values_RC, kind.name, weights_C)


def _write_header(stream: BinaryIO, keys: list[bytes], typed: list[TypedTensor]) -> None:
    stream.write(b"GGUF" + struct.pack("<IQQ", 3, len(typed), len(keys)))
    stream.writelines(keys)
    offset = 0
    for item in typed:
        shape = item.tensor.shape
        record = struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, GGML_TYPES[item.type].id, offset)
        stream.write(packed_text(item.tensor.name) + record)
        offset += item.bytes + -item.bytes % _ALIGNMENT
    stream.write(bytes(-stream.tell() % _ALIGNMENT))
