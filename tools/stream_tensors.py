"""The tensors of a Llama, Gemma 3 or Qwen 3 as its 16-bit or 32-bit GGUF file holds them, read row by row.

Nothing is converted ahead: a row is read from the safetensors, merged with the adapter, put where llama.cpp wants it
and rounded when the one who writes the file asks for it.
"""

import json
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .float_formats import from_float32, to_float32
from .gguf_header import GGML_TYPES, GgufTensor
from .merge import LoraPair, merge_pair
from .safetensors_files import StoredTensor, float_dtype, model_tensors, read_rows
from .stream_config import StreamConfig, Unusual

if TYPE_CHECKING:
    import numpy as np

__all__ = ["StreamTensor", "gguf_names", "permuted_rows", "plan_tensors"]

_SKIPPED = (".rotary_emb.inv_freq", ".attention.bias", ".attention.masked_bias")


class StreamTensor:
    """One tensor on its way from safetensors to GGUF.

    Attributes:
        gguf: its name, shape and type in the 16-bit or 32-bit file; no offset.
        changed: whether the adapter changed it; known when all of it was read.
    """

    def __init__(
        self,
        stored: StoredTensor,
        gguf: GgufTensor,
        *,
        pair: LoraPair | None = None,
        heads: int = 0,
        shift: float = 0.0,
        merging: threading.Lock,
    ) -> None:
        self.stored, self.gguf, self.pair, self.heads, self.shift = stored, gguf, pair, heads, shift
        self.changed = False
        # Tensors with an adapter or of another row order are made whole; two at a time would only take more memory.
        self._merging = merging
        self._whole: np.ndarray[Any, Any] | None = None
        self._left = gguf.weights // gguf.shape[0]

    def read(self, start: int, stop: int) -> "np.ndarray[Any, Any]":
        """The bytes (uint8, flat) of some rows in the type of `gguf`. Each row may be read once."""
        if self.pair or self.heads:
            with self._merging:
                if self._whole is None:
                    self._whole = self._made_whole()
                raw = self._whole[start:stop].reshape(-1)
                self._left -= stop - start
                if self._left == 0:
                    self._whole = None
        else:
            raw = read_rows(self.stored, start, stop)
        dtype, kind = self.stored.dtype, self.gguf.type.name
        if self.shift:
            import numpy as np

            # In 16 bits where the tensor has them: the converters add to what they read.
            shifted = to_float32(raw, dtype) + np.float32(self.shift)
            raw, dtype = (from_float32(shifted, "F16"), "F16") if dtype == "F16" else (shifted.view(np.uint8), "F32")
        return raw if dtype == kind else from_float32(to_float32(raw, dtype), kind)

    def _made_whole(self) -> "np.ndarray[Any, Any]":
        """All rows (rows, bytes of one row) with the adapter merged in, in llama.cpp's order."""
        rows = self.stored.shape[0]
        if self.pair:
            flat, self.changed = merge_pair(self.pair)
        else:
            flat = read_rows(self.stored, 0, rows)
        whole = flat.reshape(rows, -1)
        return whole[permuted_rows(rows, self.heads)] if self.heads else whole


def permuted_rows(rows: int, heads: int) -> "np.ndarray[Any, Any]":
    """Which row of a Llama's q or k matrix stands where in GGUF: within a head, both halves of it take turns.

    transformers keeps the two numbers that are rotated together half a head apart, llama.cpp side by side.

    >>> permuted_rows(8, 2).tolist()
    [0, 2, 1, 3, 4, 6, 5, 7]
    """
    import numpy as np

    order: np.ndarray[Any, Any] = np.arange(rows).reshape(heads, 2, rows // heads // 2).swapaxes(1, 2).reshape(rows)
    return order


def plan_tensors(
    folder: Path, config: StreamConfig, pairs: Iterable[LoraPair], file_type: str, real_vocabulary: int
) -> list[StreamTensor]:
    """All tensors of a model folder in the converters' order.

    Args:
        file_type: f32, f16 or bf16, of the matrices; vectors are f32.
        real_vocabulary: number of tokens; rows of the embeddings beyond it are left out where the converters do so.

    Raises:
        Unusual: a tensor that only the carried converters may know.
    """
    by_base = {pair.base.name: pair for pair in pairs}
    names = gguf_names(config)
    merging = threading.Lock()
    planned = []
    for stored in _in_order(folder):
        if stored.name.endswith(_SKIPPED):
            continue
        name = names(stored.name)
        shape = stored.shape
        if len(shape) not in (1, 2) or 0 in shape:
            raise Unusual(f"its tensor `{stored.name}` has the shape {shape}")
        vector = len(shape) == 1 or name.endswith("_norm.weight")
        if config.family == "gemma3" and "embed_tokens.weight" in stored.name:
            shape = (min(shape[0], real_vocabulary), shape[1])
        heads = 0
        if config.family == "llama" and name.endswith(("attn_q.weight", "attn_k.weight")):
            heads = config.heads if "attn_q" in name else config.kv_heads
            if shape[0] % (2 * heads):
                raise Unusual(f"its tensor `{stored.name}` has {shape[0]} rows for {heads} heads")
        planned.append(
            StreamTensor(
                stored,
                GgufTensor(name, shape[::-1], GGML_TYPES["F32" if vector else file_type.upper()], 0),
                pair=by_base.pop(stored.name, None),
                heads=heads,
                shift=1.0 if config.family == "gemma3" and stored.name.endswith("norm.weight") else 0.0,
                merging=merging,
            )
        )
    if by_base:
        raise Unusual(f"the adapter changes `{min(by_base)}`, which is not in the file")
    return planned


def gguf_names(config: StreamConfig) -> Callable[[str], str]:
    """A function from the names of a model folder's tensors to those in GGUF; it raises Unusual for unknown ones."""
    import gguf

    known = gguf.get_tensor_name_map(gguf.MODEL_ARCH[config.family.upper()], config.layers)

    def named(name: str) -> str:
        found = None
        if name.startswith(("model.layers.", "model.embed_tokens.", "model.norm.", "lm_head.")):
            found = known.get_name(name, try_suffixes=(".weight",))
        if found is None or not found.endswith(".weight"):
            raise Unusual(f"its tensor `{name}` is none of a plain {config.family}")
        return str(found)

    return named


def _in_order(folder: Path) -> list[StoredTensor]:
    """A model folder's tensors by file and then by name, as the converters take them."""
    tensors = model_tensors(folder)
    for tensor in tensors.values():
        float_dtype(tensor)
    index = folder / "model.safetensors.index.json"
    if index.is_file() and set(json.loads(index.read_text(encoding="utf-8"))["weight_map"]) != set(tensors):
        raise Unusual("its model.safetensors.index.json names other tensors than its files hold")
    return sorted(tensors.values(), key=lambda tensor: (tensor.file.name, tensor.name))
