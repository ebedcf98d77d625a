"""What config.json says of a Llama, Gemma 3 or Qwen 3, as the metadata keys of a GGUF file.

llama.cpp's converters read a config through transformers, which fills in defaults and moves options about. Here it is
read as it is, so every option must be a known one and those that matter must be stated; anything else is `Unusual`,
and the carried converters take the model.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import gguf
    import numpy as np

__all__ = ["RopeScaling", "StreamConfig", "Unusual", "read_config"]

_FAMILIES = {
    "LlamaForCausalLM": ("llama", "llama"),
    "Gemma3ForCausalLM": ("gemma3_text", "gemma3"),
    "Qwen3ForCausalLM": ("qwen3", "qwen3"),
}
"""Class in config.json -> its model_type there, and the architecture's name in GGUF."""

# Options that no key of the file depends on, whatever they say.
_WITHOUT_EFFECT = {
    *("_attn_implementation_autoset", "_name_or_path", "add_cross_attention", "attention_dropout", "bos_token_id"),
    *("cache_implementation", "chunk_size_feed_forward", "dtype", "eos_token_id", "hidden_act", "hidden_activation"),
    *("id2label", "initializer_range", "is_decoder", "is_encoder_decoder", "label2id", "layer_types"),
    *("max_window_layers", "output_attentions", "output_hidden_states", "pad_token_id", "pretraining_tp"),
    *("problem_type", "query_pre_attn_scalar", "return_dict", "tie_word_embeddings", "torch_dtype"),
    *("transformers.js_config", "transformers_version", "unk_token_id", "unsloth_fixed", "unsloth_version"),
    *("use_cache", "use_sliding_window"),
}
_STATED = (
    *("hidden_size", "intermediate_size", "max_position_embeddings", "num_attention_heads", "num_hidden_layers"),
    *("rms_norm_eps", "vocab_size"),
)
_READ = {
    *("architectures", "head_dim", "model_type", "num_key_value_heads", "rope_parameters", "rope_scaling"),
    *("rope_theta", *_STATED),
}
# Options that are read of one family, and those that must be off: with another value they change the model.
_OF_FAMILY = {
    "llama": {"rope_interleaved", "is_llama_config"},
    "gemma3": {
        *("_sliding_window_pattern", "final_logit_softcapping", "rope_local_base_freq"),
        *("sliding_window", "sliding_window_pattern"),
    },
    "qwen3": {"sliding_window"},
}
_OFF = {
    *("attention_bias", "attn_logit_softcapping", "mlp_bias", "quantization_config", "use_bidirectional_attention"),
}


@dataclass(frozen=True)
class RopeScaling:
    """How Llama 3 stretches its rotary embedding beyond the `context` that it was first trained on."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    context: float

    def factors(self, base: float, head_dim: int) -> "np.ndarray[Any, Any]":
        """What each frequency is divided by: float32, one for each pair of a head's numbers.

        Short waves stay, long ones are stretched by `factor`, and in between it goes over smoothly, as in
        transformers' `_compute_llama3_parameters`. All steps are rounded to float32, as the converters' are.
        """
        import numpy as np

        one, exponents = np.float32(1), np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
        # A power in float64, rounded once, is what the converters' float32 power gives.
        frequencies = one / (base ** exponents.astype(np.float64)).astype(np.float32)
        wavelengths = (one / frequencies) * np.float32(2 * math.pi)
        waves = one / wavelengths * np.float32(self.context)
        smooth = (waves - np.float32(self.low_freq_factor)) / np.float32(self.high_freq_factor - self.low_freq_factor)
        with np.errstate(divide="ignore"):  # far outside of what it is used for
            between = one / ((one - smooth) / np.float32(self.factor) + smooth)
        long = np.where(wavelengths > self.context / self.low_freq_factor, np.float32(self.factor), between)
        found: np.ndarray[Any, Any] = np.where(wavelengths < self.context / self.high_freq_factor, one, long)
        return found


class Unusual(Exception):
    """The streaming pass does not know this; says what. The carried converters may."""


@dataclass(frozen=True)
class StreamConfig:
    """The numbers that the keys and tensors of the file follow from.

    Attributes:
        family: the architecture's name in GGUF: llama, gemma3 or qwen3.
        rope_base_local: of the layers with a sliding window, which only Gemma has.
    """

    family: str
    layers: int
    hidden: int
    inner: int
    context: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    norm_epsilon: float
    rope_base: float
    rope_base_local: float | None = None
    rope_scaling: RopeScaling | None = None
    sliding_window: int | None = None
    softcap: float | None = None

    def write_keys(self, writer: "gguf.GGUFWriter", file_type: int) -> None:
        """Add the keys in the converters' order, which the file keeps."""
        writer.add_block_count(self.layers)
        writer.add_context_length(self.context)
        writer.add_embedding_length(self.hidden)
        writer.add_feed_forward_length(self.inner)
        writer.add_head_count(self.heads)
        writer.add_head_count_kv(self.kv_heads)
        writer.add_rope_freq_base(self.rope_base)
        if self.rope_base_local is not None:
            writer.add_rope_freq_base_swa(self.rope_base_local)
        writer.add_layer_norm_rms_eps(self.norm_epsilon)
        writer.add_key_length(self.head_dim)
        writer.add_value_length(self.head_dim)
        writer.add_file_type(file_type)
        if self.family == "llama":
            writer.add_vocab_size(self.vocab)
            writer.add_rope_dimension_count(self.head_dim)
        if self.softcap:
            writer.add_final_logit_softcapping(self.softcap)
        if self.sliding_window is not None:
            writer.add_sliding_window(self.sliding_window)


