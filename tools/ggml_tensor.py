"""A tensor as llama.cpp computes it: where the C struct keeps its name, shape, sources and numbers."""

import ctypes
from ctypes import c_bool, c_char, c_int32, c_int64, c_size_t, c_void_p
from typing import TYPE_CHECKING, Any

from .base import ToolFailed

if TYPE_CHECKING:
    import numpy as np

__all__ = ["FUNCTIONS", "GgmlTensor", "check_tensor_layout", "tensor_values"]

_MAX_DIMS, _MAX_SOURCES, _OP_PARAMS, _MAX_NAME = 4, 10, 16, 64  # ggml.h
_F32, _I32 = 0, 26


class GgmlTensor(ctypes.Structure):
    """`ggml_tensor`: `ne` numbers along each axis, row first, `nb` bytes from one to the next."""

    _fields_ = (
        ("type", c_int32),
        ("buffer", c_void_p),
        ("ne", c_int64 * _MAX_DIMS),
        ("nb", c_size_t * _MAX_DIMS),
        ("op", c_int32),
        ("op_params", c_int32 * _OP_PARAMS),
        ("flags", c_int32),
        ("src", c_void_p * _MAX_SOURCES),
        ("view_src", c_void_p),
        ("view_offs", c_size_t),
        ("data", c_void_p),
        ("name", c_char * _MAX_NAME),
        ("extra", c_void_p),
        ("padding", c_char * 8),
    )

    @property
    def is_float32(self) -> bool:
        return bool(self.type == _F32)

    def source(self, index: int) -> "GgmlTensor | None":
        """A tensor that this one is computed from; None where there is none at `index`."""
        address = self.src[index]
        return GgmlTensor.from_address(address) if address else None


class InitParams(ctypes.Structure):
    """`ggml_init_params`."""

    _fields_ = (("mem_size", c_size_t), ("mem_buffer", c_void_p), ("no_alloc", c_bool))


_TENSOR = c_void_p
FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "ggml_backend_tensor_get": (None, (_TENSOR, c_void_p, c_size_t, c_size_t)),
    "ggml_free": (None, (c_void_p,)),
    "ggml_get_data": (c_void_p, (_TENSOR,)),
    "ggml_init": (c_void_p, (InitParams,)),
    "ggml_mul_mat": (_TENSOR, (c_void_p, _TENSOR, _TENSOR)),
    "ggml_nbytes": (c_size_t, (_TENSOR,)),
    "ggml_new_tensor_2d": (_TENSOR, (c_void_p, c_int32, c_int64, c_int64)),
    "ggml_op_name": (ctypes.c_char_p, (c_int32,)),
    "ggml_set_name": (_TENSOR, (_TENSOR, ctypes.c_char_p)),
}
"""Functions of ggml that tensors are read and checked with: name -> (result, arguments)."""


def check_tensor_layout(opened: Any) -> None:
    """Let the library make a product of two matrices and find everything where the struct says. Raises ToolFailed."""
    memory = opened.ggml_init(InitParams(mem_size=1 << 16, mem_buffer=None, no_alloc=False))
    try:
        left = opened.ggml_new_tensor_2d(memory, _F32, 5, 3)
        right = opened.ggml_new_tensor_2d(memory, _F32, 5, 2)
        product = opened.ggml_mul_mat(memory, left, right)
        opened.ggml_set_name(product, b"product")
        tensor = GgmlTensor.from_address(product)
        seen = {
            "type": (tensor.type, _F32),
            "ne": (tuple(tensor.ne), (3, 2, 1, 1)),
            "nb": (tuple(tensor.nb), (4, 12, 24, 24)),
            "op": (opened.ggml_op_name(tensor.op), b"MUL_MAT"),
            "src": (tuple(tensor.src), (left, right, *[None] * (_MAX_SOURCES - 2))),
            "view_src": (tensor.view_src, None),
            "data": (tensor.data, opened.ggml_get_data(product)),
            "name": (tensor.name, b"product"),
        }
    finally:
        opened.ggml_free(memory)
    for field, (found, expected) in seen.items():
        if found != expected:
            raise ToolFailed(
                f"`ggml_tensor.{field}` of the library of `xllamacpp` is {found!r}, not {expected!r}: its structs "
                "differ from those that are known here; install the pinned version again"
            )


def tensor_values(opened: Any, tensor: GgmlTensor) -> "np.ndarray":
    """A copy of a tensor's float32 or int32 numbers, wherever they are; the last axis is the row, as numpy has it.

    Raises:
        ToolFailed: numbers of another type.
    """
    import numpy as np

    if tensor.type not in (_F32, _I32):
        raise ToolFailed(f"`{tensor.name.decode()}` is computed as type {tensor.type}, neither float32 nor int32")
    address = ctypes.addressof(tensor)
    raw: np.ndarray[Any, Any] = np.empty(opened.ggml_nbytes(address), dtype=np.uint8)
    opened.ggml_backend_tensor_get(address, raw.ctypes.data, 0, raw.nbytes)
    values: np.ndarray[Any, Any] = np.lib.stride_tricks.as_strided(
        raw.view(np.float32 if tensor.type == _F32 else np.int32), tuple(tensor.ne)[::-1], tuple(tensor.nb)[::-1]
    )
    return values
