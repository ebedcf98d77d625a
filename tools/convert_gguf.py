"""A Hugging Face model folder as one GGUF file in 32 or 16 bits, by the llama.cpp converters that auto-round carries.

The converters are a package of their own, `conversion`, that wants only torch, transformers and gguf. It is loaded
without auto-round around it, whose own import takes ten seconds more and looks for updates on the network.
"""

import functools
import importlib
import importlib.util
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from .base import BadRequest, ToolFailed, require_extra

__all__ = ["convert_to_gguf", "converter_sources"]

# What a converter raises over a config or tokenizer that it does not expect. An OSError keeps its meaning: the disk.
_CONVERTER_ERRORS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)

_FILE_TYPES = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16"}


def convert_to_gguf(model_dir: Path, target: Path, file_type: str) -> None:
    """Write `target` from a folder of config.json, safetensors and tokenizer files.

    The folder's name becomes the model's name in the file. It must hold no pickles and ask for no code of its own
    (`auto_map`): the converters would trust it.

    Args:
        file_type: f32, f16 or bf16, for matrices; vectors stay f32.

    Raises:
        BadRequest: an architecture that llama.cpp's converters do not know.
        ToolFailed: the converter stopped; says why.
    """
    require_extra("export", "auto_round", "gguf", "torch", "transformers")
    import gguf

    converters = _converters()
    try:
        hyperparameters = converters.ModelBase.load_hparams(model_dir, False)
        architecture = converters.get_model_architecture(hyperparameters, converters.ModelType.TEXT)
        converter = converters.get_model_class(architecture)
        if isinstance(converter.model_arch, _Unknown):
            raise NotImplementedError(f"gguf does not know {converter.model_arch.name}")
    except NotImplementedError as error:
        named = json.loads((model_dir / "config.json").read_text(encoding="utf-8")).get("architectures")
        raise BadRequest(
            f"models of the architecture {' or '.join(named or ['(none named)'])} cannot be converted to GGUF: "
            "llama.cpp's converters do not know it"
        ) from error
    try:
        converter(model_dir, getattr(gguf.LlamaFileType, _FILE_TYPES[file_type]), target).write()
    except _CONVERTER_ERRORS as error:
        raise ToolFailed(
            f"llama.cpp's converter for {architecture} stopped: {type(error).__name__}: {error}"
        ) from error


def converter_sources() -> Path:
    """The folder of the converters' own source files.

    Raises:
        MissingExtra: auto-round is not installed.
        ToolFailed: it is, without the converters.
    """
    require_extra("export", "auto_round")
    spec = importlib.util.find_spec("auto_round")
    assert spec is not None
    root = Path(str(spec.origin)).parent
    folder = root / "export" / "export_to_gguf" / "conversion"
    if not (folder / "__init__.py").is_file():
        raise ToolFailed(f"`{root}` carries no llama.cpp converters; install auto-round==0.16.1")
    return folder


@functools.cache
def _converters() -> ModuleType:
    """The package `conversion` inside auto-round, with stand-ins for the two packages above its one outside import."""
    sources = converter_sources()
    folder, root = sources.parent, sources.parents[2]
    _name_what_gguf_lacks(sources)
    parents: dict[str, Any] = {}
    for name, path in (("auto_round", root), ("auto_round.utils", root / "utils")):
        if name not in sys.modules:
            parents[name] = ModuleType(name)
            parents[name].__path__ = [str(path)]
    sys.modules.update(parents)
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module("conversion")
    finally:
        sys.path.remove(str(folder))
        for name in parents:
            del sys.modules[name]


def _name_what_gguf_lacks(sources: Path) -> None:
    """Give `gguf` a placeholder for each architecture and tensor that only the newer converters know.

    The converters are ahead of the newest `gguf` on the registry, and one module holds many: without the name of a
    model that nobody converts here, all of its neighbours (Qwen 3 among them) could not be imported.
    """
    import gguf

    for file in sources.glob("*.py"):
        for kind, name in re.findall(
            r"\bgguf\.(MODEL_ARCH|MODEL_TENSOR)\.([A-Z0-9_]+)", file.read_text(encoding="utf-8")
        ):
            if not hasattr(getattr(gguf, kind), name):
                setattr(getattr(gguf, kind), name, _Unknown(name))


@dataclass(frozen=True)
class _Unknown:
    """An architecture or tensor that the installed `gguf` does not know."""

    name: str
