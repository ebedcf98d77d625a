"""The tensors of a model folder in safetensors, read without torch: where each lies, and its numbers as float32.

Format: 8 bytes length, a JSON object of that length (name -> dtype, shape, offsets), the tensors' bytes.
"""

import json
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .base import BadRequest, ToolFailed
from .float_formats import FLOAT_FORMATS, to_float32

if TYPE_CHECKING:
    import numpy as np

__all__ = ["StoredTensor", "float_dtype", "index_tensors", "model_tensors", "read_float32", "read_rows"]

_WIDTHS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 8),
}
_MAX_HEADER = 100_000_000  # the limit of the safetensors library


@dataclass(frozen=True)
class StoredTensor:
    """One tensor: `offset` counts from the start of the file, `shape` as PyTorch orders it (rows, columns)."""

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int
    bytes: int


def index_tensors(file: Path) -> dict[str, StoredTensor]:
    """The tensors of one file by name.

    Raises:
        BadRequest: the file is missing, truncated or no safetensors file.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            start = stream.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 2 <= length <= min(size - 8, _MAX_HEADER):
                raise BadRequest(f"`{file}` is not a safetensors file, or a truncated one ({size} bytes)")
            header = json.loads(stream.read(length))
        if not isinstance(header, dict):
            raise BadRequest(f"`{file}` is not a safetensors file: its header is no JSON object")
        header.pop("__metadata__", None)
        tensors = {name: _tensor(name, file, record, 8 + length) for name, record in header.items()}
    except OSError as error:
        raise BadRequest(f"`{file}` cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadRequest(f"`{file}` is not a sound safetensors file: {error}") from error
    for tensor in tensors.values():
        if tensor.offset < 8 + length or tensor.offset + tensor.bytes > size:
            raise BadRequest(f"`{file}` is truncated: `{tensor.name}` ends beyond its {size} bytes")
    return tensors


def _tensor(name: str, file: Path, record: dict[str, Any], data: int) -> StoredTensor:
    begin, end = (int(offset) for offset in record["data_offsets"])
    shape = tuple(int(length) for length in record["shape"])
    width = _WIDTHS.get(record["dtype"])
    if width is not None and end - begin != width * prod(shape):
        raise ValueError(f"`{name}` has {end - begin} bytes, which do not fit {record['dtype']} of shape {shape}")
    return StoredTensor(name, file, str(record["dtype"]), shape, data + begin, end - begin)


def model_tensors(folder: Path) -> dict[str, StoredTensor]:
    """All tensors of a model folder by name, from one file or from the shards that its index names.

    Raises:
        BadRequest: no safetensors, a shard that is missing, truncated or outside the folder, or a name used twice.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadRequest(f"`{index}` is not an index of shards: {error}") from error
        if any(not isinstance(name, str) or Path(name).name != name for name in names):
            raise BadRequest(f"`{index}` names shards outside its folder")
        files = [folder / name for name in names]
    else:
        files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise BadRequest(f"`{folder}` holds no model*.safetensors")
    tensors: dict[str, StoredTensor] = {}
    for file in files:
        for name, tensor in index_tensors(file).items():
            if name in tensors:
                raise BadRequest(f"`{name}` is in `{file.name}` and in `{tensors[name].file.name}`")
            tensors[name] = tensor
    return tensors


def float_dtype(tensor: StoredTensor) -> str:
    """The tensor's dtype, where it is a plain float of 16 or 32 bits. Raises ToolFailed for packed weights."""
    if tensor.dtype not in FLOAT_FORMATS:
        raise ToolFailed(
            f"`{tensor.name}` in `{tensor.file}` is stored as {tensor.dtype}, not as {', '.join(FLOAT_FORMATS)}: "
            "use the 16-bit original of this model"
        )
    return tensor.dtype


def read_float32(tensor: StoredTensor) -> "np.ndarray[Any, Any]":
    """The tensor's values as float32, exactly."""
    import numpy as np

    dtype = float_dtype(tensor)
    raw = np.fromfile(tensor.file, dtype=np.uint8, count=tensor.bytes, offset=tensor.offset)
    return to_float32(raw, dtype).reshape(tensor.shape)


def read_rows(tensor: StoredTensor, start: int, stop: int) -> "np.ndarray[Any, Any]":
    """The bytes (uint8, flat) of some rows of a matrix as they are stored; a vector is one row."""
    import numpy as np

    rows = tensor.shape[0] if len(tensor.shape) > 1 else 1
    row_bytes = tensor.bytes // rows
    raw: np.ndarray[Any, Any] = np.fromfile(
        tensor.file, dtype=np.uint8, count=(stop - start) * row_bytes, offset=tensor.offset + start * row_bytes
    )
    return raw
