"""What the planner says without a plan, by name: so that a language model chooses an answer and words none."""

import functools

from tunesmith.tools.catalogue import BASE_MODELS, DATASETS, QUANTIZATIONS
from tunesmith.tools.registry import TOOLS

from .lexicon import NUMERIC
from .ranges import wanted_range

__all__ = ["ASKS", "CHATS", "HELP", "REFUSALS", "about_parameter", "about_tool", "unclear_value"]

HELP = (
    "I prepare data, fine-tune language models, export them to GGUF or safetensors, and measure them. For example: "
    "Fine-tune smollm2-135m on examples/tickets.jsonl for 2 epochs, export q4_k_m and evaluate it"
)

REFUSALS = {
    "topic": f"That is nothing I can do. {HELP}",
    "shell": "I run no shell commands and delete nothing; tell me what to train, export or evaluate",
    "delete": "I delete and overwrite nothing; remove files yourself, and tell me what to train, export or evaluate",
    "harm": "I do not help to build a model for harm; tell me about another use",
    "method": "I train by `sft` on conversations or by `dpo` on preference pairs; say which",
    "format": f"I export to GGUF ({', '.join(QUANTIZATIONS)}) and safetensors, and to no other format",
    "media": "I fine-tune language models on text only; name a base model such as smollm2-135m and a data set of text",
}
"""Why a message makes no plan."""

CHATS = {
    "hello": f"Hello. {HELP}",
    "thanks": "You are welcome",
    "help": HELP,
    "models": f"Base models: {', '.join(BASE_MODELS)}; any hub id such as org/name or a local model folder works too",
    "data": f"Data: {', '.join(DATASETS)}, a hub id such as org/name, a local file or folder (jsonl, json, csv, "
    "parquet, arrow, txt), or an https://, s3:// or gs:// address",
    "types": f"GGUF types: {', '.join(QUANTIZATIONS)}",
    "sets": "Evaluation sets: heldout, any lm-eval task such as hellaswag or mmlu, a folder of lm-eval tasks, "
    "or a .jsonl file",
    "tools": f"Tools: {', '.join(TOOLS)}",
    "results": "`tunesmith runs` lists what ran, `tunesmith show ID` tells its results",
}
"""Answers to small talk and to questions about the tools."""

ASKS = {
    "what": f"What shall I do? {HELP}",
    "which": "Which parameter do you mean? Name it with its value",
}
"""Questions that are about no parameter."""


@functools.cache
def about_tool(tool: str) -> str:
    """Which parameters a tool takes."""
    return f"`{tool}` takes {', '.join(TOOLS[tool].input.model_fields)}; `tunesmith tools {tool} --help` describes them"


@functools.cache
def about_parameter(key: str) -> str:
    """What a parameter `tool.parameter` is and takes."""
    tool, name = key.split(".")
    return f"`{name}` of {tool}: {TOOLS[tool].input.model_fields[name].description}; it takes {wanted_range(key)}"


@functools.cache
def unclear_value(key: str) -> str:
    """The question for a parameter that is spoken of without a clear value.

    >>> unclear_value("finetune_unsloth.epochs")
    'What value shall `epochs` have? Say a number, such as `epochs=...`'
    """
    name = key.split(".")[1]
    if key in NUMERIC:
        return f"What value shall `{name}` have? Say a number, such as `{name}=...`"
    return f"What value shall `{name}` have? It takes {wanted_range(key)}"
