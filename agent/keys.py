"""The parameters that the planner speaks of by name, as `tool.parameter`."""

__all__ = [
    "BASE",
    "CHECKPOINT",
    "DATASET",
    "DATA_DIR",
    "EVAL_SET",
    "GGUF_FILE",
    "LEARNING_RATE",
    "METHOD",
    "OUTPUT_FILE",
    "QUANT",
    "QUANTIZATION",
    "SOURCE",
    "TARGETS",
    "TOKENIZER",
]

SOURCE = "prepare_dataset.source"
TOKENIZER = "prepare_dataset.tokenizer"
BASE = "finetune_unsloth.base_model"
DATASET = "finetune_unsloth.dataset"
LEARNING_RATE = "finetune_unsloth.learning_rate"
METHOD = "finetune_unsloth.method"
QUANT = "finetune_unsloth.quant"
TARGETS = "finetune_unsloth.target_modules"
CHECKPOINT = "export_gguf.checkpoint_dir"
QUANTIZATION = "export_gguf.quantization"
OUTPUT_FILE = "export_gguf.output_file"
GGUF_FILE = "run_eval.gguf_file"
EVAL_SET = "run_eval.eval_set"
DATA_DIR = "run_eval.data_dir"
