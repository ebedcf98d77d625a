"""Which tensor of a GGUF file gets which type: the mixtures behind names such as q4_k_m.

The rules are those of `llama-quantize` (src/llama-quant.cpp in llama.cpp, October 2026), restated: a file type has a
default tensor type; tensors that suffer most from few bits get more; row lengths that a type cannot pack fall back to
a type that can. Not covered: glm5-next, which has exceptions of its own.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from .base import BadRequest
from .gguf_header import GGML_TYPES, GgufHeader, GgufTensor

__all__ = ["FILE_TYPES", "FileType", "TypedTensor", "mixture", "remark_on"]


@dataclass(frozen=True)
class FileType:
    """`id` as `general.file_type` writes it (`llama_ftype` in llama.h) and the type that most matrices get."""

    id: int
    default: str


FILE_TYPES = {
    "f32": FileType(0, "F32"),
    "f16": FileType(1, "F16"),
    "bf16": FileType(32, "BF16"),
    "q8_0": FileType(7, "Q8_0"),
    "q6_k": FileType(18, "Q6_K"),
    "q5_k_m": FileType(17, "Q5_K"),
    "q5_k_s": FileType(16, "Q5_K"),
    "q5_0": FileType(8, "Q5_0"),
    "q4_k_m": FileType(15, "Q4_K"),
    "q4_k_s": FileType(14, "Q4_K"),
    "q4_0": FileType(2, "Q4_0"),
    "q3_k_m": FileType(12, "Q3_K"),
    "q2_k": FileType(10, "Q2_K"),
}

_FALLBACK = {"Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
"""Type for rows that 256 does not divide; where 32 does not either, F16."""

# Matrices that stay as they are: small, or the ones that steer (norms, routers, positions, state-space parts).
_KEPT_PARTS = (
    "_norm.weight",
    "ffn_gate_inp.weight",
    "ffn_gate_tid2eid.weight",
    "altup",
    "laurel",
    "per_layer_model_proj",
    "ssm_conv1d",
    "shortconv.conv.weight",
    "indexer.k_proj.weight",
    "indexer.q_proj.weight",
    *(
        f"time_mix_{part}.weight"
        for part in ("first", "w0", "w1", "w2", "v0", "v1", "v2", "a0", "a1", "a2", "g1", "g2")
    ),
    "time_mix_decay_w1.weight",
    "time_mix_decay_w2.weight",
    "time_mix_lerp_fused.weight",
    "attn_rel_b.weight",
    ".position_embd",
    "sam.pos_embd",
    "sam.neck.",
    "sam.net_",
    ".rel_pos",
    ".patch_embd",
    ".patch_merger",
    "a.rvq.codebook",
    "mm.a.code_embd",
)
_KEPT_NAMES = {"position_embd.weight", "token_types.weight"}

_EMBEDDINGS = {"token_embd.weight", "per_layer_token_embd.weight"}
_VALUES = ("attn_qkv.weight", "attn_kv_b.weight", "attn_v.weight")

# Numbers of layers by which llama.cpp knows the models with eight query heads to one shared value head.
_SEVENTY_B = {"qwen2": 80, "deci": 80, "olmo": 80, "jais2": 68}


@dataclass(frozen=True)
class TypedTensor:
    """A tensor with the type it gets (`type`) and the one it would get if its rows could be packed so (`wanted`)."""

    tensor: GgufTensor
    type: str
    wanted: str

    @property
    def bytes(self) -> int:
        return GGML_TYPES[self.type].row_bytes(self.tensor.shape[0]) * (self.tensor.weights // self.tensor.shape[0])


def mixture(source: GgufHeader, file_type: str, *, importance: bool = False) -> list[TypedTensor]:
    """The type of every tensor of a 16-bit or 32-bit file, in the order in which llama-quantize writes them.

    Args:
        importance: whether importance weights (`imatrix`) guide the packing; q4_0 and q5_0 then give the first
            feed-forward matrices a type of their own.

    Raises:
        BadRequest: an architecture with exceptions that are not known here.
    """
    if source.architecture == "glm5-next":
        raise BadRequest("glm5-next has quantisation rules of its own that are not supported; use f16, bf16 or f32")
    tensors = sorted(source.tensors, key=lambda tensor: (layer_of(tensor.name), tensor.name.encode()))
    default = FILE_TYPES[file_type].default
    if default in ("F32", "F16", "BF16"):
        raise ValueError(f"{file_type} is written by the converter, not quantised")
    rules = _Rules(source, tensors, file_type, default, importance)
    typed = []
    for tensor in tensors:
        if not may_be_quantised(tensor):
            typed.append(TypedTensor(tensor, tensor.type.name, tensor.type.name))
            continue
        wanted = rules.wanted(tensor)
        typed.append(TypedTensor(tensor, rules.packable(tensor, wanted), wanted))
    return typed


def layer_of(name: str) -> int:
    """The layer that a tensor belongs to, -1 for none.

    >>> layer_of("blk.12.attn_q.weight"), layer_of("output.weight")
    (12, -1)
    """
    match = re.match(r"blk\.(\d+)\.", name)
    return int(match.group(1)) if match else -1


def may_be_quantised(tensor: GgufTensor) -> bool:
    """Matrices of weights may, but for small and steering ones; vectors never."""
    name = tensor.name
    # Trailing dimensions of length 1 do not count, as in ggml_n_dims.
    dimensions = max(number for number, length in enumerate(tensor.shape, start=1) if length > 1 or number == 1)
    return (
        dimensions >= 2
        and name.endswith("weight")
        and name not in _KEPT_NAMES
        and not any(part in name for part in _KEPT_PARTS)
    )


class _Rules:
    """The mixture of one file type for one model. `wanted` must be asked in file order: it counts layers."""

    def __init__(
        self, source: GgufHeader, tensors: Iterable[GgufTensor], file_type: str, default: str, importance: bool
    ) -> None:
        self.file_type, self.default, self.importance = file_type, default, importance
        self.falcon = source.architecture == "falcon"
        self.layers = source.hyperparameter("block_count") or 0
        self.experts = source.hyperparameter("expert_count") or 0
        heads = source.hyperparameter("attention.head_count") or 0
        kv_heads = source.hyperparameter("attention.head_count_kv") or heads
        self.heads_per_kv = heads // kv_heads if kv_heads else 0
        self.seventy_b = _SEVENTY_B.get(source.architecture) == self.layers or (
            source.architecture == "llama" and self.layers == 80 and heads != kv_heads
        )
        names = [tensor.name for tensor in tensors]
        self.tied = "output.weight" not in names
        self.n_values = sum(any(part in name for part in _VALUES) for name in names)
        self.value_index = self.down_index = 0

    def more_bits(self, index: int, count: int) -> bool:
        """The first and last eighth of the layers, and every third between them."""
        return index < count // 8 or index >= 7 * count // 8 or (index - count // 8) % 3 == 2

    def wanted(self, tensor: GgufTensor) -> str:
        name = tensor.name
        if name == "output.weight" or (self.tied and name in _EMBEDDINGS):
            return self.output()
        if name in _EMBEDDINGS:
            return self.default
        if any(part in name for part in _VALUES):
            return self.value()
        if "attn_k.weight" in name:
            return "Q8_0" if self.experts == 8 else self.default
        if "attn_q.weight" in name:
            return self.default
        if "attn_output.weight" in name:
            return self.attention_output()
        if "ffn_up" not in name and "ffn_gate" not in name and "ffn_down" in name:
            return self.down(name)
        return self.default

    def output(self) -> str:
        if self.falcon or self.default == "Q8_0":
            return "Q8_0"
        return "Q6_K"

    def value(self) -> str:
        index, kind = self.value_index, self.default
        self.value_index += 1
        if self.file_type == "q2_k":
            kind = "Q4_K" if self.heads_per_kv >= 4 else "Q3_K"
        elif self.file_type == "q3_k_m":
            kind = "Q5_K" if index < 2 else "Q4_K"
        elif self.file_type in ("q4_k_m", "q5_k_m") and self.more_bits(index, self.n_values):
            kind = "Q6_K"
        elif self.file_type == "q4_k_s" and index < 4:
            kind = "Q5_K"
        if self.seventy_b and kind in ("Q3_K", "Q4_K"):
            kind = "Q5_K"
        return "Q8_0" if self.experts == 8 else kind

    def attention_output(self) -> str:
        if self.falcon:
            return self.default
        if self.experts == 8:
            return "Q5_K" if self.file_type in ("q2_k", "q3_k_m", "q4_k_s", "q4_k_m") else self.default
        return {"q2_k": "Q3_K", "q3_k_m": "Q4_K"}.get(self.file_type, self.default)

    def down(self, name: str) -> str:
        # With experts the matrices of a layer do not follow each other; then the name tells the layer.
        index, count = layer_of(name) if self.experts > 1 else self.down_index, self.layers
        self.down_index += 1
        more = self.more_bits(index, count)
        if self.file_type == "q2_k":
            return "Q3_K"
        if self.file_type == "q3_k_m":
            if index < count // 16:
                return "Q5_K"
            return "Q3_K" if self.falcon and not more else "Q4_K"
        if self.file_type == "q4_k_m" and self.falcon:
            return "Q6_K" if index < count // 16 else "Q5_K" if more else "Q4_K"
        if self.file_type in ("q4_k_m", "q5_k_m") and more:
            return "Q6_K"
        if self.file_type == "q4_k_s" and not self.falcon and index < count // 8:
            return "Q5_K"
        if self.file_type in ("q4_0", "q5_0") and self.importance and index < count // 8:
            return {"q4_0": "Q4_1", "q5_0": "Q5_1"}[self.file_type]
        return self.default

    def packable(self, tensor: GgufTensor, wanted: str) -> str:
        """`wanted`, or the type that takes its place where it cannot pack the rows."""
        columns = tensor.shape[0]
        is_output = tensor.name == "output.weight" or (self.tied and tensor.name in _EMBEDDINGS)
        if is_output and columns % GGML_TYPES[self.default].block:
            wanted = "Q8_0"
        if columns % GGML_TYPES[wanted].block:
            wanted = _FALLBACK.get(wanted, wanted)
        return wanted if columns % GGML_TYPES[wanted].block == 0 else "F16"


def remark_on(typed: list[TypedTensor], file_type: str) -> str | None:
    """A plain sentence where fallback types make the file larger than its name suggests, else None."""
    replaced = [item for item in typed if item.type != item.wanted]
    weights = sum(item.tensor.weights for item in typed)
    real = 8 * sum(item.bytes for item in typed) / weights
    # Bits by the name: what each matrix would take if its rows could be packed as wanted.
    named = sum(GGML_TYPES[item.wanted].bits * item.tensor.weights for item in typed) / weights
    if not replaced or real < 1.02 * named:
        return None
    lengths = sorted({item.tensor.shape[0] for item in replaced})
    kinds = sorted({f"{item.wanted} by {item.type}" for item in replaced})
    return (
        f"{file_type} suggests {named:.1f} bits a weight for this model, but rows of {' or '.join(map(str, lengths))} "
        f"weights cannot be packed in blocks of 256; llama.cpp's rules replace {', '.join(kinds)} in {len(replaced)} "
        f"of {len(typed)} tensors, so the file has {real:.1f} bits a weight"
    )
