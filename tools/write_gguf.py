"""Write a model and its adapter as one GGUF file.

In one pass where the model is a usual one (stream_gguf.py), else by llama.cpp's converters, step by step.
"""

import shutil
from pathlib import Path

from .base import ToolFailed, note
from .catalogue import UNQUANTISED
from .convert_gguf import convert_to_gguf
from .gguf_mixture import remark_on
from .gguf_quants import quantize_file
from .model_source import ModelSource, assemble, assemble_settings
from .safetensors_files import model_tensors
from .stream_gguf import Unusual, open_stream

__all__ = ["write_gguf"]


def write_gguf(source: ModelSource, quantization: str, model_dir: Path, target: Path) -> str | None:
    """Write `target` and return a remark on its size, where one is due.

    Args:
        model_dir: a new folder, which holds the model's config and tokenizer afterwards; its name becomes the
            model's name in the file. What the converters need on disk stands in it and beside it.

    Raises:
        BadRequest: the weights or the adapter are damaged or do not fit, or no converter knows the architecture.
        ToolFailed: no disk space, an adapter that changes nothing, weights that are not finite, a stopped converter.
    """
    assemble_settings(source, model_dir)
    try:
        stream = open_stream(source, model_dir, quantization)
    except Unusual as reason:
        note(f"llama.cpp's own converter takes this model, because {reason}")
        shutil.rmtree(model_dir)
        return _write_by_converter(source, quantization, model_dir, target)
    _check_disk(source, quantization, target.parent, stream.file_bytes(quantization))
    typed = stream.write(target, quantization)
    if source.adapter:
        note(f"merged the adapter into {stream.changed} tensors of {source.base_model}")
    return remark_on(typed, quantization) if typed else None


def _write_by_converter(source: ModelSource, quantization: str, model_dir: Path, target: Path) -> str | None:
    """What `write_gguf` does, for every architecture that llama.cpp knows."""
    tensors = model_tensors(source.model).values()
    stored = sum(tensor.bytes for tensor in tensors)
    weights = sum(tensor.bytes // {"F32": 4}.get(tensor.dtype, 2) for tensor in tensors)
    merged = stored if source.adapter else 0
    # A quantised file is at most q8_0, 8.5 bits a weight, and stands beside the f16 file that it is made from.
    written = {"f32": 4 * weights, "f16": 2 * weights, "bf16": 2 * weights}.get(
        quantization, 2 * weights + weights * 17 // 16
    )
    _check_disk(source, quantization, target.parent, merged + written + 64 * 2**20)  # vocabulary and metadata
    changed = assemble(source, model_dir, link=True)
    if source.adapter:
        note(f"merged the adapter into {changed} tensors of {source.base_model}")
    if quantization in UNQUANTISED:
        convert_to_gguf(model_dir, target, quantization)
        return None
    between = model_dir.parent / "f16.gguf"
    convert_to_gguf(model_dir, between, "f16")
    typed = quantize_file(between, target, quantization)
    between.unlink()
    return remark_on(typed, quantization)


def _check_disk(source: ModelSource, quantization: str, folder: Path, needed: int) -> None:
    """Refuse at once where the disk of `folder` cannot hold what the export writes at the same time."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ToolFailed(
            f"exporting `{source.name}` as {quantization} takes {needed / 1e9:.2f} GB in `{folder}`, and "
            f"{free / 1e9:.2f} GB are free; make room or name an `output_file` on another disk"
        )
