"""A model as transformers and peft compute it: in float32 on the CPU, the adapter unmerged."""

from pathlib import Path
from typing import Any

from .base import ToolFailed, require_extra
from .safetensors_files import model_tensors

__all__ = ["adapted", "load_float32"]

_GIB = 2**30
_SPARE = 0.25
"""Share of the free memory that is left alone."""

# What transformers and peft raise over a config, tensors or an adapter that they do not expect.
_LOADING_ERRORS = (AttributeError, ImportError, LookupError, OSError, RuntimeError, TypeError, ValueError)


def load_float32(folder: Path) -> Any:
    """The model of a folder, ready to compute.

    Raises:
        MissingExtra: torch or transformers is not installed.
        ToolFailed: it does not fit the free memory, or transformers does not know it; says which.
    """
    require_extra("export", "torch", "transformers")
    import psutil

    weights = sum(tensor.bytes // {"F32": 4}.get(tensor.dtype, 2) for tensor in model_tensors(folder).values())
    free = psutil.virtual_memory().available * (1 - _SPARE)
    if 4 * weights > free:
        raise ToolFailed(
            f"its {weights / 1e9:.1f} billion weights take {4 * weights / _GIB:.0f} GiB in float32, and "
            f"{free / _GIB:.0f} GiB of memory are free for that"
        )
    import torch
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(
            str(folder), dtype=torch.float32, local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
    except _LOADING_ERRORS as error:
        raise ToolFailed(f"transformers cannot load it: {type(error).__name__}: {error}") from error
    return model.eval()


def adapted(model: Any, adapter: Path) -> Any:
    """The model with a LoRA adapter beside its weights, as peft computes it.

    Raises:
        MissingExtra: peft is not installed.
        ToolFailed: peft cannot load the adapter.
    """
    require_extra("train", "peft")
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, str(adapter), is_trainable=False).eval()
    except _LOADING_ERRORS as error:
        raise ToolFailed(f"peft cannot load the adapter: {type(error).__name__}: {error}") from error
