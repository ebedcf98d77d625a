"""Model folders of random weights in the shapes of Llama, Gemma 3 and Qwen 3, made without torch.

The tokenizer's files are copied from another folder. `write_random_model` needs numpy only.
"""

import json
import shutil
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["RandomModel", "write_random_model"]

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "chat_template.jinja")
_ARCHITECTURES = {
    "llama": ("LlamaForCausalLM", "llama"),
    "gemma3": ("Gemma3ForCausalLM", "gemma3_text"),
    "qwen3": ("Qwen3ForCausalLM", "qwen3"),
}


@dataclass(frozen=True)
class RandomModel:
    """A model's shape. `options` are set in config.json, None leaves one out; `dtype` as safetensors names it."""

    family: str
    hidden: int
    inner: int
    vocab: int
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 16
    tied: bool = True
    dtype: str = "BF16"
    shards: int = 1
    options: dict[str, Any] = field(default_factory=dict)


def write_random_model(model: RandomModel, folder: Path, tokenizer: Path, *, embedding_rows: int | None = None) -> Path:
    """Write config.json, safetensors and the tokenizer of the folder `tokenizer`; returns the new folder.

    `embedding_rows` beyond `vocab` are what some Gemmas have.
    """
    import numpy as np
    from tunesmith.tools.float_formats import from_float32

    folder.mkdir(parents=True)
    for name in _TOKENIZER_FILES:
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, folder / name)
    (folder / "config.json").write_text(json.dumps(_config(model), indent=1))
    (folder / "generation_config.json").write_text(json.dumps({"temperature": 0.7, "top_p": 0.9, "top_k": 40}))
    random = np.random.default_rng(11)
    shapes = _shapes(model, embedding_rows or model.vocab)
    parts: list[dict[str, tuple[tuple[int, ...], bytes]]] = [{} for _ in range(model.shards)]
    for number, (name, shape) in enumerate(shapes.items()):
        values = random.standard_normal(shape).astype(np.float32) * np.float32(0.05)
        if len(shape) == 1:
            values += np.float32(model.family != "gemma3")
        parts[number % model.shards][name] = shape, from_float32(values, model.dtype).tobytes()
    if model.shards == 1:
        _write_safetensors(folder / "model.safetensors", model.dtype, parts[0])
        return folder
    files = [f"model-{number:05}-of-{model.shards:05}.safetensors" for number in range(1, model.shards + 1)]
    for file, part in zip(files, parts, strict=True):
        _write_safetensors(folder / file, model.dtype, part)
    index = {name: file for file, part in zip(files, parts, strict=True) for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return folder


def _write_safetensors(file: Path, dtype: str, tensors: dict[str, tuple[tuple[int, ...], bytes]]) -> None:
    """A file as the safetensors library writes it; its numpy side knows no bfloat16."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, (shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(raw)]}
        offset += len(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        stream.writelines(raw for _, raw in tensors.values())


def _config(model: RandomModel) -> dict[str, Any]:
    architecture, model_type = _ARCHITECTURES[model.family]
    config: dict[str, Any] = {
        "architectures": [architecture],
        "model_type": model_type,
        "vocab_size": model.vocab,
        "hidden_size": model.hidden,
        "intermediate_size": model.inner,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "num_key_value_heads": model.kv_heads,
        "head_dim": model.head_dim,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": model.tied,
        "dtype": "bfloat16",
    }
    if model.family == "gemma3":
        config |= {"sliding_window": 512, "rope_local_base_freq": 10000.0, "_sliding_window_pattern": 6}
        config |= {"layer_types": ["sliding_attention", "full_attention"] * (model.layers // 2)}
        config |= {"query_pre_attn_scalar": 16, "final_logit_softcapping": None, "attn_logit_softcapping": None}
    config |= model.options
    return {name: value for name, value in config.items() if value is not None}


def _shapes(model: RandomModel, embedding_rows: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (embedding_rows, model.hidden)}
    query, kv = model.heads * model.head_dim, model.kv_heads * model.head_dim
    norms = ["input_layernorm", "post_attention_layernorm"]
    if model.family == "gemma3":
        norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
    for layer in range(model.layers):
        prefix = f"model.layers.{layer}"
        shapes |= {f"{prefix}.{norm}.weight": (model.hidden,) for norm in norms}
        shapes |= {
            f"{prefix}.self_attn.q_proj.weight": (query, model.hidden),
            f"{prefix}.self_attn.k_proj.weight": (kv, model.hidden),
            f"{prefix}.self_attn.v_proj.weight": (kv, model.hidden),
            f"{prefix}.self_attn.o_proj.weight": (model.hidden, query),
            f"{prefix}.mlp.gate_proj.weight": (model.inner, model.hidden),
            f"{prefix}.mlp.up_proj.weight": (model.inner, model.hidden),
            f"{prefix}.mlp.down_proj.weight": (model.hidden, model.inner),
        }
        if model.family != "llama":
            shapes |= {f"{prefix}.self_attn.{part}_norm.weight": (model.head_dim,) for part in "qk"}
    shapes["model.norm.weight"] = (model.hidden,)
    if not model.tied:
        shapes["lm_head.weight"] = (embedding_rows, model.hidden)
    return shapes
