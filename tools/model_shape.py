"""Which tensors a model has in a GGUF file, and how large: from the catalogue's facts, or from a folder's own files.

Nothing of the weights is read, so that a plan can say what an export will weigh before anything is fetched.
"""

import functools
import json
from dataclasses import dataclass
from math import prod
from pathlib import Path

from .artifacts import read_json
from .base import BadRequest

__all__ = ["CATALOGUE_SHAPES", "DecoderShape", "ModelTensors", "catalogue_tensors", "folder_tensors", "gguf_name"]


@dataclass(frozen=True)
class ModelTensors:
    """What decides the size of a model's GGUF file.

    Attributes:
        architecture: as GGUF names it, such as `llama`.
        layers, heads, kv_heads: on which the choice of types depends.
        shapes: GGUF name of each tensor -> its shape as GGUF orders it, row length first.
        vocabulary_bytes: of the vocabulary in the file's header: texts, types, scores, merges.
        template_bytes: of the chat template in the header.
    """

    architecture: str
    layers: int
    heads: int
    kv_heads: int
    shapes: dict[str, tuple[int, ...]]
    vocabulary_bytes: int
    template_bytes: int

    @property
    def weights(self) -> int:
        return sum(map(prod, self.shapes.values()))


@dataclass(frozen=True)
class DecoderShape:
    """The sizes in a config.json that fix a decoder's tensors: `words` is the vocabulary, `tied` whether the output
    matrix is the embedding; `word_bytes` is what one word takes in a GGUF header (see `_WORD_BYTES`)."""

    architecture: str
    layers: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    head_size: int
    words: int
    tied: bool
    word_bytes: float


# Bytes of a GGUF header for one word of the vocabulary: 8 for the length of its text, the text, 4 for its type, 4 for
# its score (sentencepiece) or its share of the merges (byte-pair encoding). Measured, on the files named.
_WORD_BYTES = {
    "smollm": 35.97,  # SmolLM2-135M-Instruct as export_gguf writes it, 49,152 words
    "llama3": 60.96,  # ggml-vocab-llama-bpe.gguf of llama.cpp, 128,256 words with two merges each
    "qwen": 39.02,  # ggml-vocab-qwen2.gguf of llama.cpp, 151,936 words; Phi 4's list is taken to be alike
    "gemma": 24.84,  # texts of the 262,144 words in ggml-vocab-gemma-4.gguf of llama.cpp, types and scores, no merges
    "llama2": 22.59,  # ggml-vocab-llama-spm.gguf of llama.cpp, 32,000 words
}


def _shape(
    family: str, layers: int, hidden: int, inner: int, heads: int, kv_heads: int, head: int, words: int, tied: bool
) -> DecoderShape:
    architecture, texts = family.split()
    return DecoderShape(
        architecture, layers, hidden, inner, heads, kv_heads, head, words, tied, word_bytes=_WORD_BYTES[texts]
    )


# Layers, hidden size, inner size of the feed-forward part, heads, key-value heads, size of a head, vocabulary, tied.
# Source: config.json of each model's hub id; of gemma3-4b its text part, which is all that an export writes.
CATALOGUE_SHAPES = {
    "smollm2-135m": _shape("llama smollm", 30, 576, 1536, 9, 3, 64, 49152, True),
    "smollm2-360m": _shape("llama smollm", 32, 960, 2560, 15, 5, 64, 49152, True),
    "smollm2-1.7b": _shape("llama smollm", 24, 2048, 8192, 32, 32, 64, 49152, True),
    "gemma3-270m": _shape("gemma3 gemma", 18, 640, 2048, 4, 1, 256, 262144, True),
    "gemma3-1b": _shape("gemma3 gemma", 26, 1152, 6912, 4, 1, 256, 262144, True),
    "gemma3-4b": _shape("gemma3 gemma", 34, 2560, 10240, 8, 4, 256, 262208, True),
    "llama3.2-1b": _shape("llama llama3", 16, 2048, 8192, 32, 8, 64, 128256, True),
    "llama3.2-3b": _shape("llama llama3", 28, 3072, 8192, 24, 8, 128, 128256, True),
    "llama3.1-8b": _shape("llama llama3", 32, 4096, 14336, 32, 8, 128, 128256, False),
    "qwen3-0.6b": _shape("qwen3 qwen", 28, 1024, 3072, 16, 8, 128, 151936, True),
    "qwen3-1.7b": _shape("qwen3 qwen", 28, 2048, 6144, 16, 8, 128, 151936, True),
    "qwen3-4b": _shape("qwen3 qwen", 36, 2560, 9728, 32, 8, 128, 151936, True),
    "qwen3-8b": _shape("qwen3 qwen", 36, 4096, 12288, 32, 8, 128, 151936, False),
    "mistral-7b": _shape("llama llama2", 32, 4096, 14336, 32, 8, 128, 32768, False),
    "phi4-mini": _shape("phi3 qwen", 32, 3072, 8192, 24, 8, 128, 200064, True),
}
"""Catalogue name -> shape."""

