"""Messages that ask for no run: small talk, questions about the tools, and what Tunesmith does not do."""

from typing import Any

from tunesmith.tools.catalogue import BASE_MODELS, DATASETS, QUANTIZATIONS
from tunesmith.tools.registry import TOOLS

from .lexicon import NUMERIC, field_types, vocabulary
from .nearby import governing_tool
from .plan import History
from .words import Token, word_set

__all__ = ["HELP", "answer_aside", "is_cancelled", "refusal", "wanted_range"]

HELP = (
    "I prepare data, fine-tune language models, export them to GGUF or safetensors, and measure them. For example: "
    "Fine-tune smollm2-135m on examples/tickets.jsonl for 2 epochs, export q4_k_m and evaluate it"
)
_GREETINGS = word_set("hi hello hey hallo moin greetings morning yo hiya")
_THANKS = word_set("thanks thank thx ty cheers great nice cool perfect awesome bye goodbye good fine okay ok super")
_CANCEL = {"cancel", "nevermind", "abort", "stop", "never"}
_QUESTIONS = word_set("what which how why who when where whats can could do does is are explain list")
_SHELL = word_set("rm sudo mkfs chmod chown curl wget bash sh dd shutdown reboot kill eval exec")
_DESTROY = word_set("delete erase wipe destroy format uninstall purge rm overwrite")
_MISUSE = word_set("malware ransomware phishing virus spyware keylogger botnet bomb bombs weapons exploit exploits")
_MAKING = word_set("write make build create generate produce writes makes generates hack steal spread send")
_OTHER_METHODS = word_set("ppo grpo orpo kto rlhf rlaif reinforcement simpo")
_OTHER_FORMATS = word_set("onnx tensorrt coreml mlx awq gptq exl2 openvino tflite torchscript keras")
_OTHER_MODELS = word_set(
    "diffusion image images pictures picture video videos voice speech audio yolo whisper vision photos music "
    "draws tts detector"
)


def wanted_range(key: str) -> str:
    """What a parameter takes, read from its Input model.

    >>> wanted_range("finetune_unsloth.epochs"), wanted_range("finetune_unsloth.learning_rate")
    ('a whole number from 1 to 100', 'a number above 0 and at most 0.1')
    """
    tool, name = key.split(".")
    if name == "quantization":
        return f"one of {', '.join(QUANTIZATIONS)}"
    field = TOOLS[tool].input.model_fields[name]
    kinds = field_types(key)
    choices = [str(value) for kind in kinds for value in getattr(kind, "__args__", ()) if isinstance(value, str)]
    if choices:
        return f"one of {', '.join(choices)}"
    if not kinds & {int, float}:
        return "yes or no" if bool in kinds else "a text"
    limits: dict[str, Any] = {}
    for rule in field.metadata:
        limits |= {
            side: getattr(rule, side) for side in ("ge", "gt", "le", "lt") if getattr(rule, side, None) is not None
        }
    noun = "a whole number" if int in kinds else "a number"
    if "ge" in limits and "le" in limits:
        return f"{noun} from {limits['ge']} to {limits['le']}"
    low = f" above {limits['gt']}" if "gt" in limits else f" of at least {limits['ge']}" if "ge" in limits else ""
    return f"{noun}{low}" + (f" and at most {limits['le']}" if "le" in limits else "")


def refusal(tokens: list[Token], want: dict[str, str]) -> str | None:
    """Why a request is not for us: it destroys, it runs commands, it wants a weapon, or another kind of model."""
    words = [token.text for token in tokens if token.kind == "word"]
    seen = set(words)
    named = any(token.kind == "name" for token in tokens) or seen & {
        "files",
        "everything",
        "checkpoints",
        "disk",
        "all",
        "runs",
    }
    paths = any(token.kind == "name" or token.text in ("/", "|") for token in tokens)
    if (seen & _SHELL - {"eval", "sh"} and (paths or words[0] in _SHELL)) or (words[:1] and words[0] in {"sudo", "rm"}):
        return "I run no shell commands and delete nothing; tell me what to train, export or evaluate"
    if seen & _DESTROY and named and not seen & {"format"}:
        return "I delete and overwrite nothing; remove files yourself, and tell me what to train, export or evaluate"
    if seen & _MISUSE and seen & _MAKING:
        return "I do not help to build a model for harm; tell me about another use"
    if seen & _OTHER_METHODS and "finetune_unsloth" in want:
        return "I train by `sft` on conversations or by `dpo` on preference pairs; say which"
    if (other := _other_format(tokens, want)) is not None:
        return (
            f"`{other}` is nothing I can export to: I write GGUF ({', '.join(QUANTIZATIONS)}) and safetensors, "
            "and the name of a file ends in .gguf"
        )
    if seen & _OTHER_MODELS and not any(t.kind in ("model", "family") for t in tokens) and "finetune_unsloth" in want:
        return "I fine-tune language models on text only; name a base model such as smollm2-135m and a data set of text"
    return None


