"""What each name in a request is: data, base model, checkpoint, GGUF, evaluation set, or a place to write to."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunesmith.tools.artifacts import is_complete
from tunesmith.tools.catalogue import DATASETS, find_base_model
from tunesmith.tools.locations import is_hub_id, local_path, scheme_of

from .lexicon import NUMERIC, vocabulary
from .words import Token, family_members

__all__ = ["Roles", "assign_roles", "governing_tool", "is_prepared"]

SOURCE, BASE, DATASET = "prepare_dataset.source", "finetune_unsloth.base_model", "finetune_unsloth.dataset"
CHECKPOINT, GGUF_FILE, EVAL_SET = "export_gguf.checkpoint_dir", "run_eval.gguf_file", "run_eval.eval_set"
TOKENIZER, OUTPUT_FILE = "prepare_dataset.tokenizer", "export_gguf.output_file"

_STOPS = {".", ";", "\n", "?", "!"}
_SKIPPED = set(
    "the a an my our your this that file files folder in on at of called named is are was = : ( both new final".split()
)
_DATA_PREPOSITIONS = {"on", "with", "using", "over", "from", "against", "at", "for"}
_WRITING = {"save", "write", "store", "put", "output", "place", "saved", "written", "saving", "writing", "call", "name"}
_MODEL_HINT = re.compile(
    r"gemma|llama|qwen|mistral|mixtral|phi-?\d|smollm|gpt|bert|falcon|olmo|granite|deepseek|yi-|tinyllama|t5|"
    r"\d+(\.\d+)?[bm]\b|instruct$|-it$|-base$|-chat$",
    re.IGNORECASE,
)
_DATA_FILE = re.compile(r"\.(jsonl|ndjson|json|csv|tsv|parquet|arrow|txt|xlsx?|docx?|pdf|zip|gz|md)$", re.IGNORECASE)
_SPLITS = {"train", "training", "validation", "valid", "val", "dev", "test"}


@dataclass
class Roles:
    """Values by parameter in the order of the text, and the family of a base model whose name leaves several."""

    values: list[tuple[str, Any, int]] = field(default_factory=list)  # key, value, position of the token
    family: str | None = None

    def of(self, key: str) -> list[Any]:
        return [value for k, value, _ in self.values if k == key]


def is_prepared(path: str) -> bool:
    """Whether a folder is a prepared dataset: complete on disk, or by the name that prepare_dataset gives.

    >>> is_prepared("data/train"), is_prepared("data-2/validation/"), is_prepared("data/rows.jsonl")
    (True, True, False)
    """
    folder = local_path(path)
    if folder is None:
        return False
    if folder.is_dir():
        return is_complete(folder) or is_complete(folder.parent)
    return re.fullmatch(rf"(\./)?data(-\d+)?/({'|'.join(_SPLITS)})/?", path) is not None


def governing_tool(tokens: list[Token], i: int) -> str:
    """The tool whose word stands nearest before a token in its sentence, else behind it; empty without one."""
    for step in (-1, 1):
        j = i + step
        while 0 <= j < len(tokens) and tokens[j].text not in _STOPS:
            token = tokens[j]
            if step > 0 and token.text in (",", "then"):
                break
            if token.kind == "tool":
                return str(token.value)
            if token.kind == "choice":
                return str(token.value[0]).split(".")[0]
            if step < 0 and token.kind == "set":
                return "run_eval"
            if step < 0 and token.kind == "quant":
                return "export_gguf"
            j += step
    return ""


def assign_roles(tokens: list[Token], tools: set[str], about: str | None, earlier: set[str]) -> Roles:
    """Give every name a parameter.

    `tools` are those that the request asks for, `earlier` those of the last plan, `about` is what was just asked.
    """
    exports_only = not tools and earlier <= {"export_gguf", "export_safetensors", "run_eval"}
    tools = {"export_gguf"} if exports_only and earlier - {"run_eval"} and about is None else tools
    roles = Roles()
    previous: tuple[str, int] | None = None
    for i, token in enumerate(tokens):
        if token.used or token.kind not in ("name", "model", "family", "set"):
            continue
        key = ""
        if previous and _listed(tokens, previous[1], i) and token.kind == tokens[previous[1]].kind:
            key = previous[0]
        key = key or _role(tokens, i, tools, about, roles)
        token.used = True
        previous = (key, i)
        if token.kind == "family" and key in (BASE, CHECKPOINT, ""):
            roles.family = str(token.value)
            continue
        value = token.value if token.kind != "name" or token.unit != "quoted" else token.value.strip()
        roles.values.append((key, value, i))
    _bare_words(tokens, tools, roles, about)
    _sizes(tokens, roles)
    return roles


def _listed(tokens: list[Token], one: int, other: int) -> bool:
    between = [token.text for token in tokens[one + 1 : other]]
    return bool(between) and all(text in (",", "and", "&", "/", "or", "plus", "the") for text in between)


def _before(tokens: list[Token], i: int) -> tuple[str, Token | None, list[str]]:
    """(preposition, label, words) before a token: what leads to it within its clause."""
    preposition, label, words = "", None, []
    for j in range(i - 1, max(-1, i - 7), -1):
        token = tokens[j]
        if token.kind in ("name", "model", "family", "quant", "tool", "set", "number", "size", "choice", "bits"):
            break
        if token.kind == "punct" and token.text in (",", *_STOPS):
            break
        words.append(token.text)
        if token.kind == "label" and token.value[0] not in NUMERIC:
            label = token
            break
        if not preposition and token.text in (
            "on", "with", "using", "over", "from", "against", "into", "to", "as", "in", "at", "of", "under", "for",
            "called", "named", "→", ">", "onto",
        ):  # fmt: skip
            preposition = token.text
        if token.kind == "label" or (token.text not in _SKIPPED and token.text not in vocabulary()):
            break
    return preposition, label, words


def _role(tokens: list[Token], i: int, tools: set[str], about: str | None, roles: Roles) -> str:
    token = tokens[i]
    preposition, label, words = _before(tokens, i)
    tool = governing_tool(tokens, i) or (next(iter(tools)) if len(tools) == 1 else "")
    after = [t.text for t in tokens[i + 1 : i + 4]]
    as_base = after[:2] == ["as", "base"] or after == ["as", "the", "base"] or after[:2] == ["as", "base model"]
    as_base = as_base or (after[:1] == ["as"] and {"base", "base model"} & set(after))
    labelled = label.value[0] if label is not None else ""
    if labelled == TOKENIZER:
        return TOKENIZER
    if token.kind in ("model", "family"):
        training = "finetune_unsloth" in tools
        if labelled == CHECKPOINT or (
            tool in ("export", "export_gguf", "export_safetensors", "run_eval") and not training
        ):
            return CHECKPOINT
        return BASE
    if token.kind == "set":
        data_place = tool in ("finetune_unsloth", "prepare_dataset") and preposition in (
            "on",
            "with",
            "using",
            "from",
            "",
        )
        directly = tool == "prepare_dataset" or preposition
        taken = roles.of(SOURCE) or roles.of(DATASET) or "run_eval" in {t.value for t in tokens[:i] if t.kind == "tool"}
        if data_place and directly and not taken and token.value != "heldout" and labelled != EVAL_SET:
            token.value = tokens[i].text.replace(" ", "_")
            return SOURCE
        return EVAL_SET
    value = str(token.value)
    writing = preposition in ("into", "→", ">", "onto", "called", "named") or (
        (preposition in ("to", "in", "as", "at", "under") and bool(_WRITING & set(words)))
        or (not preposition and bool({"call", "name", "output"} & set(words)))
    )
    writing = writing or (preposition in ("to", "as") and tool not in ("", "run_eval") and not _data_like(value))
    if preposition in ("to", "as", "in", "under") and not writing:
        writing = _written_earlier(tokens, i) and not _data_like(value)
    if labelled in ("output_dir", OUTPUT_FILE) or (labelled.endswith(".output_dir")):
        writing = True
    if value.lower().endswith(".gguf"):
        if labelled == OUTPUT_FILE or (writing and tool != "run_eval"):
            return OUTPUT_FILE
        asks_eval = "run_eval" in tools or about == GGUF_FILE
        return OUTPUT_FILE if tools & {"export_gguf", "finetune_unsloth"} and not asks_eval else GGUF_FILE
    if writing:
        return labelled if labelled.endswith((".output_dir", ".output_file")) else _written_by(tool, tools, roles)
    if as_base or labelled in (BASE, EVAL_SET, GGUF_FILE):
        if labelled == EVAL_SET and tool in ("finetune_unsloth", "prepare_dataset") and "run_eval" not in tools:
            return SOURCE
        return CHECKPOINT if labelled == GGUF_FILE else BASE if as_base or labelled == BASE else EVAL_SET
    if labelled == DATASET:
        return DATASET
    if labelled == CHECKPOINT and tool != "finetune_unsloth":
        return CHECKPOINT
    return _unlabelled(value, tool, preposition, labelled, tools, about, roles)


def _unlabelled(
    value: str, tool: str, preposition: str, labelled: str, tools: set[str], about: str | None, roles: Roles
) -> str:
    if labelled == SOURCE:
        return DATASET if is_prepared(value) else SOURCE
    if _data_like(value):
        measured = tool == "run_eval" and (preposition or roles.of(SOURCE) or "finetune_unsloth" not in tools)
        return EVAL_SET if measured else SOURCE
    if value.lower().endswith((".yaml", ".yml")):
        return EVAL_SET
    if not is_hub_id(value) and "/" not in value and local_path(value) is None:  # a quoted bare name
        if tool == "run_eval" and preposition:
            return EVAL_SET
        if find_base_model(value) or (about == BASE and not tools):
            return BASE
        return SOURCE
    if is_prepared(value) and tool in ("finetune_unsloth", "") and not _is_run(value):
        return DATASET
    if tool == "run_eval" and preposition in _DATA_PREPOSITIONS and not _is_run(value):
        return EVAL_SET
    if tool in ("export", "export_gguf", "export_safetensors", "run_eval"):
        return CHECKPOINT
    if tool == "prepare_dataset":
        return SOURCE
    if not tools and about in (BASE, SOURCE, CHECKPOINT, GGUF_FILE):
        return CHECKPOINT if about == GGUF_FILE else about
    if _is_run(value) or re.match(r"(\./)?(models|checkpoints)/", value):
        return BASE if tool == "finetune_unsloth" or not tools else CHECKPOINT
    if is_hub_id(value) and _MODEL_HINT.search(value) and preposition not in ("on", "over") and not roles.of(BASE):
        return BASE
    if tool == "finetune_unsloth" and preposition not in ("on", "with", "using", "over", "from", "of", "in"):
        return BASE if not roles.of(BASE) else SOURCE
    return SOURCE


def _data_like(value: str) -> bool:
    return _DATA_FILE.search(value) is not None or scheme_of(value) is not None


def _is_run(value: str) -> bool:
    return re.match(r"(\./)?runs/", value) is not None


def _written_earlier(tokens: list[Token], i: int) -> bool:
    """A verb of writing earlier in the clause: `save the merged folder in out/`."""
    for j in range(i - 1, max(-1, i - 12), -1):
        if tokens[j].text in _STOPS or tokens[j].text in (",", "then"):
            return False
        if tokens[j].text in _WRITING:
            return True
    return False


def _written_by(tool: str, tools: set[str], roles: Roles) -> str:
    """Which tool's output a place to write to is."""
    if tool in ("export", "export_gguf", "export_safetensors"):
        only_folder = "export_safetensors" in tools and not tools & {"export_gguf"}
        return "export_safetensors.output_dir" if tool == "export_safetensors" or only_folder else OUTPUT_FILE
    if tool == "prepare_dataset" and "finetune_unsloth" not in tools:
        return "prepare_dataset.output_dir"
    if tool in ("prepare_dataset", "finetune_unsloth"):
        return f"{tool}.output_dir"
    if "finetune_unsloth" in tools or not tools:
        return "finetune_unsloth.output_dir"
    return "prepare_dataset.output_dir" if "prepare_dataset" in tools else OUTPUT_FILE