_TEMPLATE_BYTES = 2000  # of a chat template whose text is not at hand: they have from 0.4 to 5 KB


def catalogue_tensors(name: str) -> ModelTensors | None:
    """The tensors of a catalogue model, whether or not it has been fetched; None for any other name.

    >>> catalogue_tensors("smollm2-135m").weights
    134515008
    """
    shape = CATALOGUE_SHAPES.get(name)
    if shape is None:
        return None
    return ModelTensors(
        architecture=shape.architecture,
        layers=shape.layers,
        heads=shape.heads,
        kv_heads=shape.kv_heads,
        shapes=_decoder_shapes(shape),
        vocabulary_bytes=round(shape.words * shape.word_bytes),
        template_bytes=_TEMPLATE_BYTES,
    )


def _decoder_shapes(shape: DecoderShape) -> dict[str, tuple[int, ...]]:
    """Tensor list of a Llama, Gemma 3, Qwen 3 or Phi 3. Rope factors, some hundred bytes, are not counted."""
    hidden, inner = shape.hidden, shape.inner
    query, key = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    layer: dict[str, tuple[int, ...]] = {
        "attn_norm": (hidden,),
        "ffn_norm": (hidden,),
        "attn_output": (query, hidden),
        "ffn_down": (inner, hidden),
    }
    if shape.architecture == "phi3":  # query, key and value are one matrix, and so are gate and up
        layer |= {"attn_qkv": (hidden, query + 2 * key), "ffn_up": (hidden, 2 * inner)}
    else:
        layer |= {"attn_q": (hidden, query), "attn_k": (hidden, key), "attn_v": (hidden, key)}
        layer |= {"ffn_gate": (hidden, inner), "ffn_up": (hidden, inner)}
    if shape.architecture in ("gemma3", "qwen3"):
        layer |= {"attn_q_norm": (shape.head_size,), "attn_k_norm": (shape.head_size,)}
    if shape.architecture == "gemma3":
        layer |= {"post_attention_norm": (hidden,), "post_ffw_norm": (hidden,)}
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (hidden, shape.words), "output_norm.weight": (hidden,)}
    if not shape.tied:
        shapes["output.weight"] = (hidden, shape.words)
    for number in range(shape.layers):
        shapes |= {f"blk.{number}.{part}.weight": size for part, size in layer.items()}
    return shapes


# `model_type` of config.json -> architecture in GGUF.
_ARCHITECTURES = {
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma3": "gemma3",
    "gemma3_text": "gemma3",
    "phi3": "phi3",
}

_OUTSIDE_LAYERS = {"embed_tokens": "token_embd", "norm": "output_norm"}
_IN_A_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_OTHER_PARTS = ("vision_tower.", "multi_modal_projector.")


