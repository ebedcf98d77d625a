"""A model of random weights with Gemma 3 270M's real shape and a vocabulary of 262,144 words, as a model folder.

    python benchmarks/random_gemma.py FOLDER

Config, names and sizes of all tensors (bfloat16, 536 MB) and the sizes of tokenizer.model and tokenizer.json are those
of the original; weights and words are made up, so the model can be converted and computes nonsense.
"""

import itertools
import json
import math
import struct
import sys
from pathlib import Path
from typing import Any

__all__ = ["write_random_gemma"]

VOCAB, HIDDEN, INNER, LAYERS, HEADS, HEAD_DIM, WINDOW = 262_144, 640, 2048, 18, 4, 256, 512
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
UNUSED = 6_242  # `<unusedN>`, which the original adds as well


def write_random_gemma(folder: Path) -> Path:
    """Write the model folder; returns it. One that is there already is taken as it is."""
    if (folder / "model.safetensors").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    words = [*SPECIAL, *(f"<unused{number}>" for number in range(UNUSED)), *(f"<0x{byte:02X}>" for byte in range(256))]
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    made_up = ("".join(parts) for size in (1, 2, 3, 4) for parts in itertools.product(letters, repeat=size))
    words += itertools.islice(itertools.chain.from_iterable((word, "\u2581" + word) for word in made_up), VOCAB)
    words = words[:VOCAB]
    (folder / "config.json").write_text(json.dumps(_config(), indent=1))
    (folder / "generation_config.json").write_text(json.dumps({"temperature": 1.0, "top_k": 64, "top_p": 0.95}))
    _write_sentencepiece(folder / "tokenizer.model", words)
    _write_tokenizer(folder, words)
    _write_weights(folder / "model.safetensors")
    return folder


def _config() -> dict[str, Any]:
    return {
        "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "vocab_size": VOCAB,
        "hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "num_key_value_heads": 1, "head_dim": HEAD_DIM,
        "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
        "rope_local_base_freq": 10000.0, "rope_scaling": None, "sliding_window": WINDOW,
        "_sliding_window_pattern": 6, "query_pre_attn_scalar": 256, "attention_bias": False,
        "layer_types": ["full_attention" if layer % 6 == 5 else "sliding_attention" for layer in range(LAYERS)],
        "attn_logit_softcapping": None, "final_logit_softcapping": None, "use_bidirectional_attention": False,
        "hidden_activation": "gelu_pytorch_tanh", "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2,
        "torch_dtype": "bfloat16",
    }  # fmt: skip


def _write_sentencepiece(file: Path, words: list[str]) -> None:
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto()
    kinds = {"<unk>": 2, "<pad>": 3, "<eos>": 3, "<bos>": 3}
    for number, word in enumerate(words):
        kind = 6 if word.startswith("<0x") else 4 if word.startswith("<") else 1
        model.pieces.add(piece=word, score=-float(number), type=kinds.get(word, kind))
    trainer = model.trainer_spec
    trainer.model_type, trainer.vocab_size, trainer.byte_fallback = 2, VOCAB, True
    trainer.pad_id, trainer.eos_id, trainer.bos_id, trainer.unk_id = 0, 1, 2, 3
    normalizer = model.normalizer_spec
    normalizer.name, normalizer.add_dummy_prefix, normalizer.remove_extra_whitespaces = "identity", False, False
    file.write_bytes(model.SerializeToString())


def _write_tokenizer(folder: Path, words: list[str]) -> None:
    added = [
        {"id": number, "content": word, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": word in SPECIAL}
        for number, word in enumerate(words) if word in SPECIAL or word.startswith("<unused")
    ]  # fmt: skip
    plain = [word for word in words if not word.startswith("<")]
    merges = [[word[:1], word[1:]] for word in plain if len(word) > 1]
    merges += [[word[:-1], word[-1:]] for word in plain if len(word) > 2]
    post = {"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}}
    model = {"type": "BPE", "byte_fallback": True, "vocab": {word: n for n, word in enumerate(words)}, "merges": merges}
    stored = {"version": "1.0", "added_tokens": added, "post_processor": post, "model": model}
    (folder / "tokenizer.json").write_text(json.dumps(stored, indent=2, ensure_ascii=False))
    decoder = {str(token["id"]): {key: value for key, value in token.items() if key != "id"} for token in added}
    settings = {
        "tokenizer_class": "GemmaTokenizer", "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>",
        "pad_token": "<pad>", "add_bos_token": True, "add_eos_token": False, "added_tokens_decoder": decoder,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def _write_weights(file: Path) -> None:
    import numpy as np
    from tunesmith.tools.float_formats import from_float32

    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCAB, HIDDEN), "model.norm.weight": (HIDDEN,)}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        for norm in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
            shapes[f"{prefix}.{norm}_layernorm.weight"] = (HIDDEN,)
        shapes |= {f"{prefix}.self_attn.{part}_norm.weight": (HEAD_DIM,) for part in "qk"}
        shapes[f"{prefix}.self_attn.q_proj.weight"] = (HEADS * HEAD_DIM, HIDDEN)
        shapes |= {f"{prefix}.self_attn.{part}_proj.weight": (HEAD_DIM, HIDDEN) for part in "kv"}
        shapes[f"{prefix}.self_attn.o_proj.weight"] = (HIDDEN, HEADS * HEAD_DIM)
        shapes |= {f"{prefix}.mlp.{part}_proj.weight": (INNER, HIDDEN) for part in ("gate", "up")}
        shapes[f"{prefix}.mlp.down_proj.weight"] = (HIDDEN, INNER)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, shape in shapes.items():
        end = offset + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    random = np.random.default_rng(3)
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for shape in shapes.values():
            values = random.standard_normal(shape, dtype=np.float32)
            values *= np.float32(0.02)
            stream.write(from_float32(values, "BF16").tobytes())


if __name__ == "__main__":
    write_random_gemma(Path(sys.argv[1]))