def _bare_words(tokens: list[Token], tools: set[str], roles: Roles, about: str | None) -> None:
    """Words that are no words of ours, where a dataset, an evaluation set or a base model belongs."""
    keys = {key for key, _, _ in roles.values}
    for i, token in enumerate(tokens):
        if token.kind != "word" or token.used or not _namelike(token):
            continue
        name = str(token.value)
        written = "".join(ch for ch in name.lower() if ch.isalnum())
        catalogued = next((known for known in DATASETS if known.replace("_", "") == written), None)
        if catalogued is None and i + 1 < len(tokens) and tokens[i + 1].kind == "word":
            both = written + tokens[i + 1].text
            catalogued = next((known for known in DATASETS if known.replace("_", "") == both), None)
            if catalogued:
                tokens[i + 1].used = True
        key = SOURCE if catalogued else _bare_role(tokens, i, tools, about)
        if not key or (key in keys and not catalogued and not _joins(tokens, i, roles, key)):
            continue
        token.used = True
        keys.add(key)
        roles.values.append((key, catalogued or (name.lower() if key == EVAL_SET else name), i))


def _joins(tokens: list[Token], i: int, roles: Roles, key: str) -> bool:
    return any(k == key and _listed(tokens, position, i) for k, _, position in roles.values)


def _namelike(token: Token) -> bool:
    return (
        token.text not in vocabulary() and token.text.isascii() and re.match(r"[a-z][\w.-]+$", token.text) is not None
    )


