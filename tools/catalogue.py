"""Names that need no address: base models, data sets and quantisation types. One declaration each."""

import re
from dataclasses import dataclass
from typing import Literal, get_args

__all__ = [
    "ADAPTER_TYPE",
    "BASE_MODELS",
    "DATASETS",
    "LOAD_PRECISION",
    "QUANTIZATIONS",
    "UNQUANTISED",
    "BaseModelEntry",
    "FileType",
    "find_base_model",
    "learning_rate_for",
]


@dataclass(frozen=True)
class BaseModelEntry:
    """One base model of the catalogue.

    `parameters` counts every weight, embeddings included; `learning_rate` is the LoRA default for `sft`, None
    for the general one.
    """

    name: str
    hub_id: str
    parameters: int
    learning_rate: float | None = None


# Hub ids are ungated copies, so that no account is needed. Parameter counts: the models' own cards and
# safetensors indices; they size the memory and disk estimates only.
_ENTRIES = (
    BaseModelEntry("smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct", 134_515_008, 1e-3),
    BaseModelEntry("smollm2-360m", "HuggingFaceTB/SmolLM2-360M-Instruct", 361_821_120),
    BaseModelEntry("smollm2-1.7b", "HuggingFaceTB/SmolLM2-1.7B-Instruct", 1_711_376_384),
    BaseModelEntry("gemma3-270m", "unsloth/gemma-3-270m-it", 268_098_176, 5e-5),
    BaseModelEntry("gemma3-1b", "unsloth/gemma-3-1b-it", 999_885_952),
    BaseModelEntry("gemma3-4b", "unsloth/gemma-3-4b-it", 4_300_079_472),
    BaseModelEntry("llama3.2-1b", "unsloth/Llama-3.2-1B-Instruct", 1_235_814_400),
    BaseModelEntry("llama3.2-3b", "unsloth/Llama-3.2-3B-Instruct", 3_212_749_824),
    BaseModelEntry("llama3.1-8b", "unsloth/Meta-Llama-3.1-8B-Instruct", 8_030_261_248),
    BaseModelEntry("qwen3-0.6b", "unsloth/Qwen3-0.6B", 596_049_920),
    BaseModelEntry("qwen3-1.7b", "unsloth/Qwen3-1.7B", 1_720_574_976),
    BaseModelEntry("qwen3-4b", "unsloth/Qwen3-4B", 4_022_468_096),
    BaseModelEntry("qwen3-8b", "unsloth/Qwen3-8B", 8_190_735_360),
    BaseModelEntry("mistral-7b", "unsloth/mistral-7b-instruct-v0.3", 7_248_023_552),
    BaseModelEntry("phi4-mini", "unsloth/Phi-4-mini-instruct", 3_836_021_760),
)
BASE_MODELS = {entry.name: entry for entry in _ENTRIES}

# Data sets by bare name -> hub id.
DATASETS = {
    "alpaca_cleaned": "yahma/alpaca-cleaned",
}

# fmt: off
FileType = Literal[
    "f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q5_k_s", "q5_0", "q4_k_m", "q4_k_s", "q4_0", "q3_k_m", "q2_k"
]
# fmt: on
QUANTIZATIONS: tuple[str, ...] = get_args(FileType)
"""GGUF file types that export_gguf writes, from largest to smallest."""

UNQUANTISED = ("f32", "f16", "bf16")
"""Types that hold every weight by itself, as a converter writes them; the others are quantised from f16."""

ADAPTER_TYPE = "lora"
"""What `export_gguf` takes beside the types of models: the adapter alone, for llama.cpp's `--lora`."""

LOAD_PRECISION = {
    **dict.fromkeys(("f32", "f16", "bf16"), "16bit"),
    "q8_0": "8bit",
    **{name: "4bit" for name in QUANTIZATIONS if name[1] in "65432" and name.startswith("q")},
}
"""GGUF file type -> the precision in which `finetune_unsloth` loads the base. Nothing between 4 and 8 bit can be
loaded for training, so q6_k and q5_* load in 4 bit as well."""


def find_base_model(name: str) -> BaseModelEntry | None:
    """The catalogue entry for a name as people write it, or None.

    Case, spaces, colons, dashes and the suffixes `it`, `instruct`, `chat` do not matter; a hub id or a path is
    never matched.

    >>> find_base_model("Gemma3:270M").name
    'gemma3-270m'
    >>> find_base_model("Llama-3.2 1B Instruct").name
    'llama3.2-1b'
    >>> find_base_model("unsloth/gemma-3-270m-it") is None
    True
    """
    if "/" in name or "\\" in name:
        return None
    return _BY_KEY.get(_key(name))


def _key(name: str) -> str:
    bare = re.sub(r"[\s:_()-]+", "", name.lower())
    return re.sub(r"(it|instruct|chat)(v[\d.]+)?$", "", bare)


_BY_KEY = {_key(entry.name): entry for entry in _ENTRIES}

_SFT_LEARNING_RATE = 2e-4
_DPO_LEARNING_RATE = 5e-6


def learning_rate_for(base_model: str, method: str) -> float:
    """Default peak learning rate of a LoRA run.

    >>> learning_rate_for("gemma3-270m", "sft"), learning_rate_for("some/model", "sft")
    (5e-05, 0.0002)
    >>> learning_rate_for("gemma3-270m", "dpo")
    5e-06
    """
    if method == "dpo":
        return _DPO_LEARNING_RATE
    entry = find_base_model(base_model)
    return (entry and entry.learning_rate) or _SFT_LEARNING_RATE
