"""The planner's questions: what is missing, and what would work."""

import difflib
import re

from tunesmith.tools.catalogue import BASE_MODELS, DATASETS, QUANTIZATIONS

from .words import family_members, quantizations_like

__all__ = ["missing", "suggested", "unknown_model", "unknown_quantization"]

_DATA = f"a file (jsonl, json, csv, parquet, arrow, txt), a hub id such as org/name, or {', '.join(DATASETS)}"
_MODELS = f"one of {', '.join(BASE_MODELS)}, a hub id such as org/name, or a local model folder"


def missing(key: str, *, both: bool = False, family: str | None = None) -> str:
    """The question for a parameter without a value. `family` is a base model's, where it leaves several."""
    if family:
        return unknown_model(family) + (f"; and on which data? Name {_DATA}" if both else "")
    if both:
        return f"Which base model, on which data? Name {_MODELS}; and {_DATA}"
    return {
        "prepare_dataset.source": f"Which data? Name {_DATA}",
        "finetune_unsloth.base_model": f"Which base model? Name {_MODELS}",
        "export_gguf.checkpoint_dir": "Export what? Name a run folder such as runs/NAME, a model folder, a hub id or a "
        "catalogue model",
        "run_eval.gguf_file": "Evaluate which model? Name a .gguf file, or a run folder to export first",
    }[key]


def unknown_model(name: str) -> str:
    """The question for a family that has several members, or for a name that is no model of the catalogue.

    >>> unknown_model("llama3.2")
    'Which `llama3.2` model? llama3.2-1b, llama3.2-3b'
    >>> unknown_model("gema3-270m").split("?")[0]
    'Did you mean `gemma3-270m`'
    """
    letters = name.split("-")[0]
    members = family_members(letters)
    if len(members) > 1 and "-" not in name:
        return f"Which `{name}` model? {', '.join(members)}"
    related = members or family_members(letters.rstrip("0123456789."))
    if related:
        return (
            f"`{name}` is not in the catalogue; of its family there are {', '.join(related)}; "
            "any hub id such as org/name works too"
        )
    families = {entry.rsplit("-", 1)[0]: family_members(entry.rsplit("-", 1)[0]) for entry in BASE_MODELS}
    close = difflib.get_close_matches(name.lower(), [*BASE_MODELS, *families], n=1, cutoff=0.75)
    meant = [one for found in close for one in families.get(found, [found])]
    if meant:
        names = " or ".join(f"`{one}`" for one in meant)
        return f"Did you mean {names}? `{name}` is not in the catalogue, no hub id such as org/name and no folder here"
    return f"`{name}` is not in the catalogue, no hub id and no folder here; name {_MODELS}"


def suggested(question: str) -> str | None:
    """The one name that a question offers, so that a yes answers it.

    >>> suggested(unknown_model("gema3-270m")), suggested(unknown_model("llama3.2"))
    ('gemma3-270m', None)
    """
    match = re.match(r"Did you mean `([^`]+)`\?", question)
    return match[1] if match else None


def unknown_quantization(name: str) -> str:
    """The question for a GGUF type that is unknown, or that several types begin with.

    >>> unknown_quantization("q4")
    'Which type is `q4`? q4_k_m, q4_k_s or q4_0'
    """
    similar = quantizations_like(name)
    if len(similar) > 1:
        return f"Which type is `{name}`? {', '.join(similar[:-1])} or {similar[-1]}"
    return f"`{name}` is no GGUF type that I can write; known types are {', '.join(QUANTIZATIONS)}"