def _bare_role(tokens: list[Token], i: int, tools: set[str], about: str | None) -> str:
    token = tokens[i]
    marked = re.search(r"[_\d-]", token.text) is not None  # written like a name: my_corpus, c4, oasst-de
    before = tokens[i - 1] if i else Token("punct", "\n")
    after = tokens[i + 1] if i + 1 < len(tokens) else Token("punct", "\n")
    determined = before.text in ("the", "a", "an", "this", "that")
    lead = tokens[i - 2] if determined and i > 1 else before
    noun_after = after.kind == "label" and SOURCE in after.value
    ends = after.kind != "word" or after.text in vocabulary()
    tool = governing_tool(tokens, i)
    if lead.text in ("=", ":", "is") and i > 1:
        lead = tokens[i - 2]
    if lead.kind == "label" and lead.value[0] in (SOURCE, BASE, EVAL_SET, DATASET, TOKENIZER) and (marked or ends):
        return SOURCE if lead.value[0] == DATASET else str(lead.value[0])
    if tool == "run_eval" and lead.text in ("on", "against", "at", "with") and (marked or (ends and not determined)):
        return EVAL_SET
    if tool == "run_eval" and lead.kind in ("set", "punct", "word") and marked and lead.text in (",", "and"):
        return EVAL_SET
    if tool in ("finetune_unsloth", "prepare_dataset", "") and noun_after and lead.text not in ("my", "our"):
        return SOURCE if tools or tool else ""
    plain = ends and not determined
    if tool in ("finetune_unsloth", "") and "finetune_unsloth" in tools:
        if lead.text in ("on", "over") and (marked or plain):
            return SOURCE
        if lead.text in ("with", "using", "from") and marked:
            return SOURCE
    if tool == "prepare_dataset" and (lead.kind == "tool" or lead.text == "get") and (marked or plain):
        return SOURCE
    if (
        lead.kind == "tool"
        and lead.value == "finetune_unsloth"
        and (marked or (plain and after.text in ("on", "with", "using")))
    ):
        return BASE
    if not tools and about in (SOURCE, BASE) and len(tokens) <= 3:
        return about
    if not tools and marked and lead.text in ("with", "on", "use", "using", "try"):
        return SOURCE
    return ""


def _sizes(tokens: list[Token], roles: Roles) -> None:
    """`SmolLM2, the 360M one`: a size that stands apart from its family."""
    for token in tokens:
        if token.kind == "size" and not token.used and roles.family:
            members = family_members(roles.family.split("-")[0], str(token.value))
            if len(members) == 1:
                token.used, roles.family = True, None
                roles.values.append((BASE, members[0], tokens.index(token)))
