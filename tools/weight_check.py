"""Compare a quantised GGUF file with the 16-bit one it was made from, tensor by tensor, on some rows of each."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .gguf_header import GgufTensor, read_header

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ERROR_LIMITS", "TensorError", "damaged_tensor", "tensor_errors"]

_ROWS = 32

ERROR_LIMITS = {
    **dict.fromkeys(("F32", "F16", "BF16"), 0.01),
    "Q8_0": 0.02,
    "Q6_K": 0.06,
    "Q5_1": 0.1,
    "Q5_0": 0.13,
    "Q5_K": 0.1,
    "Q4_0": 0.26,
    "Q4_1": 0.2,
    "Q4_K": 0.2,
    "IQ4_NL": 0.21,
    "Q3_K": 0.4,
    "Q2_K": 0.75,
}
"""Relative error above which a tensor of this type is not the rounding of its original.

Twice what ggml's rounding costs on weights with Student's t distribution of 3 degrees of freedom, whose tails are
heavier than a model's: Q8_0 0.008, Q6_K 0.025, Q5_0 0.064, Q4_0 0.127, Q4_K 0.093, Q3_K 0.194, Q2_K 0.358. On normal
weights it costs Q8_0 0.005, Q4_K 0.071, Q2_K 0.296; in SmolLM2-135M, over all types and tensors, 0.16 at most. A
tensor in whose place another one stands, or whose rows are in another order, has 1.41.
"""

_OTHER = 0.8


@dataclass(frozen=True)
class TensorError:
    """How far a tensor's weights lie from the original: root of the sum of squared errors over that of squares."""

    name: str
    type: str
    error: float


def damaged_tensor(original: Path, packed: Path) -> str:
    """What is wrong with the tensor that lies furthest beyond its type's limit, in words; empty where none does."""
    try:
        errors = tensor_errors(original, packed)
    except ValueError as error:
        return str(error)
    beyond = [(error.error / ERROR_LIMITS.get(error.type, _OTHER), error) for error in errors]
    factor, worst = max(beyond, key=lambda pair: pair[0])
    if factor <= 1:
        return ""
    count = sum(factor > 1 for factor, _ in beyond)
    more = f", and {count - 1} more tensors are damaged" if count > 1 else ""
    limit = ERROR_LIMITS.get(worst.type, _OTHER)
    return (
        f"the weights of `{worst.name}` lie {worst.error:.0%} from the f16 file's, where {worst.type} may cost "
        f"{limit:.0%}{more}"
    )


def tensor_errors(original: Path, packed: Path) -> list[TensorError]:
    """The error of every tensor, on at most 32 rows evenly spread over it.

    Raises:
        ValueError: the files do not hold the same tensors; says which differs.
    """
    before, after = ({tensor.name: tensor for tensor in read_header(path).tensors} for path in (original, packed))
    if before.keys() != after.keys():
        raise ValueError(f"the tensor `{min(before.keys() ^ after.keys())}` is in one of the two files only")
    found = []
    for name, tensor in after.items():
        if tensor.shape != before[name].shape:
            raise ValueError(f"the tensor `{name}` has the shape {tensor.shape}, not {before[name].shape}")
        found.append(TensorError(name, tensor.type.name, _error(original, before[name], packed, tensor)))
    return found


def _error(original: Path, before: GgufTensor, packed: Path, after: GgufTensor) -> float:
    import numpy as np

    x_RC, y_RC = _rows(original, before), _rows(packed, after)
    size = float(np.square(x_RC).sum())
    difference = float(np.square(x_RC - y_RC).sum())
    return (difference / size) ** 0.5 if size else float(difference > 0)


def _rows(path: Path, tensor: GgufTensor) -> "np.ndarray[Any, Any]":
    """Some rows as float32."""
    import gguf
    import numpy as np

    columns = tensor.shape[0]
    rows = tensor.weights // columns
    data: Any = np.memmap(path, np.uint8, "r", offset=tensor.offset, shape=(rows, tensor.type.row_bytes(columns)))
    raw = np.ascontiguousarray(data[:: -(-rows // _ROWS)])
    values: np.ndarray[Any, Any] = gguf.quants.dequantize(raw, gguf.GGMLQuantizationType(tensor.type.id))
    return values.astype(np.float32, copy=False)