def read_config(config: dict[str, Any]) -> StreamConfig:
    """Read the content of config.json.

    Raises:
        Unusual: another architecture, an unknown option, or one that is not stated; says which.
    """
    named = config.get("architectures")
    model_type, family = _FAMILIES.get(named[0] if isinstance(named, list) and named else "", (None, ""))
    if not family or config.get("model_type") != model_type:
        raise Unusual(f"its architecture is {named}")
    known = _WITHOUT_EFFECT | _READ | _OF_FAMILY[family] | _OFF
    unknown = sorted(name for name, value in config.items() if name not in known and value is not None)
    unknown += sorted(name for name in _OFF if config.get(name))
    if unknown:
        raise Unusual(f"config.json sets {', '.join(f'`{name}`' for name in unknown)}")
    numbers = {name: _number(config, name) for name in _STATED}
    heads = int(numbers["num_attention_heads"])
    if family == "llama":  # transformers has other fixed values for the other two, which real configs never rely on
        kv_heads = int(_number(config, "num_key_value_heads", heads))
        head_dim = int(_number(config, "head_dim", int(numbers["hidden_size"]) // heads))
    else:
        kv_heads, head_dim = int(_number(config, "num_key_value_heads")), int(_number(config, "head_dim"))
    window = softcap = None
    if family == "gemma3":
        if config.get("sliding_window_pattern") == 1:
            raise Unusual("config.json sets `sliding_window_pattern` 1")
        window, softcap = int(_number(config, "sliding_window")), config.get("final_logit_softcapping")
    base, local = _rope_bases(config, family)
    return StreamConfig(
        family=family,
        layers=int(numbers["num_hidden_layers"]),
        hidden=int(numbers["hidden_size"]),
        inner=int(numbers["intermediate_size"]),
        context=int(numbers["max_position_embeddings"]),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocab=int(numbers["vocab_size"]),
        norm_epsilon=numbers["rms_norm_eps"],
        rope_base=base,
        rope_base_local=local,
        rope_scaling=_rope_scaling(config) if family == "llama" else None,
        sliding_window=window,
        softcap=softcap,
    )


def _number(config: dict[str, Any], name: str, default: float | None = None) -> float:
    value = config.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
        raise Unusual(f"`{name}` in config.json is {value!r}")
    return value


def _rope_bases(config: dict[str, Any], family: str) -> tuple[float, float | None]:
    """`rope_theta`, of Gemma for the global and the local layers. transformers 5 keeps it in `rope_parameters`."""
    stated = config.get("rope_parameters") or {}
    if family == "gemma3" and not config.get("rope_scaling"):
        if stated:
            full, local = (stated.get(kind) or {} for kind in ("full_attention", "sliding_attention"))
        else:
            full, local = {"rope_theta": config.get("rope_theta")}, {"rope_theta": config.get("rope_local_base_freq")}
        return _rope_base(full), _rope_base(local)
    scaled = config.get("rope_scaling") or {}
    known = dict(scaled or stated)
    if family == "llama" and _rope_type(known) == "llama3":
        known = {name: value for name, value in known.items() if name == "rope_theta"}
    elif scaled:
        raise Unusual("config.json sets `rope_scaling`")
    known.setdefault("rope_theta", config.get("rope_theta"))
    return _rope_base(known), None


def _rope_type(parameters: dict[str, Any]) -> str:
    return str(parameters.get("rope_type") or parameters.get("type") or "default")


def _rope_base(parameters: Any) -> float:
    if not isinstance(parameters, dict) or set(parameters) - {"rope_type", "rope_theta"}:
        raise Unusual(f"`rope_parameters` in config.json is {parameters!r}")
    if _rope_type(parameters) != "default":
        raise Unusual(f"its rotary embedding is of the type {parameters['rope_type']!r}")
    return _number(parameters, "rope_theta")


def _rope_scaling(config: dict[str, Any]) -> RopeScaling | None:
    stated = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if _rope_type(stated) != "llama3":
        return None
    names = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
    if unknown := set(stated) - {*names, "rope_type", "type", "rope_theta"}:
        raise Unusual(f"the rotary embedding in config.json sets {', '.join(sorted(unknown))}")
    scaling = RopeScaling(*(_number(stated, name) for name in names))
    if scaling.low_freq_factor >= scaling.high_freq_factor:
        raise Unusual(f"the rotary embedding in config.json is {stated!r}")
    return scaling
