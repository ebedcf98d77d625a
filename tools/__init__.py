"""The contract's tools, one module each.

Here each tool is a callable of its name that takes the contract's positional parameters, runs in a process of
its own and returns the typed Result:

    from tunesmith.tools import prepare_dataset
    prepare_dataset("examples/tickets.jsonl", "data/", "train")
"""

if __name__ != "tunesmith.tools":
    raise ImportError(f"this folder is the package `tunesmith.tools`; it was imported as `{__name__}`")

from .registry import TOOLS

__all__ = ["export_gguf", "export_safetensors", "finetune_unsloth", "prepare_dataset", "run_eval"]

# The names below are bound after their modules were imported, so that the package offers the callables.
prepare_dataset = TOOLS["prepare_dataset"].callable()
finetune_unsloth = TOOLS["finetune_unsloth"].callable()
export_gguf = TOOLS["export_gguf"].callable()
export_safetensors = TOOLS["export_safetensors"].callable()
run_eval = TOOLS["run_eval"].callable()
