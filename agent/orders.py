"""Which tools a message asks for, which it refuses, and which follow from what it names."""

import re

from .amount_values import Amounts
from .bare_names import Roles
from .choices import is_half, loads_base
from .corrections import is_retracted
from .keys import BASE, DATASET, SOURCE
from .reading import Reading
from .roles import is_prepared
from .words import word_set

__all__ = ["find_orders", "imply_tools", "imply_training"]

_WANTING = word_set("want need have like get")
_LOADING = word_set("load import")
_POINTING = word_set("it that this them these")


def find_orders(reading: Reading) -> None:
    """Which tools the words ask for, and which they refuse."""
    refused_until = -1
    for i, token in enumerate(reading.tokens):
        if token.kind != "tool" or token.used:
            continue
        tool = str(token.value)
        listed = {reading.text(j) for j in range(refused_until + 1, i)}
        goes_on = (
            refused_until >= 0
            and listed <= {"or", "nor", "and", "/", "any", "the", "a"}
            and (
                "and" not in listed
                or reading.text(i + 1) in ("", ".", ",", "please", "this", "\n", ";", "yet", "now", "step")
                or (reading.text(i + 1), reading.text(i + 2)) in (("for", "now"), ("for", "this"))
            )
        )
        if tool == "finetune_unsloth" and reading.text(i) in ("lora",) and reading.negated(i):
            reading.put("finetune_unsloth.lora_r", 0)
            token.used = True
        elif reading.negated(i) or (goes_on and listed):
            reading.drop.add(tool)
            if tool in reading.want and is_retracted(reading.tokens, i):
                exports = {"export_gguf", "export_safetensors"}
                reading.retracted |= exports if tool == "export" else {tool}
            token.used, refused_until = True, i
        elif not _refers(reading, i, tool, token.unit) and not (tool == "finetune_unsloth" and _later(reading, i)):
            reading.want[tool] = "verb" if token.unit == "verb" else reading.want.get(tool, "noun")
    for i, token in enumerate(reading.tokens):
        file = token.kind == "name" and token.text.lower().endswith(".gguf")
        if file and not reading.want and reading.text(i + 1) == "from":  # `models/a.gguf from runs/a`
            reading.want["export_gguf"] = "noun"
    _settle_export(reading)
    _getting_ready(reading)
    _prepared(reading)


def _prepared(reading: Reading) -> None:
    """`I want X prepared`, `load X`, `import X`: orders, where `the prepared rows` and `X is prepared` are none."""
    for i, token in enumerate(reading.tokens):
        before = {reading.text(j) for j in range(max(0, i - 7), i)}
        wanted = before & _WANTING and not before & {"already", "is", "was", "been"}
        if token.kind != "word" or not (token.text in _LOADING or (token.text == "prepared" and wanted)):
            continue
        at = i - 1 if token.text == "prepared" else i + 1
        named = reading.tokens[at] if 0 <= at < len(reading.tokens) else token
        if named.kind == "set" or (named.kind == "name" and _is_raw(str(named.value))):
            token.kind, token.value, token.unit = "tool", "prepare_dataset", "verb"
            reading.want["prepare_dataset"] = "verb"


def _is_raw(name: str) -> bool:
    """Whether a name may be data that has to be prepared first."""
    return not (
        name.lower().endswith(".gguf") or re.match(r"(\./)?(runs|models|checkpoints)/", name) or is_prepared(name)
    )


def _later(reading: Reading, i: int) -> bool:
    """`prepare it so that I can train some day`: no model is named, so nothing is trained now."""
    able = reading.text(i - 1) == "can" and {"so", "that"} & {reading.text(j) for j in range(max(0, i - 4), i)}
    return bool(able) and not any(token.kind in ("model", "family") for token in reading.tokens)


def _getting_ready(reading: Reading) -> None:
    """`get the validation split of X ready`."""
    for i, token in enumerate(reading.tokens):
        if token.kind == "word" and token.text == "ready" and {"get", "getting"} & {t.text for t in reading.tokens[:i]}:
            token.kind, token.value, token.unit = "tool", "prepare_dataset", "verb"
            reading.want["prepare_dataset"] = "verb"


