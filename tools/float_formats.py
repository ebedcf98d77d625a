"""F32, F16 and BF16 numbers as float32 arrays and back, without torch. The names are those of safetensors and GGUF."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = ["FLOAT_FORMATS", "from_float32", "to_float32"]

FLOAT_FORMATS = ("F32", "F16", "BF16")


def to_float32(raw: "np.ndarray[Any, Any]", dtype: str) -> "np.ndarray[Any, Any]":
    """Bytes (uint8) of numbers of `dtype` as float32, exactly."""
    import numpy as np

    values: np.ndarray[Any, Any]
    if dtype == "BF16":
        values = (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    else:
        values = raw.view({"F32": np.float32, "F16": np.float16}[dtype]).astype(np.float32)
    return values


def from_float32(values: "np.ndarray[Any, Any]", dtype: str) -> "np.ndarray[Any, Any]":
    """Bytes (uint8, flat) of float32 values rounded to the nearest number of `dtype`, ties to even.

    What is too large for F16 becomes infinite, as in PyTorch; NaN stays NaN.

    >>> import numpy as np
    >>> from_float32(np.array([1.0, 1.00390625, 1.01171875], dtype=np.float32), "BF16").view(np.uint16).tolist()
    [16256, 16256, 16258]
    """
    import numpy as np

    flat = np.ascontiguousarray(values, dtype=np.float32).reshape(-1)
    stored: np.ndarray[Any, Any]
    if dtype == "BF16":
        bits = flat.view(np.uint32)
        stored = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
        stored[np.isnan(flat)] = 0x7FC0  # rounding the bits of a NaN could make it infinite
    else:
        with np.errstate(over="ignore"):
            stored = flat.astype({"F32": np.float32, "F16": np.float16}[dtype])
    return stored.view(np.uint8)