def _other_format(tokens: list[Token], want: dict[str, str]) -> str | None:
    """A format that no tool writes: one that is known, or any word of no other meaning in `export it as ...`."""
    for i, token in enumerate(tokens):
        if token.kind != "word" or token.used or not want:
            continue
        if token.text in _OTHER_FORMATS:
            return token.text
        lead = next((t.text for t in reversed(tokens[:i]) if t.text not in ("a", "an", "the")), "")
        ends = i + 1 == len(tokens) or tokens[i + 1].kind == "punct"
        exported = governing_tool(tokens, i) in ("export", "export_gguf")
        if lead in ("as", "to", "into") and ends and exported and token.text not in vocabulary():
            return token.text
    return None


def is_cancelled(tokens: list[Token], history: History) -> bool:
    """Whether an open question is waved away: `never mind`."""
    return history.pending is not None and len(tokens) <= 6 and any(token.text in _CANCEL for token in tokens)


def answer_aside(
    tokens: list[Token], text: str, history: History, empty: bool, want: set[str]
) -> tuple[bool, str] | None:
    """(is it small talk or help, reply) for a message that orders nothing; None where it may order something."""
    words = [token.text for token in tokens if token.kind in ("word", "tool", "choice")]
    seen = set(words)
    asks = "?" in text or bool(words and words[0] in _QUESTIONS)
    if not tokens:
        return True, HELP
    if asks and (answer := _about_tools(tokens, seen, history)) is not None:
        return True, answer
    if not empty:
        return None
    if (
        words[:1] == ["help"]
        or {"what", "can", "you"} <= seen
        or {"what", "do", "you"} <= seen
        or ({"how", "work"} <= seen)
    ):
        return True, HELP
    if seen & _GREETINGS and len(words) <= 8:
        return True, f"Hello. {HELP}"
    if seen & _THANKS and len(words) <= 8 and not asks:
        return True, "You are welcome"
    if seen & {"yes", "ok", "okay", "no", "nope", "sure"} and len(words) <= 3 and history.pending is not None:
        return True, history.pending.reply or HELP
    return False, f"That is nothing I can do. {HELP}"


def _about_tools(tokens: list[Token], seen: set[str], history: History) -> str | None:
    """A question about models, types, data, or a parameter: answered from the catalogue and the Input models."""
    if any(token.kind in ("name", "model", "number", "quant", "bits") for token in tokens) and not seen & {
        "mean",
        "means",
    }:
        return None
    named = next((str(token.value) for token in tokens if token.kind == "tool" and token.value in TOOLS), None)
    if named and {token.text for token in tokens} & {"arguments", "parameters", "options", "settings", "params"}:
        return f"`{named}` takes {', '.join(TOOLS[named].input.model_fields)}; `tunesmith tools {named}` describes them"
    labels = [token for token in tokens if token.kind == "label"]
    keys = [token.value[0] for token in labels]
    plural = {token.text for token in tokens} & {"models", "base models"} or "finetune_unsloth.base_model" in keys
    listing = seen & {"which", "what", "list", "supported", "available", "there", "know", "support"}
    if plural and listing:
        return f"Base models: {', '.join(BASE_MODELS)}; any hub id such as org/name or a local model folder works too"
    if "prepare_dataset.source" in keys and listing:
        return (
            f"Data: {', '.join(DATASETS)}, a hub id such as org/name, a local file or folder (jsonl, json, csv, "
            "parquet, arrow, txt), or an https://, s3:// or gs:// address"
        )
    types = {"types", "type", "formats", "format", "quants"} & seen or "export_gguf.quantization" in keys
    if listing and (types or any(token.text in ("quantization", "quantisation", "quant") for token in tokens)):
        return f"GGUF types: {', '.join(QUANTIZATIONS)}"
    if listing and any(token.value == "run_eval" for token in tokens) and not any(t.kind == "set" for t in tokens):
        return (
            "Evaluation sets: heldout, any lm-eval task such as hellaswag or mmlu, a folder of lm-eval tasks, "
            "or a .jsonl file"
        )
    if "tools" in seen:
        return f"Tools: {', '.join(TOOLS)}"
    if seen & {"loss", "result", "results", "score"} and seen & {"last", "run", "final", "previous"}:
        return "`tunesmith runs` lists what ran, `tunesmith show ID` tells its results"
    for key in keys:
        if key not in NUMERIC and not key.endswith((".method", ".quant", ".target_modules")):
            continue
        tool, name = key.split(".")
        field = TOOLS[tool].input.model_fields[name]
        ran = [step.args[name] for step in history.last.steps if name in step.args] if history.last else []
        used = f"; in the last plan it is {ran[-1]}" if ran else ""
        return f"`{name}` of {tool}: {field.description}; it takes {wanted_range(key)}{used}"
    return None
