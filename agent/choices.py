"""Values that are words: precision and GGUF types, methods, splits, what a bad row does, which layers."""

import itertools
import re

from tunesmith.tools.catalogue import LOAD_PRECISION

from .keys import GGUF_FILE, METHOD, OUTPUT_FILE, QUANT, QUANTIZATION, TARGETS
from .lexicon import vocabulary
from .nearby import governing_tool
from .reading import Reading
from .words import Token, quantizations_like, word_set

__all__ = [
    "is_half",
    "loads_base",
    "read_bad_rows",
    "read_bits_and_splits",
    "read_choices",
    "read_named_words",
    "read_quantizations",
    "read_rest_of_a_type",
    "read_whole_data",
]

_BAD = word_set("bad broken invalid malformed corrupt corrupted faulty unreadable damaged")
_DATA_WORDS = word_set("data dataset set rows examples samples file corpus")
_SKIPPING = word_set(
    "skip ignore drop discard omit remove skipped dropped ignored skipping ignoring dropping throw throwing toss "
    "exclude"
)
_STOPPING = word_set("stop fail error abort halt refuse raise complain errors strict")
_LINEAR_LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# What people mean by a number of bits when they export.
_BY_BITS = {2: "q2_k", 3: "q3_k_m", 4: "q4_k_m", 5: "q5_k_m", 6: "q6_k", 8: "q8_0", 16: "f16", 32: "f32"}
_SWITCH = dict.fromkeys(("yes", "true", "on", "1"), True) | dict.fromkeys(("no", "false", "off", "0"), False)
_NAMED_CHOICES: dict[str, dict[str, str | bool]] = {
    METHOD: {"dpo": "dpo", "sft": "sft"},
    "prepare_dataset.on_bad_rows": {"skip": "skip", "error": "error"},
    "prepare_dataset.streaming": {**_SWITCH},
    "prepare_dataset.allow_private_hosts": {**_SWITCH},
    "run_eval.chat_template": {**_SWITCH},
    "export_gguf.imatrix": {**_SWITCH},
    "export_gguf.check_fidelity": {**_SWITCH},
}


def read_bits_and_splits(reading: Reading) -> None:
    """`4 bit` as one token, and `train split`, `split=test` as a value."""
    merged: list[Token] = []
    for token in reading.tokens:
        before = merged[-1] if merged else None
        if token.text in ("bit", "bits") and before is not None and before.kind == "number":
            merged[-1] = Token("bits", f"{before.value} bit", before.value, spaced=before.spaced)
        else:
            merged.append(token)
    reading.tokens = merged
    for i, token in enumerate(reading.tokens):
        if token.kind == "label" and token.value[0] == "prepare_dataset.split":
            near = [i - 1] if reading.text(i + 1) not in ("=", ":") else []
            near += [i + 2] if reading.text(i + 1) in ("=", ":", "is", "called", "named", "to") else [i + 1]
            for j in near:
                word = reading.text(j)
                if (
                    0 <= j < len(reading.tokens)
                    and reading.tokens[j].kind in ("word", "tool", "name")
                    and re.fullmatch(r"[\w.-]+", word)
                ):
                    if word in ("the", "a", "of", "data", "on", "into", "and", "only", "this", "that", "with"):
                        continue
                    token.used = reading.tokens[j].used = True
                    reading.tokens[j].kind = "filler"
                    reading.put("prepare_dataset.split", "train" if word == "training" else word)
                    break


def read_whole_data(reading: Reading) -> None:
    """`take the whole dataset instead of 1000 rows`: a limit that was set is lifted."""
    steps = [step for step in reading.last_steps() if step.tool == "prepare_dataset"]
    limited = any(step.origin.get("limit") in ("you", "last run") for step in steps)
    if not limited or reading.words & _BAD or any(token.kind == "set" for token in reading.tokens):
        return
    for i, token in enumerate(reading.tokens):
        after = [t.text for t in reading.tokens[i + 1 : i + 4] if t.text not in ("of", "the", "my")]
        refused = "not" in (reading.text(i - 1), reading.text(i - 2))
        if token.text in ("whole", "entire", "full", "all", "complete") and after[:1] and not refused:
            if after[0] not in _DATA_WORDS:
                continue
            reading.values.setdefault("prepare_dataset.limit", [{"default": True}])
            _forget_the_old(reading, i)
            return


