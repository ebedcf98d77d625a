"""How large a GGUF file will be, from the shapes of the tensors alone: within 1 % of what export_gguf writes."""

import functools
import os
from pathlib import Path

from .artifacts import METADATA, read_json
from .base import BadRequest
from .catalogue import find_base_model
from .gguf_header import GGML_TYPES, GgufHeader, GgufTensor
from .gguf_mixture import FILE_TYPES, mixture
from .locations import is_hub_id, local_path
from .model_shape import ModelTensors, catalogue_tensors, folder_tensors
from .workplace import here

__all__ = ["forecast_bytes", "gguf_bytes", "model_tensors_of"]

_ALIGNMENT = 32  # of each tensor in the file; GGUF_DEFAULT_ALIGNMENT
_KEY_BYTES = 1300  # magic, counts and all keys but the vocabulary and the template; from 1.1 to 1.6 KB
_MAX_BASES = 3  # a run, its base, perhaps a run's merged folder between them


def forecast_bytes(model: str, file_type: str, *, importance: bool = False) -> int | None:
    """Size of the file that an export of `model` would write; None where the shapes or the type are not known.

    Args:
        model: a run folder, a model folder, a catalogue name, or a hub id that was downloaded earlier.
        file_type: such as `q4_k_m`.
        importance: whether an importance matrix guides the packing, which changes a few types.

    >>> round(forecast_bytes("smollm2-135m", "q4_k_m") / 1e6)
    105
    """
    if file_type not in FILE_TYPES:
        return None
    if local_path(model) is None and (entry := find_base_model(model)) is not None:
        return _catalogue_bytes(entry.name, file_type, importance)
    tensors = model_tensors_of(model)
    return gguf_bytes(tensors, file_type, importance=importance) if tensors else None


@functools.cache
def _catalogue_bytes(name: str, file_type: str, importance: bool) -> int | None:
    tensors = catalogue_tensors(name)
    return gguf_bytes(tensors, file_type, importance=importance) if tensors else None


def model_tensors_of(model: str) -> ModelTensors | None:
    """The tensors that an export of `model` writes, or None where they are not known. Fetches nothing.

    An adapter changes no shape, so a run has those of its base.
    """
    from .base_models import local_model

    for _ in range(_MAX_BASES):
        folder = local_model(model)
        if folder is None:
            entry = find_base_model(model)
            if entry is not None:
                return catalogue_tensors(entry.name)
            folder = _downloaded(model)
            return folder_tensors(folder) if folder else None
        folder = here(folder)
        if (folder / "config.json").is_file():
            return folder_tensors(folder)
        base = _base_of(folder)
        if base is None:
            return None
        model = base
    return None


def _base_of(folder: Path) -> str | None:
    for file, key in ((METADATA, "base_model"), ("adapter_config.json", "base_model_name_or_path")):
        try:
            base = read_json(folder / file)[key]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if isinstance(base, str) and base:
            return base
    return None


def _downloaded(hub_id: str) -> Path | None:
    """The snapshot of a hub model in the cache of huggingface_hub (layout: "Understand caching" in its guide)."""
    if not is_hub_id(hub_id):
        return None
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
    folder = cache / f"models--{hub_id.replace('/', '--')}"
    try:
        return folder / "snapshots" / (folder / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None


def gguf_bytes(model: ModelTensors, file_type: str, *, importance: bool = False) -> int | None:
    """Bytes of header and tensors, each tensor in the type that the file's mixture gives it."""
    header = _KEY_BYTES + model.vocabulary_bytes + model.template_bytes
    tensors = []
    for name, shape in model.shapes.items():
        # A record: length and text of the name, number of dimensions, the dimensions, type, offset.
        header += 8 + len(name) + 4 + 8 * len(shape) + 4 + 8
        tensors.append(GgufTensor(name, shape, GGML_TYPES[_stored_type(name, shape, file_type)], 0))
    if FILE_TYPES[file_type].default in ("F32", "F16", "BF16"):
        sizes = [tensor.bytes for tensor in tensors]
    else:
        try:
            sizes = [item.bytes for item in mixture(_header(model, tensors), file_type, importance=importance)]
        except BadRequest:
            return None
    return header + sum(size + -size % _ALIGNMENT for size in sizes)


def _stored_type(name: str, shape: tuple[int, ...], file_type: str) -> str:
    """The type in a file that is not quantised, which is what the mixtures start from: vectors and norms stay F32."""
    if len(shape) < 2 or name.endswith("_norm.weight"):
        return "F32"
    default = FILE_TYPES[file_type].default
    return default if default in ("F32", "F16", "BF16") else "F16"


def _header(model: ModelTensors, tensors: list[GgufTensor]) -> GgufHeader:
    """A header as the 16-bit file would have it, as far as the mixtures look at it."""
    metadata = {
        "general.architecture": model.architecture,
        f"{model.architecture}.block_count": model.layers,
        f"{model.architecture}.attention.head_count": model.heads,
        f"{model.architecture}.attention.head_count_kv": model.kv_heads,
    }
    return GgufHeader(Path(), 3, _ALIGNMENT, metadata, {}, tuple(tensors), 0)