def _refers(reading: Reading, i: int, tool: str, strength: str) -> bool:
    """Whether a noun only refers to something there is: `benchmark the gguf`, `models/a.gguf, my gguf`."""
    if strength != "noun":
        return False
    if tool == "export_gguf":
        near = reading.tokens[max(0, i - 1) : i + 2]
        if any(t.kind == "name" and str(t.value).lower().endswith(".gguf") for t in near):
            return True
    earlier = {str(t.value) for t in reading.tokens[:i] if t.kind == "tool" and t.unit == "verb"}
    pointed = (
        reading.text(i - 1) in ("the", "that", "this", "my", "new", "both", "all")
        or reading.tokens[i - 1].kind == "quant"
    )
    return "run_eval" in earlier and not earlier & {"export", "export_gguf"} and pointed and i > 0


def _settle_export(reading: Reading) -> None:
    """`export` and `convert` alone mean a GGUF, unless only safetensors are spoken of."""
    if "export" in reading.drop:
        reading.drop.discard("export")
        reading.drop |= {"export_gguf", "export_safetensors"}
    # `safetensors in fp16` names what such an export is anyway, no type of GGUF.
    typed = any(
        t.kind == "quant" and not is_half(t) and not loads_base(reading, i) for i, t in enumerate(reading.tokens)
    )
    strength = reading.want.pop("export", None)
    if strength and not ("export_safetensors" in reading.want and "export_gguf" not in reading.want and not typed):
        reading.want.setdefault("export_gguf", strength)
        reading.want["export_gguf"] = strength
    if strength:
        reading.drop -= {"export_gguf"} & set(reading.want)
    reading.drop -= {tool for tool in reading.drop if reading.want.get(tool) == "verb" and tool != "export_gguf"}


def imply_training(reading: Reading, amounts: Amounts) -> None:
    """Values that only training has, or a model that opens a request with data, make it a training."""
    if {"finetune_unsloth", "prepare_dataset"} & (set(reading.want) | reading.drop):
        return
    if reading.last is not None:
        _train_what_is_prepared(reading)
        return
    own = any(keys[0].startswith("finetune_unsloth.") and len(keys) == 1 for keys, _, _ in amounts.values)
    if own and any(t.kind in ("model", "family") or (t.kind == "name" and "/" in t.text) for t in reading.tokens):
        reading.want["finetune_unsloth"] = "implied"


def _train_what_is_prepared(reading: Reading) -> None:
    """`and now qwen3 8b on that`, after data was prepared and nothing else."""
    ran = {step.tool for step in reading.last.steps} if reading.last is not None else set()
    for i, token in enumerate(reading.tokens):
        points = reading.text(i + 1) in ("on", "with") and reading.text(i + 2) in _POINTING
        fresh = i == 0 or reading.tokens[i - 1].kind != "tool"
        if token.kind == "model" and points and fresh and ran == {"prepare_dataset"}:
            reading.want["finetune_unsloth"] = "implied"


def imply_tools(reading: Reading, roles: Roles) -> None:
    """Training is implied by a model beside data, and by values that only training has."""
    own = [key for key in reading.values if key.startswith("finetune_unsloth.") and key not in (BASE, DATASET)]
    has_base = bool(roles.of(BASE)) or roles.family is not None or BASE in reading.values
    has_data = bool(roles.of(SOURCE) or roles.of(DATASET))
    if "finetune_unsloth" not in reading.drop and reading.want.get("prepare_dataset") != "verb":
        if (has_base and has_data) or (own and (has_base or has_data)):
            reading.want.setdefault("finetune_unsloth", "implied")
    elif own and "finetune_unsloth" not in reading.drop and has_base:
        reading.want.setdefault("finetune_unsloth", "implied")
    prepared = any(key.startswith("prepare_dataset.") and key != SOURCE for key in reading.values)
    if prepared and roles.of(SOURCE) and not reading.want and reading.last is None:
        reading.want["prepare_dataset"] = "implied"
    if "finetune_unsloth" in reading.drop:
        reading.want.pop("finetune_unsloth", None)
    if (
        roles.of("prepare_dataset.output_dir")
        and "prepare_dataset" not in reading.want
        and "finetune_unsloth" not in reading.want
    ):
        reading.want["prepare_dataset"] = "implied"
