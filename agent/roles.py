"""What each name in a request is: data, base model, checkpoint, GGUF, evaluation set, or a place to write to."""

import re

from tunesmith.tools.artifacts import is_complete
from tunesmith.tools.catalogue import find_base_model
from tunesmith.tools.locations import is_hub_id, local_path, scheme_of
from tunesmith.tools.workplace import here

from .bare_names import Roles, find_bare_names
from .keys import BASE, CHECKPOINT, DATA_DIR, DATASET, EVAL_SET, GGUF_FILE, OUTPUT_FILE, SOURCE, TOKENIZER
from .lexicon import NUMERIC, vocabulary
from .nearby import STOPS, governing_tool, listed
from .words import Token, family_members, word_set

__all__ = ["assign_roles", "is_prepared"]

_SKIPPED = word_set(
    "the a an my our your this that file files folder in on at of called named is are was = : ( both new final"
)
_INFINITIVES = word_set("get have see use make take turn put run let be try give know find check tell")
_DATA_PREPOSITIONS = word_set("on with using over from against at for")
_WRITING = word_set("keep save write store put output place saved written saving writing call name publish deliver")
_MODEL_HINT = re.compile(
    r"gemma|llama|qwen|mistral|mixtral|phi-?\d|smollm|gpt|bert|falcon|olmo|granite|deepseek|yi-|tinyllama|t5|"
    r"\d+(\.\d+)?[bm]\b|instruct$|-it$|-base$|-chat$",
    re.IGNORECASE,
)
_DATA_FILE = re.compile(r"\.(jsonl|ndjson|json|csv|tsv|parquet|arrow|txt|xlsx?|docx?|pdf|zip|gz|md)$", re.IGNORECASE)
_SPLITS = {"train", "training", "validation", "valid", "val", "dev", "test"}


def is_prepared(path: str) -> bool:
    """Whether a folder is a prepared dataset: complete on disk, or by the name that prepare_dataset gives.

    >>> is_prepared("data/train"), is_prepared("data-2/validation/"), is_prepared("data/rows.jsonl")
    (True, True, False)
    """
    folder = local_path(path)
    if folder is None:
        return False
    try:
        if (folder := here(folder)).is_dir():
            return is_complete(folder) or is_complete(folder.parent)
    except OSError:  # a name that no disk could hold
        return False
    return re.fullmatch(rf"(\./)?data(-\d+)?/({'|'.join(_SPLITS)})/?", path) is not None


def assign_roles(tokens: list[Token], tools: set[str], about: str | None, earlier: set[str]) -> Roles:
    """Give every name a parameter.

    `tools` are those that the request asks for, `earlier` those of the last plan, `about` is what was just asked.
    """
    exports_only = not tools and earlier <= {"export_gguf", "export_safetensors", "run_eval"}
    if not tools and earlier == {"prepare_dataset"} and about is None:
        tools = earlier  # `and put it into corpus/`
    if exports_only and earlier - {"run_eval"} and about is None:
        tools = {"export_gguf"} if "export_gguf" in earlier else {"export_safetensors"}
    roles = Roles()
    previous: tuple[str, int] | None = None
    for i, token in enumerate(tokens):
        if token.used or token.kind not in ("name", "model", "family", "set"):
            continue
        key = ""
        if previous and listed(tokens, previous[1], i) and token.kind == tokens[previous[1]].kind:
            key = previous[0]
        if not key:
            key = _role(tokens, i, tools, about, roles, earlier)
            if key == CHECKPOINT and roles.of(CHECKPOINT) and token.kind == "name":  # not a list: from one to the other
                key = _written_by(governing_tool(tokens, i), tools, roles)
        token.used = True
        previous = (key, i)
        if token.kind == "family" and key in (BASE, CHECKPOINT, ""):
            roles.family = str(token.value)
            continue
        value = token.value if token.kind != "name" or token.unit != "quoted" else token.value.strip()
        roles.values.append((key, value, i))
    find_bare_names(tokens, tools, roles, about)
    _sizes(tokens, roles)
    return roles


