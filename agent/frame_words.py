"""The words of a frame's text: for tools, for their parameters, for the values that are no names."""

from tunesmith.tools.catalogue import ADAPTER_TYPE, BASE_MODELS, QUANTIZATIONS
from tunesmith.tools.registry import TOOLS

from .keys import BASE, CHECKPOINT, EVAL_SET, QUANTIZATION, TARGETS
from .lexicon import field_types
from .phrases import EVAL_SETS

__all__ = ["LAYERS", "TOOLS_AS", "choices", "key_of", "keys"]

TOOLS_AS = {
    tool: {
        "prepare_dataset": "prepare",
        "finetune_unsloth": "train",
        "export_gguf": "export",
        "export_safetensors": "merge",
        "run_eval": "eval",
    }.get(tool, tool)
    for tool in TOOLS
}
"""Tool -> the word for it."""

# Parameters that have a word shorter than their name.
_SHORT = {
    "prepare_dataset.source": "data",
    "prepare_dataset.output_dir": "to",
    "prepare_dataset.heldout_fraction": "heldout",
    "prepare_dataset.on_bad_rows": "bad",
    "prepare_dataset.allow_private_hosts": "private",
    "finetune_unsloth.base_model": "base",
    "finetune_unsloth.dataset": "prepared",
    "finetune_unsloth.learning_rate": "lr",
    "finetune_unsloth.lora_r": "rank",
    "finetune_unsloth.lora_alpha": "alpha",
    "finetune_unsloth.batch_size": "batch",
    "finetune_unsloth.max_seq_length": "length",
    "finetune_unsloth.max_steps": "steps",
    "finetune_unsloth.warmup_steps": "warmup",
    "finetune_unsloth.weight_decay": "decay",
    "finetune_unsloth.target_modules": "targets",
    "finetune_unsloth.output_dir": "to",
    "export_gguf.checkpoint_dir": "from",
    "export_gguf.quantization": "type",
    "export_gguf.output_file": "to",
    "export_gguf.check_fidelity": "check",
    "export_safetensors.checkpoint_dir": "from",
    "export_safetensors.output_dir": "to",
    "run_eval.gguf_file": "file",
    "run_eval.eval_set": "on",
    "run_eval.data_dir": "copies",
    "run_eval.chat_template": "template",
}

LAYERS = {
    "attention": ["q_proj", "k_proj", "v_proj", "o_proj"],
    "mlp": ["gate_proj", "up_proj", "down_proj"],
    "linear": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}
"""Words for the layers that get LoRA matrices."""


def keys(tool: str) -> dict[str, str]:
    """The words for a tool's parameters -> `tool.parameter`, in the order of the tool's Input model.

    >>> list(keys("run_eval"))
    ['file', 'on', 'limit', 'copies', 'template']
    """
    return {_SHORT.get(f"{tool}.{name}", name): f"{tool}.{name}" for name in TOOLS[tool].input.model_fields}


def key_of(key: str) -> str:
    """The word for a parameter `tool.parameter`, within its tool's section.

    >>> key_of("finetune_unsloth.learning_rate")
    'lr'
    """
    return _SHORT.get(key, key.split(".")[1])


def choices(key: str) -> tuple[str, ...]:
    """The words that a parameter takes beside names of the request; empty for a number or a free text.

    >>> choices("finetune_unsloth.quant"), choices("prepare_dataset.streaming")
    (('16bit', '8bit', '4bit'), ('yes', 'no'))
    """
    if key in (BASE, CHECKPOINT, "export_safetensors.checkpoint_dir", "prepare_dataset.tokenizer"):
        return tuple(BASE_MODELS)
    if key == QUANTIZATION:
        return (*QUANTIZATIONS, ADAPTER_TYPE)
    if key == EVAL_SET:
        return tuple(EVAL_SETS)
    if key == TARGETS:
        return tuple(LAYERS)
    kinds = field_types(key)
    if bool in kinds:
        return ("yes", "no")
    return tuple(value for kind in kinds for value in getattr(kind, "__args__", ()) if isinstance(value, str))