def _forget_the_old(reading: Reading, i: int) -> None:
    """`instead of only 1000 rows`: the number behind it, up to the end of the clause, sets nothing."""
    instead = next((j for j in range(i, len(reading.tokens)) if reading.text(j) == "instead"), None)
    for j in range(instead, len(reading.tokens)) if instead is not None else ():
        if reading.tokens[j].kind == "punct":
            return
        if reading.tokens[j].kind in ("number", "label"):
            reading.tokens[j].kind = "filler"


def read_bad_rows(reading: Reading) -> None:
    """`skip broken rows`, `leave out rows that are broken`, `stop if a row is bad`."""
    for i, token in enumerate(reading.tokens):
        if token.text not in _BAD:
            continue
        near = {t.text for t in reading.tokens[max(0, i - 7) : i + 6] if t.kind == "word"}
        clause = max((k + 1 for k in range(i) if reading.tokens[k].kind == "punct"), default=0)
        before = [t.text for t in reading.tokens[clause:i]]
        skips = near & _SKIPPING or ("leave", "out") in itertools.pairwise(before)
        if skips or near & _STOPPING:
            reading.put("prepare_dataset.on_bad_rows", "skip" if skips and "not" not in before else "error")
            for t in reading.tokens[max(clause, i - 3) : i + 3]:
                if t.kind in ("word", "label") and not t.used and (t.text in _SKIPPING or t.kind == "label"):
                    t.used = True


def read_choices(reading: Reading) -> None:
    """`QLoRA`, `DPO`, `streaming`, `q_proj and v_proj`: words that are values."""
    for i, token in enumerate(reading.tokens):
        if token.kind != "choice" or token.used:
            continue
        key, value = token.value
        token.used = True
        if key == "finetune_unsloth.lora_r" and reading.text(i + 1) == "of" and i and reading.text(i - 1) == "export":
            continue  # `export all the weights of runs/a` trains nothing
        off = {"off", "disable", "disabled"} & {reading.text(i - 1), reading.text(i + 1)}
        if off or reading.negated(i):
            if isinstance(value, bool):
                reading.put(key, not value)
            elif key in (QUANT, METHOD):
                reading.put(key, "16bit" if key == QUANT else "sft")
            continue
        if reading.text(i + 1) in ("=", ":") and isinstance(value, bool):
            value = reading.text(i + 2) not in ("no", "false", "off", "0")
        reading.put(key, list(value) if isinstance(value, tuple) else value)
        if key.startswith("finetune_unsloth") and isinstance(value, str | int):
            reading.want.setdefault("finetune_unsloth", "verb")
        elif key == "prepare_dataset.streaming" and reading.last is None:
            reading.want.setdefault("prepare_dataset", "implied")
        elif key == "export_gguf.imatrix":
            reading.want.setdefault("export_gguf", "noun")
    projections = [
        t for t in reading.tokens if t.kind == "word" and re.fullmatch(r"[a-z]\w*_proj|lm_head|embed_tokens", t.text)
    ]
    if projections:
        reading.put(TARGETS, list(dict.fromkeys(t.text for t in projections)))
        for token in projections:
            token.used = True
    elif any(t.kind == "word" and t.text == "linear" for t in reading.tokens) and "all" in reading.words:
        reading.put(TARGETS, _LINEAR_LAYERS)


def read_quantizations(reading: Reading) -> None:
    """GGUF types and bits: how the base is loaded, or what is exported."""
    for i, token in enumerate(reading.tokens):
        if token.kind not in ("quant", "bits") or token.used:
            continue
        token.used = True
        next_tool = next((t.value for t in reading.tokens[i + 1 : i + 3] if t.kind == "tool"), None)
        merged = next_tool == "export_safetensors" or (
            "export_safetensors" in reading.want and "export_gguf" not in reading.want
        )
        if merged and (token.kind == "bits" or is_half(token)):
            continue
        loads = loads_base(reading, i)
        if token.kind == "bits":
            value = f"{token.value}bit" if loads else _BY_BITS.get(token.value, f"{token.value}bit")
        else:
            names = quantizations_like(str(token.value))
            value = names[0] if len(names) == 1 else str(token.value).lower()
            if loads and value in LOAD_PRECISION:
                reading.remarks.append(f"`{value}` as the precision of the base means {LOAD_PRECISION[value]}")
                value = LOAD_PRECISION[value]
        key = QUANT if loads else QUANTIZATION
        if reading.negated(i) or reading.given_up(i):
            if reading.last is not None:
                reading.without.setdefault(key, []).append(value)
            continue
        measures = "run_eval" in reading.want or any(other.kind == "set" for other in reading.tokens)
        refers = reading.text(i - 1) in ("the", "that", "this") and measures
        if refers and not loads and "export_gguf" not in reading.want and value in reading.last_values(QUANTIZATION):
            written = dict(zip(reading.last_values(QUANTIZATION), reading.last_values(OUTPUT_FILE), strict=True))
            reading.put(GGUF_FILE, written[value])
            continue
        reading.put(key, value, at=i)
        if not loads:
            reading.want.setdefault("export_gguf", "noun")
            reading.drop.discard("export_gguf")