def _before(tokens: list[Token], i: int) -> tuple[str, Token | None, list[str]]:
    """(preposition, label, words) before a token: what leads to it within its clause."""
    preposition, label, words = "", None, []
    for j in range(i - 1, max(-1, i - 7), -1):
        token = tokens[j]
        if token.kind in ("name", "model", "family", "quant", "tool", "set", "number", "size", "choice", "bits"):
            break
        if token.kind == "punct" and token.text in (",", *STOPS):
            break
        words.append(token.text)
        apart = token.text == "out" and j < i - 1 and tokens[j + 1].text not in ("=", ":")  # `find out how x.gguf does`
        if token.kind == "label" and token.value[0] not in NUMERIC and not apart:
            label = token
            break
        leads = token.text != "to" or words[-2:-1] == [] or words[-2] not in _INFINITIVES  # `to get it merged`
        if not preposition and leads and token.text in (
            "on", "with", "using", "over", "from", "against", "into", "to", "as", "in", "at", "of", "under", "for",
            "called", "named", "→", ">", "onto",
        ):  # fmt: skip
            preposition = token.text
        known = token.text in _SKIPPED or token.text in vocabulary() or token.kind == "filler"
        if (token.kind == "label" and not apart) or not known:
            break
    return preposition, label, words


def _role(tokens: list[Token], i: int, tools: set[str], about: str | None, roles: Roles, earlier: set[str]) -> str:
    token = tokens[i]
    preposition, label, words = _before(tokens, i)
    tool = governing_tool(tokens, i) or (next(iter(tools)) if len(tools) == 1 else "")
    labelled = str(label.value[0]) if label is not None else ""
    behind = tokens[i + 1] if i + 1 < len(tokens) else None
    if labelled == TOKENIZER or (behind and behind.kind == "label" and behind.value[0] == TOKENIZER):
        return TOKENIZER
    if labelled == DATA_DIR:
        return DATA_DIR
    as_what = _label_after(tokens, i, {"as"})
    if token.kind in ("model", "family"):
        if about == BASE and not roles.of(BASE) and not _object_of_export(tokens, i):
            return BASE
        if as_what == BASE or (labelled == BASE and tokens[i - 1].text in (":", "=")):
            return BASE
        training = "finetune_unsloth" in tools or ("finetune_unsloth" in earlier and not _object_of_export(tokens, i))
        exported = tool in ("export", "export_gguf", "export_safetensors", "run_eval") or labelled == CHECKPOINT
        return CHECKPOINT if exported and not training else BASE
    if token.kind == "set":
        return _role_of_set(tokens, i, tool, preposition, labelled, roles)
    value = str(token.value)
    as_base = as_what == BASE
    answers = not tools and about in (SOURCE, BASE, CHECKPOINT, GGUF_FILE)  # `the file is called rows.jsonl`
    rows = _DATA_FILE.search(value) is not None  # what a tool writes is a folder or a .gguf
    placed = (
        not answers
        and not (rows and not roles.of(SOURCE))
        and labelled != DATASET
        and _is_destination(tokens, i, tool, preposition, words)
    )
    if rows and labelled in (CHECKPOINT, GGUF_FILE):  # `run it over rows.jsonl`
        labelled = ""
    writing = placed or labelled.endswith(("output_dir", "output_file"))
    if value.lower().endswith(".gguf"):
        if labelled == OUTPUT_FILE or (writing and tool != "run_eval"):
            return OUTPUT_FILE
        asks_eval = "run_eval" in tools or about == GGUF_FILE
        return OUTPUT_FILE if tools & {"export_gguf", "finetune_unsloth"} and not asks_eval else GGUF_FILE
    if writing:
        return labelled if labelled.endswith((".output_dir", ".output_file")) else _written_by(tool, tools, roles)
    if "finetune_unsloth" in tools and "prepare_dataset" not in tools and is_prepared(value) and not labelled:
        return DATASET  # `no need to prepare anything, data/train is ready`
    if labelled == BASE and not as_base and (as_what or _data_like(value)):
        labelled = ""  # `train a model on rows.jsonl`
    if as_base or labelled in (BASE, EVAL_SET, GGUF_FILE):
        if labelled == EVAL_SET and tool in ("finetune_unsloth", "prepare_dataset") and "run_eval" not in tools:
            return SOURCE
        return CHECKPOINT if labelled == GGUF_FILE else BASE if as_base or labelled == BASE else EVAL_SET
    if labelled == DATASET or _label_after(tokens, i, {"was", "is", "were", "been", "has"}) == DATASET:
        return DATASET  # `bikes/train was already prepared`
    if as_what in (SOURCE, DATASET):
        return DATASET if is_prepared(value) else SOURCE
    if labelled == CHECKPOINT and tool != "finetune_unsloth":
        return CHECKPOINT
    modelled = any(
        other.kind in ("model", "family") and tokens[j - 1].text not in ("not", "of", "than")
        for j, other in enumerate(tokens)
    )
    rows_too = any(other.kind == "name" and other is not token and _data_like(str(other.value)) for other in tokens)
    direct = i > 0 and tokens[i - 1].kind == "tool"
    hub_rows = modelled and not rows_too and not direct and is_hub_id(value) and not _MODEL_HINT.search(value)
    if hub_rows and tool == "finetune_unsloth":
        return SOURCE  # `take org/rows and train gemma3-1b with it`
    return _unlabelled(value, tool, preposition, labelled, tools, about, roles)


