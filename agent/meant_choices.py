"""Which words of the catalogue a text can mean: nobody means `gemma3-270m` who has not said 270.

A language model that picks among all base models, file types and evaluation sets might pick one that nobody asked
for. What is left here leaves it the spellings and takes the inventions.
"""

import functools
import re
import unicodedata

from tunesmith.tools.catalogue import ADAPTER_TYPE, BASE_MODELS

from .frame_words import choices
from .keys import BASE, CHECKPOINT, EVAL_SET, QUANTIZATION
from .number_words import number_spans, read_number
from .phrases import EVAL_SETS
from .words import family_members

__all__ = ["families", "meant"]

_NAMING_A_MODEL = {BASE, CHECKPOINT, "export_safetensors.checkpoint_dir", "prepare_dataset.tokenizer"}
_TELLING = 3  # letters by which an evaluation set is known, however it goes on


def meant(key: str, text: str) -> list[str]:
    """The choices of a parameter that a text can mean.

    >>> meant("finetune_unsloth.base_model", "Qwen mit 0,6B, oder Mistral")
    ['qwen3-0.6b', 'mistral-7b']
    >>> meant("export_gguf.quantization", "acht Bit")
    ['q8_0', 'lora']
    >>> meant("run_eval.eval_set", "on helaswag and ARC")
    ['heldout', 'arc_challenge', 'arc_easy', 'hellaswag']
    """
    if key in _NAMING_A_MODEL:
        return [name for name in BASE_MODELS if _names_model(name, text)]
    if key == QUANTIZATION:
        said = _numbers(text)
        return [name for name in choices(key) if name == ADAPTER_TYPE or said & set(re.findall(r"\d+", name)[:1])]
    if key == EVAL_SET:
        lowered = text.casefold()
        return [name for name, starts in _starts().items() if name == "heldout" or any(s in lowered for s in starts)]
    return list(choices(key))


@functools.cache
def families() -> tuple[str, ...]:
    """Families of base models, with and without a version: `llama3.2`, `llama3`, `llama`."""
    heads = [name.rsplit("-", 1)[0] for name in BASE_MODELS]
    heads += [re.sub(r"\.\d+$", "", head) for head in heads]
    return tuple(dict.fromkeys(heads + [re.sub(r"[\d.]+$", "", head) for head in heads]))


def _names_model(name: str, text: str) -> bool:
    """Whether a model's size stands in the text, or its family, where that has one size only."""
    head, size = name.rsplit("-", 1)
    number = re.sub(r"[a-z]+$", "", size)
    if not number:
        return size in text.casefold() or head.rstrip("0123456789.") in text.casefold()
    letters = head.rstrip("0123456789.")
    alone = letters in text.casefold() and any(len(family_members(one)) == 1 for one in (head, letters))
    return alone or number in _numbers(text)


@functools.lru_cache(maxsize=8)
def _numbers(text: str) -> frozenset[str]:
    """The numbers of a text as digits with a point, those inside of names too."""
    plain = unicodedata.normalize("NFKC", text).replace(",", ".")
    found = set(re.findall(r"\d+(?:\.\d+)?", plain)) | set(re.findall(r"\d+", plain))
    found |= set(re.findall(r"[qQ](\d)", plain))  # `Q80` is a spelling of q8_0
    for span in number_spans(text):
        value = read_number(span)
        found |= {f"{value:g}", f"{value / 1e6:g}", f"{value / 1e9:g}"}
    return frozenset(found)


@functools.cache
def _starts() -> dict[str, frozenset[str]]:
    """Evaluation set -> how its names and those that people give it begin."""
    named = {name: f"{name.replace('_', ' ')}, {text}".split(", ") for name, text in EVAL_SETS.items()}
    return {
        name: frozenset(re.sub(r"\W", "", phrase.split()[0])[:_TELLING] for phrase in phrases)
        for name, phrases in named.items()
    }
