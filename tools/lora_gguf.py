"""A LoRA adapter as a GGUF file for llama.cpp's `--lora`, under the names of the base's file, in float32 or float16.

Layout, as llama.cpp's convert_lora_to_gguf.py writes it: `general.type` adapter, `adapter.type` lora,
`adapter.lora.alpha`, and for each matrix that was trained `NAME.lora_a` (rank, columns) and `NAME.lora_b` (rows,
rank). llama.cpp adds alpha / rank * B @ A to the base's matrix.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .artifacts import read_json
from .base import BadRequest, ToolFailed, require_extra
from .gguf_header import GGML_TYPES, GgufHeader, GgufTensor
from .gguf_keys import packed_keys
from .gguf_quants import WeightSource, write_unquantised
from .merge import LoraPair, adapter_alpha, lora_pairs
from .safetensors_files import model_tensors, read_float32
from .stream_config import StreamConfig, Unusual, read_config
from .stream_tensors import gguf_names, permuted_rows

if TYPE_CHECKING:
    import numpy as np

__all__ = ["halve_lora_gguf", "write_lora_gguf"]


def write_lora_gguf(adapter: Path, base: Path, target: Path) -> int:
    """Write the adapter in the folder `adapter` as the file `target`; returns the number of matrices it changes.

    Raises:
        BadRequest: the adapter is damaged, of a kind that cannot be merged, belongs to another base, or the base is
            not a Llama, Gemma 3 or Qwen 3.
        ToolFailed: all of the adapter's numbers are zero, or some are not finite.
    """
    require_extra("export", "gguf")
    import gguf

    try:
        config = _base_config(base)
        names = gguf_names(config)
        pairs = lora_pairs(adapter, model_tensors(base))
        alpha = adapter_alpha(adapter)
        matrices: dict[str, np.ndarray[Any, Any]] = {}
        for pair in sorted(pairs, key=lambda pair: pair.base.name):
            name = names(pair.base.name)
            a_RC, b_RC = _matrices(pair, name, alpha, config)
            matrices |= {f"{name}.lora_a": a_RC, f"{name}.lora_b": b_RC}
    except Unusual as reason:
        raise BadRequest(
            f"the adapter in `{adapter}` cannot be written as a GGUF adapter, because {reason}; "
            "export it merged, in another `quantization`"
        ) from reason
    _check_numbers(adapter, matrices)
    writer = gguf.GGUFWriter(None, config.family)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_name(adapter.resolve().name)
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    tensors = tuple(GgufTensor(name, matrix.shape[::-1], GGML_TYPES["F32"], 0) for name, matrix in matrices.items())

    def read(tensor: GgufTensor, start: int, stop: int) -> "np.ndarray[Any, Any]":
        return _bytes(matrices[tensor.name][start:stop])

    write_unquantised(WeightSource(GgufHeader(target, 3, 32, {}, {}, tensors, 0), packed_keys(writer), read), target)
    return len(pairs)


def halve_lora_gguf(source: Path, target: Path) -> None:
    """Write an adapter that `write_lora_gguf` wrote once more, its matrices in float16: half the size.

    llama.cpp multiplies with matrices of any of its types.
    """
    require_extra("export", "gguf")
    import gguf
    import numpy as np

    reader = gguf.GGUFReader(source)
    said = {name: field.contents() for name, field in reader.fields.items()}
    writer = gguf.GGUFWriter(target, said["general.architecture"])
    writer.add_type(said["general.type"])
    writer.add_string(gguf.Keys.Adapter.TYPE, said["adapter.type"])
    writer.add_name(said["general.name"])
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, said["adapter.lora.alpha"])
    writer.add_quantization_version(said["general.quantization_version"])
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, np.asarray(tensor.data).astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _base_config(base: Path) -> StreamConfig:
    config = {name: value for name, value in read_json(base / "config.json").items() if not name.startswith("rope_")}
    # How the base turns positions into angles is in the base's file; an adapter fits any.
    local = {"rope_local_base_freq": 1.0} if config.get("model_type") == "gemma3_text" else {}
    return read_config({**config, "rope_theta": 1.0, **local})


def _matrices(
    pair: LoraPair, name: str, alpha: float, config: StreamConfig
) -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]":
    import numpy as np

    a_RC, b_RC = read_float32(pair.a), read_float32(pair.b)
    rank = a_RC.shape[0]
    if pair.transposed:
        if name != "token_embd.weight":
            raise Unusual(f"its matrix for `{pair.base.name}` is stored the other way round")
        a_RC = np.ascontiguousarray(a_RC.T)  # llama.cpp looks rows of it up, as it does in the embeddings themselves
    if pair.scale != alpha / rank:  # rank-stabilised, or of another alpha than the file's one
        b_RC = b_RC * np.float32(pair.scale * rank / alpha)
    if config.family == "llama" and name.endswith(("attn_q.weight", "attn_k.weight")):
        heads = config.heads if "attn_q" in name else config.kv_heads
        b_RC = b_RC[permuted_rows(len(b_RC), heads)]
    return a_RC, b_RC


def _check_numbers(adapter: Path, matrices: "dict[str, np.ndarray[Any, Any]]") -> None:
    import numpy as np

    for name, matrix in matrices.items():
        if not np.isfinite(matrix).all():
            raise ToolFailed(f"`{name}` of the adapter in `{adapter}` is infinite or not a number: it is damaged")
    if not any(matrix.any() for name, matrix in matrices.items() if name.endswith(".lora_b")):
        raise ToolFailed(f"the adapter in `{adapter}` changes nothing: its matrices are zero; train longer")


def _bytes(matrix: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    import numpy as np

    raw: np.ndarray[Any, Any] = np.ascontiguousarray(matrix).reshape(-1).view(np.uint8)
    return raw