def _label_after(tokens: list[Token], i: int, joints: set[str]) -> str:
    """`X as the base model`, `Y as my data`: the parameter that a name is said to be, after one of `joints`."""
    j = i + 1
    while j < len(tokens) and tokens[j].text in _SKIPPED | joints:
        j += 1
    said = i + 1 < len(tokens) and tokens[i + 1].text in joints and j < len(tokens) and tokens[j].kind == "label"
    return str(tokens[j].value[0]) if said else ""


def _role_of_set(tokens: list[Token], i: int, tool: str, preposition: str, labelled: str, roles: Roles) -> str:
    """An evaluation set, unless it stands where training data belongs: `train gemma3-1b on gsm8k`."""
    measured = any(token.kind == "tool" and token.value == "run_eval" for token in tokens[:i])
    taken = bool(roles.of(SOURCE) or roles.of(DATASET)) or measured or labelled == EVAL_SET
    placed = tool == "prepare_dataset" or (
        tool == "finetune_unsloth" and preposition in ("on", "with", "using", "from")
    )
    if placed and not taken and tokens[i].value != "heldout":
        tokens[i].value = tokens[i].text.replace(" ", "_")
        return SOURCE
    return EVAL_SET


def _is_destination(tokens: list[Token], i: int, tool: str, preposition: str, words: list[str]) -> bool:
    """Whether something shall be written to the place that the token at `i` names."""
    if i + 1 < len(tokens) and tokens[i + 1].text == "through":  # `put it through mmlu`
        return False
    if preposition in ("called", "named"):  # `a file called rows.csv` is there already
        there = {"have", "inherited", "got", "there", "exists", "found"} & {
            token.text for token in tokens[max(0, i - 7) : i]
        }
        return not there and (not _DATA_FILE.search(str(tokens[i].value)) or _written_earlier(tokens, i))
    if preposition in ("into", "→", ">", "onto"):
        return True
    if not preposition:
        return bool({"call", "name", "output"} & {*words, *(token.text for token in tokens[max(0, i - 3) : i])})
    if preposition not in ("to", "in", "as", "at", "under"):
        return False
    if _WRITING & set(words):
        return True
    data = _data_like(str(tokens[i].value))
    if preposition in ("to", "as") and tool not in ("", "run_eval") and not data:
        return True
    return preposition != "at" and not data and _written_earlier(tokens, i)


def _object_of_export(tokens: list[Token], i: int) -> bool:
    """`export gemma3-270m`: a verb of exporting or measuring directly before a name."""
    j = i - 1
    while j >= 0 and tokens[j].text in _SKIPPED:
        j -= 1
    return j >= 0 and tokens[j].kind == "tool" and tokens[j].value not in ("finetune_unsloth", "prepare_dataset")


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
        if tokens[j].text in STOPS or tokens[j].text in (",", "then"):
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


def _sizes(tokens: list[Token], roles: Roles) -> None:
    """`SmolLM2, the 360M one`: a size that stands apart from its family."""
    for token in tokens:
        if token.kind == "size" and not token.used and roles.family:
            members = family_members(roles.family.split("-")[0], str(token.value))
            if len(members) == 1:
                token.used, roles.family = True, None
                roles.values.append((BASE, members[0], tokens.index(token)))
