"""LoRA adapters of random numbers for a model folder, as peft writes them."""

import json
from pathlib import Path
from typing import Any

__all__ = ["LINEAR_LAYERS", "write_adapter"]

LINEAR_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def write_adapter(
    folder: Path,
    base: Path,
    *,
    rank: int = 4,
    layers: tuple[str, ...] = LINEAR_LAYERS,
    size: float = 0.2,
    named_base: str | None = None,
    **config: Any,
) -> Path:
    """Write adapter_config.json and adapter_model.safetensors; `size` 0 makes an adapter that changes nothing."""
    import numpy as np
    from safetensors.numpy import save_file
    from tunesmith.tools.safetensors_files import model_tensors

    folder.mkdir(parents=True)
    random = np.random.default_rng(5)
    tensors = {}
    for name, tensor in model_tensors(base).items():
        module = name.removesuffix(".weight")
        if module.rsplit(".", 1)[-1] not in layers:
            continue
        rows, columns = tensor.shape
        prefix = f"base_model.model.{module}"
        tensors[f"{prefix}.lora_A.weight"] = (random.standard_normal((rank, columns)) * size).astype(np.float32)
        tensors[f"{prefix}.lora_B.weight"] = (random.standard_normal((rows, rank)) * size).astype(np.float32)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    written = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": named_base or str(base),
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": list(layers),
        "bias": "none",
        **config,
    }
    (folder / "adapter_config.json").write_text(json.dumps(written))
    return folder