def gguf_name(name: str, architecture: str) -> str | None:
    """The GGUF name of a tensor in safetensors; "" for one that an export leaves out, None for an unknown one.

    >>> gguf_name("model.layers.3.self_attn.q_proj.weight", "llama")
    'blk.3.attn_q.weight'
    """
    bare = name.removeprefix("model.").removeprefix("language_model.").removeprefix("model.")
    if bare.startswith(_OTHER_PARTS):
        return ""
    part, _, kind = bare.rpartition(".")
    if part == "lm_head":
        return f"output.{kind}"
    if part in _OUTSIDE_LAYERS:
        return f"{_OUTSIDE_LAYERS[part]}.{kind}"
    words = part.split(".", 2)
    if len(words) != 3 or words[0] != "layers" or words[2] not in _IN_A_LAYER:
        return None
    named = _IN_A_LAYER[words[2]]
    if words[2] == "post_attention_layernorm" and architecture == "gemma3":
        named = "post_attention_norm"  # what the others call so stands before the feed-forward part
    return f"blk.{words[1]}.{named}.{kind}"


def folder_tensors(folder: Path) -> ModelTensors | None:
    """The tensors of a model folder, from its config.json and the headers of its safetensors.

    None where the folder holds no whole model, or one that is not known here: nothing is guessed.
    """
    from .safetensors_files import model_tensors

    try:
        config = read_json(folder / "config.json")
        config = {**config, **config.get("text_config", {})}
        architecture = _ARCHITECTURES[config["model_type"]]
        heads, layers = int(config["num_attention_heads"]), int(config["num_hidden_layers"])
        kv_heads = int(config.get("num_key_value_heads") or heads)
        stored = model_tensors(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, BadRequest):
        return None
    shapes: dict[str, tuple[int, ...]] = {}
    for name, tensor in stored.items():
        new = gguf_name(name, architecture)
        if new is None or not tensor.shape:
            return None
        if new:
            shapes[new] = tensor.shape[::-1]
    if "token_embd.weight" not in shapes:
        return None
    return ModelTensors(
        architecture=architecture,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        shapes=shapes,
        vocabulary_bytes=_vocabulary_bytes(folder, words=shapes["token_embd.weight"][1]),
        template_bytes=_template_bytes(folder),
    )


_READABLE_TOKENIZER = 8_000_000  # bytes; a larger one takes longer to read than a plan may


def _vocabulary_bytes(folder: Path, words: int) -> int:
    """From tokenizer.json; from the number of words where that file is not there or large, as only large models' are.

    A word that the model has and the tokenizer lacks is written as `[PAD123]`.
    """
    sentencepiece = (folder / "tokenizer.model").is_file()
    file = folder / "tokenizer.json"
    try:
        state = file.stat()
        known, texts = _text_bytes(file, state.st_mtime_ns, state.st_size, merges=not sentencepiece)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return round(words * _WORD_BYTES["gemma" if sentencepiece else "qwen"])
    padding = max(0, words - texts)
    return known + padding * (8 + len(f"[PAD{words}]")) + (8 if sentencepiece else 4) * (texts + padding)


@functools.lru_cache(maxsize=4)
def _text_bytes(file: Path, modified_ns: int, size: int, *, merges: bool) -> tuple[int, int]:
    """Bytes of the words in a tokenizer.json, of its merges if asked, each with its length; and how many words."""
    if size > _READABLE_TOKENIZER:
        raise ValueError(f"`{file}` is not read")
    tokenizer = json.loads(file.read_bytes())
    model = tokenizer["model"]
    # A list of pairs (Unigram) or an object from text to number (BPE).
    words = {entry[0] if isinstance(entry, list) else entry for entry in model["vocab"]}
    words |= {token["content"] for token in tokenizer["added_tokens"]}
    pairs = model.get("merges", []) if merges else []
    texts = [*words, *(pair if isinstance(pair, str) else " ".join(pair) for pair in pairs)]
    return sum(8 + len(text.encode()) for text in texts), len(words)


def _template_bytes(folder: Path) -> int:
    try:
        return (folder / "chat_template.jinja").stat().st_size
    except OSError:
        return _TEMPLATE_BYTES
