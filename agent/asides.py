"""Messages that ask for no run: small talk, questions about the tools, and what Tunesmith does not do."""

from tunesmith.tools.catalogue import QUANTIZATIONS
from tunesmith.tools.registry import TOOLS

from .lexicon import NUMERIC, vocabulary
from .nearby import governing_tool
from .plan import History
from .replies import CHATS, HELP, REFUSALS, about_parameter, about_tool
from .words import Token, word_set

__all__ = ["answer_aside", "is_cancelled", "refusal"]

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
        return REFUSALS["shell"]
    if seen & _DESTROY and named and not seen & {"format"}:
        return REFUSALS["delete"]
    if seen & _MISUSE and seen & _MAKING:
        return REFUSALS["harm"]
    if seen & _OTHER_METHODS and "finetune_unsloth" in want:
        return REFUSALS["method"]
    if (other := _other_format(tokens, want)) is not None:
        return (
            f"`{other}` is nothing I can export to: I write GGUF ({', '.join(QUANTIZATIONS)}) and safetensors, "
            "and the name of a file ends in .gguf"
        )
    if seen & _OTHER_MODELS and not any(t.kind in ("model", "family") for t in tokens) and "finetune_unsloth" in want:
        return REFUSALS["media"]
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
        exported = governing_tool(tokens[: i + 1], i) in ("export", "export_gguf")
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
        return True, CHATS["hello"]
    if seen & _THANKS and len(words) <= 8 and not asks:
        return True, CHATS["thanks"]
    if seen & {"yes", "ok", "okay", "no", "nope", "sure"} and len(words) <= 3 and history.pending is not None:
        return True, history.pending.reply or HELP
    return False, REFUSALS["topic"]


def _about_tools(tokens: list[Token], seen: set[str], history: History) -> str | None:
    """A question about models, types, data, or a parameter: answered from the catalogue and the Input models."""
    if any(token.kind in ("name", "model", "number", "quant", "bits") for token in tokens) and not seen & {
        "mean",
        "means",
    }:
        return None
    named = next((str(token.value) for token in tokens if token.kind == "tool" and token.value in TOOLS), None)
    if named and {token.text for token in tokens} & {"arguments", "parameters", "options", "settings", "params"}:
        return about_tool(named)
    labels = [token for token in tokens if token.kind == "label"]
    keys = [token.value[0] for token in labels]
    plural = {token.text for token in tokens} & {"models", "base models"} or "finetune_unsloth.base_model" in keys
    listing = seen & {"which", "what", "list", "supported", "available", "there", "know", "support"}
    if plural and listing:
        return CHATS["models"]
    if "prepare_dataset.source" in keys and listing:
        return CHATS["data"]
    types = {"types", "type", "formats", "format", "quants"} & seen or "export_gguf.quantization" in keys
    if listing and (types or any(token.text in ("quantization", "quantisation", "quant") for token in tokens)):
        return CHATS["types"]
    if listing and any(token.value == "run_eval" for token in tokens) and not any(t.kind == "set" for t in tokens):
        return CHATS["sets"]
    if "tools" in seen:
        return CHATS["tools"]
    if seen & {"loss", "result", "results", "score"} and seen & {"last", "run", "final", "previous"}:
        return CHATS["results"]
    for key in keys:
        if key not in NUMERIC and not key.endswith((".method", ".quant", ".target_modules")):
            continue
        name = key.split(".")[1]
        ran = [step.args[name] for step in history.last.steps if name in step.args] if history.last else []
        used = f"; in the last plan it is {ran[-1]}" if ran else ""
        return f"{about_parameter(key)}{used}"
    return None
