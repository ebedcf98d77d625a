"""A Llama, Gemma 3 or Qwen 3 and its adapter as a GGUF file in one pass: safetensors in, quantised rows out.

The file is byte for byte the one that merging, llama.cpp's converter and llama-quantize give in three steps with three
copies of the model on disk. Here there is none: keys are written from config.json and the tokenizer's files, rows are
read, merged and packed as they are written. No torch, no transformers; memory for a few times the largest matrix that
the adapter or the rotary embedding changes, and some chunks of rows of the others.

What is out of the ordinary is `Unusual` and left to the carried converters: other architectures, options that are not
known here, rotary embeddings scaled otherwise than Llama 3's, tokenizers that transformers builds in ways of its own.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .artifacts import read_json
from .base import require_extra
from .catalogue import UNQUANTISED
from .gguf_header import GGML_TYPES, GgufHeader, GgufTensor
from .gguf_keys import packed_keys
from .gguf_mixture import FILE_TYPES, TypedTensor, mixture
from .gguf_quants import WeightSource, quantize, write_unquantised
from .merge import lora_pairs, note_changes
from .model_source import ModelSource
from .safetensors_files import model_tensors
from .stream_config import StreamConfig, Unusual, read_config
from .stream_tensors import StreamTensor, plan_tensors
from .stream_vocabulary import write_vocabulary

if TYPE_CHECKING:
    import gguf
    import numpy as np

__all__ = ["Stream", "Unusual", "open_stream"]

_RECORD_BYTES = 160  # name, shape, type, offset and padding of one tensor: at most 63 + 8 + 4 + 2 * 8 + 4 + 8 + 31


@dataclass(frozen=True)
class Stream:
    """A model that is ready to be written in one pass."""

    weights: WeightSource
    tensors: list[StreamTensor]
    adapter: Path | None

    def write(
        self, target: Path, file_type: str, *, importance: "Mapping[str, np.ndarray] | None" = None
    ) -> list[TypedTensor]:
        """Write the file; returns the types of a quantised one. A stream is written once.

        Args:
            importance: as for `quantize`.

        Raises:
            BadRequest: importance weights that do not fit.
            ToolFailed: the adapter changes nothing, or a weight is not finite.
        """
        typed = []
        if file_type in UNQUANTISED:
            write_unquantised(self.weights, target)
        else:
            typed = quantize(self.weights, target, file_type, importance=importance)
        if self.adapter:
            targeted = [tensor for tensor in self.tensors if tensor.pair]
            note_changes(self.adapter, self.changed, len(targeted))
        return typed

    def file_bytes(self, file_type: str) -> int:
        """Size of the file to come, at most some kilobytes too large."""
        if file_type in UNQUANTISED:
            weights = sum(tensor.bytes for tensor in self.weights.header.tensors)
        else:
            weights = sum(item.bytes for item in mixture(self.weights.header, file_type))
        return weights + sum(map(len, self.weights.keys.values())) + _RECORD_BYTES * len(self.weights.header.tensors)

    @property
    def changed(self) -> int:
        """Number of tensors that the adapter changed; known when the file is written."""
        return sum(tensor.changed for tensor in self.tensors)


def open_stream(source: ModelSource, settings: Path, file_type: str) -> Stream:
    """Look at a model and lay out its file; nothing is written and no weight read.

    Args:
        settings: the folder with config.json and tokenizer (see `assemble_settings`); its name becomes the model's.
        file_type: the type to write; what is quantised goes through f16, as in the converters' way.

    Raises:
        Unusual: something that only the carried converters may know; says what.
        BadRequest: the weights or the adapter are damaged or do not fit.
        MissingExtra: a package that exporting needs is not installed.
    """
    require_extra("export", "auto_round", "gguf", "tokenizers")
    import gguf
    import numpy as np

    # Its remarks are for those who write files by hand; a tool's standard error holds events only.
    for name in ("gguf", "metadata"):
        logging.getLogger(name).setLevel(logging.ERROR)
    config = read_config(read_json(settings / "config.json"))
    if config.family == "qwen3" and "rerank" in settings.name:
        raise Unusual("its name says that it ranks texts")
    stored_as = file_type if file_type in UNQUANTISED else "f16"
    pairs = lora_pairs(source.adapter, model_tensors(source.model)) if source.adapter else []
    tensors = plan_tensors(source.model, config, pairs, stored_as, _real_vocabulary(settings, config))
    made: dict[str, np.ndarray[Any, Any]] = {}  # tensors that no safetensors file holds
    if config.rope_scaling:
        made["rope_freqs.weight"] = config.rope_scaling.factors(config.rope_base, config.head_dim)
    listed = [GgufTensor(name, values.shape, GGML_TYPES["F32"], 0) for name, values in made.items()]
    listed += [tensor.gguf for tensor in tensors]
    writer = gguf.GGUFWriter(None, config.family)
    _write_keys(writer, settings, config, listed, FILE_TYPES[stored_as].id)
    by_name = {tensor.gguf.name: tensor for tensor in tensors}
    values = {key: value.value for key, value in writer.kv_data[0].items()}
    header = GgufHeader(settings, 3, 32, values, {}, tuple(listed), 0)

    def read(tensor: GgufTensor, start: int, stop: int) -> "np.ndarray[Any, Any]":
        if tensor.name in made:
            return made[tensor.name].view(np.uint8)
        return by_name[tensor.name].read(start, stop)

    return Stream(WeightSource(header, packed_keys(writer), read), tensors, source.adapter)


def _real_vocabulary(settings: Path, config: StreamConfig) -> int:
    """Tokens that a Gemma has, of which its embeddings may have more rows."""
    if (settings / "tokenizer.model").is_file():
        return config.vocab
    stored = read_json(settings / "tokenizer.json")
    return len(stored["model"]["vocab"]) + len(stored["added_tokens"])


def _write_keys(
    writer: "gguf.GGUFWriter", settings: Path, config: StreamConfig, tensors: list[GgufTensor], file_type: int
) -> None:
    """All keys in the converters' order."""
    import gguf
    import numpy as np

    for tensor in tensors:
        writer.add_tensor_info(tensor.name, tensor.shape[::-1], np.dtype(np.float32), 4 * tensor.weights)
    count, *parts = writer.get_total_parameter_count()
    described = gguf.Metadata.load(None, settings, None, count)
    described.name = described.name or settings.name
    described.size_label = described.size_label or gguf.size_label(count, *parts)
    writer.add_type(gguf.GGUFType.MODEL)
    described.set_gguf_meta_model(writer)
    config.write_keys(writer, file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    write_vocabulary(settings, config, writer)