def is_half(token: Token) -> bool:
    """Whether a token is one of the names of a 16-bit float: `fp16`, `bf16`."""
    return token.kind == "quant" and re.fullmatch(r"b?f(?:p|loat)?16", str(token.value).lower()) is not None


def loads_base(reading: Reading, i: int) -> bool:
    """Whether a type or a number of bits at `i` says how the base is loaded, not what is exported."""
    if i and reading.tokens[i - 1].value in ("export", "export_gguf"):
        return False
    after = reading.tokens[i + 1] if i + 1 < len(reading.tokens) else None
    if after is not None and (
        after.text in ("loading", "load", "precision", "base", "training", "qlora")
        or after.text.startswith("lora")
        or after.text.endswith(" loading")
    ):
        return True
    if after is not None and (
        after.value in ("export_gguf", "export") or after.text in ("gguf", "version", "file", "export")
    ):
        return False
    for j in range(i - 1, max(-1, i - 9), -1):
        token = reading.tokens[j]
        if token.kind == "label" and QUANT in token.value:
            return True
        if token.kind == "label" and QUANTIZATION in token.value:
            return False
        if token.value in ("export", "export_gguf", "export_safetensors"):
            return False
        if token.text in ("load", "loading", "loaded") and reading.text(j - 1) not in ("can", "could", "to"):
            return True
        if token.text in (".", ";", "\n"):
            break
    if reading.tokens[i].kind == "quant":
        floats = reading.tokens[i].text.lower().startswith(("f", "bf"))
        leads = reading.text(i - 1) in ("in", "with", "at", "using")
        return floats and leads and governing_tool(reading.tokens, i) == "finetune_unsloth"
    exporting = "export_gguf" in reading.want
    tool = governing_tool(reading.tokens, i)
    if tool in ("export", "export_gguf"):
        return False
    if tool == "finetune_unsloth":
        return True
    if reading.last is not None and not exporting and reading.about is None:
        chosen = any(step.origin.get("quant") in ("you", "last run") for step in reading.last.steps)
        return chosen or not any(step.tool == "export_gguf" for step in reading.last.steps)
    return "finetune_unsloth" in reading.want or not exporting


def read_named_words(reading: Reading) -> None:
    """Choices by their parameter's name: `method=dpo`, `streaming: yes`, `on_bad_rows=skip`."""
    for i, token in enumerate(reading.tokens):
        if token.kind == "label" and token.value[0] in _NAMED_CHOICES:
            j = i + 2 if reading.text(i + 1) in ("=", ":", "is", "to") else i + 1
            word = reading.text(j)
            if word in _NAMED_CHOICES[token.value[0]]:
                reading.put(token.value[0], _NAMED_CHOICES[token.value[0]][word])
                reading.tokens[j].used = True
            elif word and (reading.text(i + 1) in ("=", ":") or word not in vocabulary()) and word.isalnum():
                reading.put(token.value[0], word)


def read_rest_of_a_type(reading: Reading) -> None:
    """`the k_m one`, after the question which `q4` is meant."""
    asked = reading.waiting.get("frame", {}).get("values", {}).get(QUANTIZATION, [])
    if reading.about != QUANTIZATION or not asked or QUANTIZATION in reading.values:
        return
    for token in reading.tokens:
        named = [name for name in quantizations_like(str(asked[-1])) if name.endswith(f"_{token.text}")]
        if len(named) == 1:
            reading.put(QUANTIZATION, named[0])
