"""Load a base model for training with Unsloth, on a GPU or on the CPU, in 16, 8 or 4 bit."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .base import BadRequest, note, require_extra
from .base_models import cache_dir

__all__ = ["Device", "add_lora", "import_unsloth", "load_model"]

_PACKAGES = ("unsloth", "torch", "transformers", "trl", "peft", "datasets", "bitsandbytes", "matplotlib")


@dataclass(frozen=True)
class Device:
    """What the training runs on. `bf16` is whether it computes in bfloat16."""

    kind: str
    name: str
    bf16: bool


def import_unsloth() -> Device:
    """Import unsloth, which must come before transformers and trl, and say what it found.

    Raises:
        MissingExtra: a package of the training stack is not installed.
    """
    require_extra("train", *_PACKAGES)
    # With a CPU-only torch the matching torchvision may fail to load; language models do not need it.
    os.environ.setdefault("UNSLOTH_SKIP_TORCHVISION_CHECK", "1")
    # A thread that waits for another spins a moment before it sleeps: a quarter faster on two idle cores than sleeping
    # at once, while OpenMP's own long spinning makes the same work several times slower where anything else runs.
    # Read when torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # Compiled kernels go to the cache, not into the working folder.
    os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(_compile_folder()))
    os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")
    # Everything is on this disk by now; nothing below may ask a hub.
    os.environ["HF_HUB_OFFLINE"] = "1"
    # TRL refuses to spread one process over several GPUs.
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    import unsloth  # noqa: F401  # isort: skip
    import huggingface_hub.constants
    import torch

    huggingface_hub.constants.HF_HUB_OFFLINE = True  # it was imported earlier where a model came from the hub
    if torch.cuda.is_available():
        return Device("cuda", torch.cuda.get_device_name(0), torch.cuda.is_bf16_supported())
    from unsloth import is_bfloat16_supported

    return Device("cpu", _processor_name(), is_bfloat16_supported())


def _compile_folder() -> Path:
    folder = cache_dir() / "unsloth"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="tunesmith-unsloth-"))
    return folder


def _processor_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    import platform

    return platform.processor() or platform.machine()


def load_model(
    folder: Path, device: Device, *, quant: str, full: bool, max_seq_length: int, recompute: bool, model_type: str
) -> Any:
    """The model, ready for `add_lora` or, with `full`, for training every weight.

    Args:
        quant: 16bit, 8bit or 4bit.
        max_seq_length: in tokens.
        recompute: save memory by computing activations a second time for the gradients.
        model_type: of config.json.
    """
    import torch
    from unsloth import FastLanguageModel

    if device.kind == "cpu" and quant == "8bit":
        return _load_8bit_on_cpu(folder, device, max_seq_length=max_seq_length)
    options: dict[str, Any] = {}
    dtype = torch.bfloat16 if device.bf16 else None
    if full:
        # Weights in bfloat16 would swallow small updates: its steps near 1 are 2 ** -8.
        if device.kind == "cpu":
            dtype = torch.float32
        else:
            options["float32_mixed_precision"] = True
    elif dtype is None and model_type.startswith("gemma3"):
        dtype = torch.float32  # Gemma 3's activations leave float16's range
    model, _ = FastLanguageModel.from_pretrained(
        model_name=str(folder),
        max_seq_length=max_seq_length,
        dtype=dtype,
        load_in_4bit=quant == "4bit",
        load_in_8bit=quant == "8bit",
        full_finetuning=full,
        use_gradient_checkpointing=_checkpointing(device, recompute),
        trust_remote_code=False,
        **options,
    )
    if quant == "4bit" and not any(type(part).__name__ == "Linear4bit" for part in model.modules()):
        note("the base is loaded in 16 bit: 4 bit does not work for this model on this processor")
    return model


def _checkpointing(device: Device, recompute: bool) -> Any:
    return "unsloth" if device.kind == "cuda" else recompute


def _load_8bit_on_cpu(folder: Path, device: Device, *, max_seq_length: int) -> Any:
    """Unsloth's CPU back end has 16 and 4 bit only; bitsandbytes itself computes with int8 weights on a CPU too."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    model = AutoModelForCausalLM.from_pretrained(
        folder,
        quantization_config=BitsAndBytesConfig(load_in_8bit=True),
        dtype=torch.bfloat16 if device.bf16 else torch.float32,
        device_map="cpu",
        trust_remote_code=False,
    )
    from unsloth_zoo.cpu.ops import patch_chunked_causal_lm_loss  # type: ignore[import-untyped]

    patch_chunked_causal_lm_loss(model)
    model.max_seq_length = max_seq_length
    return model


def add_lora(
    model: Any, device: Device, *, r: int, alpha: int, target_modules: tuple[str, ...], seed: int, recompute: bool
) -> Any:
    """The model with LoRA matrices on its linear layers, ready for training.

    Raises:
        BadRequest: none of `target_modules` is in the model; names those that are.
    """
    import torch
    from unsloth import FastLanguageModel

    linear = {name.rsplit(".", 1)[-1] for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)}
    # Some architectures keep these projections in one matrix; Unsloth finds it by the split names.
    fused = {"qkv_proj": {"q_proj", "k_proj", "v_proj"}, "gate_up_proj": {"gate_proj", "up_proj"}}
    known = linear.union(*(names for name, names in fused.items() if name in linear))
    missing = [name for name in target_modules if name not in known]
    if missing:
        raise BadRequest(
            f"`target_modules` names {', '.join(f'`{name}`' for name in missing)}, which the model does not have; "
            f"its linear layers are {', '.join(sorted(linear - {'lm_head'}))}"
        )
    tuned = FastLanguageModel.get_peft_model(
        model,
        r=r,
        target_modules=list(target_modules),
        lora_alpha=alpha,
        lora_dropout=0,
        bias="none",
        use_gradient_checkpointing=_checkpointing(device, recompute),
        random_state=seed,
    )
    share = sum(weight.numel() for weight in tuned.parameters() if weight.requires_grad)
    note(f"training {share:,} LoRA weights of rank {r}")
    return tuned
