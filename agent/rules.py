"""Read one message of a person as a Frame, by rules: no model, no network, well under a millisecond."""

import re
from typing import Any

from tunesmith.tools.catalogue import LOAD_PRECISION

from .amounts import Amounts, read_amounts
from .asides import answer_aside, refusal
from .frame import Frame, Intent
from .lexicon import NUMERIC, field_types, read_tokens, vocabulary
from .plan import History
from .roles import BASE, CHECKPOINT, DATASET, EVAL_SET, GGUF_FILE, OUTPUT_FILE, SOURCE, Roles, assign_roles, governing_tool
from .words import Token, family_members, quantizations_like

__all__ = ["read"]

QUANT, QUANTIZATION = "finetune_unsloth.quant", "export_gguf.quantization"
_NEGATIONS = {"no", "not", "without", "skip", "never", "omit", "drop", "leave", "except", "forget", "cancel", "remove",
              "exclude", "nor", "minus", "dont", "skipping", "rather", "stead", "instead", "avoid", "ditch"}  # fmt: skip
_NEGATION_FILLERS = set(
    "the any a an to need run do it want bother with even please for more further this that time me out off of than yet "
    "actually have make you i im should also lets let on wants needed require required and".split()
)
_REPLACING = {"instead", "rather", "switch", "change", "replace", "swap", "swapped", "not"}
_ADDING = {"also", "too", "additionally", "another", "plus", "both", "besides", "well", "and", "add", "extra"}
_AGAIN = {"again", "rerun", "repeat", "redo", "retry", "re-run", "same", "more", "resume", "continue"}
_CORRECTING = {"sorry", "actually", "wait", "correction", "oops", "no", "rather", "mean"}
_ELSEWHERE = {"push", "upload", "publish", "deploy", "serve", "email", "notify", "host"}
_BAD_ROWS = {"bad", "broken", "invalid", "malformed", "corrupt", "corrupted", "faulty", "unreadable", "damaged"}
_SKIPPING = {
    "skip",
    "ignore",
    "drop",
    "discard",
    "omit",
    "remove",
    "skipped",
    "dropped",
    "ignored",
    "skipping",
    "ignoring",
    "dropping",
}
_STOPPING = {"stop", "fail", "error", "abort", "halt", "refuse", "raise", "complain", "errors", "strict"}
_UNITLESS = {"gb", "gib", "mb", "cores", "core", "people", "gpu", "gpus", "euros", "days", "tickets"}


class _Reader:
    def __init__(self, text: str, history: History) -> None:
        self.history = history
        self.last = history.last
        pending = history.pending
        self.waiting: dict[str, Any] = (pending.pending or {}) if pending else {}
        self.about: str | None = self.waiting.get("about")
        self.tokens = read_tokens(text)
        self.values: dict[str, list[Any]] = {}
        self.without: dict[str, list[Any]] = {}
        self.want: dict[str, str] = {}  # tool -> verb, noun or implied
        self.drop: set[str] = set()
        self.remarks: list[str] = []
        self.twice: str | None = None
        self.words = {token.text for token in self.tokens if token.kind == "word"}

    # Reading, in the order in which words stop being available to the next reader.

    def read(self) -> Frame:
        self._bits_and_splits()
        self._bad_rows()
        amounts = read_amounts(self.tokens)
        self._choices()
        self._tools()
        self._getting_ready()
        self._implied_early(amounts)
        self._quantizations()
        earlier = {step.tool for step in self.last.steps} if self.last is not None else set()
        roles = assign_roles(self.tokens, set(self.want), self.about, earlier)
        self._rest_of_a_type()
        self._named_words()
        self._take_roles(roles)
        self._take_amounts(amounts)
        self._implied(roles)
        return self._frame(amounts, roles)

    def _text(self, i: int) -> str:
        return self.tokens[i].text if 0 <= i < len(self.tokens) else ""

    def _put(self, key: str, *found: Any) -> None:
        values = self.values.setdefault(key, [])
        values += [value for value in found if value not in values]

    def _bits_and_splits(self) -> None:
        merged: list[Token] = []
        for token in self.tokens:
            before = merged[-1] if merged else None
            if token.text in ("bit", "bits") and before is not None and before.kind == "number":
                merged[-1] = Token("bits", f"{before.value} bit", before.value, spaced=before.spaced)
            else:
                merged.append(token)
        self.tokens = merged
        for i, token in enumerate(self.tokens):
            if token.kind == "label" and token.value[0] == "prepare_dataset.split":
                near = [i - 1] if self._text(i + 1) not in ("=", ":") else []
                near += [i + 2] if self._text(i + 1) in ("=", ":", "is", "called", "named", "to") else [i + 1]
                for j in near:
                    word = self._text(j)
                    if (
                        0 <= j < len(self.tokens)
                        and self.tokens[j].kind in ("word", "tool", "name")
                        and re.fullmatch(r"[\w.-]+", word)
                    ):
                        if word in ("the", "a", "of", "data", "on", "into", "and", "only", "this", "that", "with"):
                            continue
                        token.used = self.tokens[j].used = True
                        self.tokens[j].kind = "filler"
                        self._put("prepare_dataset.split", "train" if word == "training" else word)
                        break

    def _bad_rows(self) -> None:
        for i, token in enumerate(self.tokens):
            if token.text not in _BAD_ROWS:
                continue
            near = {t.text for t in self.tokens[max(0, i - 7) : i + 6] if t.kind == "word"}
            if near & (_SKIPPING | _STOPPING):
                self._put("prepare_dataset.on_bad_rows", "skip" if near & _SKIPPING and "not" not in near else "error")
                for t in self.tokens[max(0, i - 3) : i + 3]:
                    if t.kind in ("word", "label") and not t.used and (t.text in _SKIPPING or t.kind == "label"):
                        t.used = True

    def _negated(self, i: int) -> bool:
        """Whether a word of refusal governs the token at `i`: before it, or as `export: no` behind it."""
        j = i - 1
        while j >= 0 and self.tokens[j].kind in ("word", "label", "number", "tool"):
            word = self._text(j)
            if self.tokens[j].kind == "tool":
                return self.tokens[j].used
            if word in _NEGATIONS and not self.tokens[j].used:
                if word == "instead" and self._text(j + 1) != "of":
                    return False
                if word == "rather" and self._text(j + 1) != "than":
                    return False
                return self._text(j + 1) != "only"
            if word not in _NEGATION_FILLERS and self.tokens[j].kind == "word":
                break
            j -= 1
        after = [self._text(k) for k in range(i + 1, i + 4)]
        if after[0] in ("=", ":", "is", "step") and (
            after[1] in ("no", "false", "none", "off", "skip", "never") or after[1:] == ["not", "needed"]
        ):
            return True
        return after[:2] in (["not", "needed"], ["not", "necessary"])

    def _choices(self) -> None:
        for i, token in enumerate(self.tokens):
            if token.kind != "choice" or token.used:
                continue
            key, value = token.value
            token.used = True
            if self._negated(i):
                if isinstance(value, bool):
                    self._put(key, not value)
                elif key in (QUANT, "finetune_unsloth.method"):
                    self._put(key, "16bit" if key == QUANT else "sft")
                continue
            if self._text(i + 1) in ("=", ":") and isinstance(value, bool):
                value = self._text(i + 2) not in ("no", "false", "off", "0")
            self._put(key, list(value) if isinstance(value, tuple) else value)
            if key.startswith("finetune_unsloth") and isinstance(value, str | int):
                self.want.setdefault("finetune_unsloth", "verb")
            elif key == "prepare_dataset.streaming" and self.last is None:
                self.want.setdefault("prepare_dataset", "implied")
        projections = [
            t for t in self.tokens if t.kind == "word" and re.fullmatch(r"[a-z]\w*_proj|lm_head|embed_tokens", t.text)
        ]
        if projections:
            self.values["finetune_unsloth.target_modules"] = [list(dict.fromkeys(t.text for t in projections))]
            for token in projections:
                token.used = True
        elif any(t.kind == "word" and t.text == "linear" for t in self.tokens) and "all" in self.words:
            self.values.setdefault(
                "finetune_unsloth.target_modules",
                [["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]],
            )

    def _tools(self) -> None:
        refused_until = -1
        for i, token in enumerate(self.tokens):
            if token.kind != "tool" or token.used:
                continue
            tool = str(token.value)
            listed = {self._text(j) for j in range(refused_until + 1, i)}
            goes_on = (
                refused_until >= 0
                and listed <= {"or", "nor", "and", "/", "any", "the", "a"}
                and (
                    "and" not in listed
                    or self._text(i + 1) in ("", ".", ",", "for", "please", "this", "\n", ";", "yet", "now", "step")
                )
            )
            if tool == "finetune_unsloth" and self._text(i) in ("lora",) and self._negated(i):
                self._put("finetune_unsloth.lora_r", 0)
                token.used = True
            elif self._negated(i) or (goes_on and listed):
                self.drop.add(tool)
                token.used, refused_until = True, i
            elif not self._refers(i, tool, token.unit):
                self.want[tool] = "verb" if token.unit == "verb" else self.want.get(tool, "noun")
        self._settle_export()

    def _getting_ready(self) -> None:
        """`get the validation split of X ready`."""
        for i, token in enumerate(self.tokens):
            if token.kind == "word" and token.text == "ready" and {"get", "getting"} & {t.text for t in self.tokens[:i]}:
                token.kind, token.value, token.unit = "tool", "prepare_dataset", "verb"
                self.want["prepare_dataset"] = "verb"

    def _refers(self, i: int, tool: str, strength: str) -> bool:
        """Whether a noun only refers to something there is: `benchmark the gguf`, `models/a.gguf, my gguf`."""
        if strength != "noun":
            return False
        if tool == "export_gguf":
            near = self.tokens[max(0, i - 1) : i + 2]
            if any(t.kind == "name" and str(t.value).lower().endswith(".gguf") for t in near):
                return True
        earlier = {str(t.value) for t in self.tokens[:i] if t.kind == "tool" and t.unit == "verb"}
        pointed = (
            self._text(i - 1) in ("the", "that", "this", "my", "new", "both", "all")
            or self.tokens[i - 1].kind == "quant"
        )
        return "run_eval" in earlier and not earlier & {"export", "export_gguf"} and pointed and i > 0

    def _settle_export(self) -> None:
        """`export` and `convert` alone mean a GGUF, unless only safetensors are spoken of."""
        if "export" in self.drop:
            self.drop.discard("export")
            self.drop |= {"export_gguf", "export_safetensors"}
        typed = any(t.kind == "quant" and not self._loads(i) for i, t in enumerate(self.tokens))
        strength = self.want.pop("export", None)
        if strength and not ("export_safetensors" in self.want and "export_gguf" not in self.want and not typed):
            self.want.setdefault("export_gguf", strength)
            self.want["export_gguf"] = strength
        if strength:
            self.drop -= {"export_gguf"} & set(self.want)
        self.drop -= {tool for tool in self.drop if self.want.get(tool) == "verb" and tool != "export_gguf"}

    def _loads(self, i: int) -> bool:
        """Whether a type or a number of bits at `i` says how the base is loaded, not what is exported."""
        after = self.tokens[i + 1] if i + 1 < len(self.tokens) else None
        if after is not None and (
            after.text in ("loading", "load", "precision", "base", "training", "qlora") or after.text.startswith("lora")
        ):
            return True
        if after is not None and (
            after.value in ("export_gguf", "export") or after.text in ("gguf", "version", "file", "export")
        ):
            return False
        for j in range(i - 1, max(-1, i - 9), -1):
            token = self.tokens[j]
            if token.kind == "label" and QUANT in token.value:
                return True
            if token.kind == "label" and QUANTIZATION in token.value:
                return False
            if token.value in ("export", "export_gguf", "export_safetensors"):
                return False
            if token.text in ("load", "loading", "loaded"):
                return True
            if token.text in (".", ";", "\n"):
                break
        if self.tokens[i].kind == "quant":
            return False
        exporting = any(t.kind == "tool" and t.value in ("export", "export_gguf") and not t.used for t in self.tokens)
        tool = governing_tool(self.tokens, i)
        if tool in ("export", "export_gguf"):
            return False
        if tool == "finetune_unsloth":
            return True
        if self.last is not None and not exporting and self.about is None:
            chosen = any(step.origin.get("quant") in ("you", "last run") for step in self.last.steps)
            return chosen or not any(step.tool == "export_gguf" for step in self.last.steps)
        return "finetune_unsloth" in self.want or not exporting

    def _quantizations(self) -> None:
        for i, token in enumerate(self.tokens):
            if token.kind not in ("quant", "bits") or token.used:
                continue
            token.used = True
            next_tool = next((t.value for t in self.tokens[i + 1 : i + 3] if t.kind == "tool"), None)
            if token.kind == "bits" and next_tool == "export_safetensors":
                continue
            loads = self._loads(i)
            if token.kind == "bits":
                by_bits = {4: "q4_k_m", 8: "q8_0", 16: "f16", 32: "f32", 5: "q5_k_m", 6: "q6_k", 3: "q3_k_m", 2: "q2_k"}
                value = f"{token.value}bit" if loads else by_bits.get(token.value, f"{token.value}bit")
            else:
                names = quantizations_like(str(token.value))
                value = names[0] if len(names) == 1 else str(token.value).lower()
                if loads and value in LOAD_PRECISION:
                    self.remarks.append(f"`{value}` as the precision of the base means {LOAD_PRECISION[value]}")
                    value = LOAD_PRECISION[value]
            key = QUANT if loads else QUANTIZATION
            if self._negated(i) or self._given_up(i):
                self.without.setdefault(key, []).append(value)
                continue
            refers = self._text(i - 1) in ("the", "that", "this") and "run_eval" in self.want
            if refers and not loads and "export_gguf" not in self.want and value in self._last_values(QUANTIZATION):
                written = dict(zip(self._last_values(QUANTIZATION), self._last_values(OUTPUT_FILE), strict=True))
                self._put(GGUF_FILE, written[value])
                continue
            self._put(key, value)
            if not loads:
                self.want.setdefault("export_gguf", "noun")
                self.drop.discard("export_gguf")

    def _given_up(self, i: int) -> bool:
        """`switch q8_0 to q4_0`, `from q8_0 to q4_0`, `replace q8_0 with q4_0`: the first of two values goes."""
        before = [self._text(j) for j in range(max(0, i - 3), i)]
        follows = self._text(i + 1) in ("to", "with", "by", "for", "→", "into") and i + 2 < len(self.tokens)
        same_kind = follows and any(t.kind == self.tokens[i].kind for t in self.tokens[i + 2 : i + 4])
        return bool(same_kind and {"switch", "replace", "swap", "from", "change", "turn"} & set(before))

    def _named_words(self) -> None:
        """Choices by their parameter's name: `method=dpo`, `streaming: yes`, `on_bad_rows=skip`."""
        words = {
            "finetune_unsloth.method": {"dpo": "dpo", "sft": "sft"},
            "prepare_dataset.on_bad_rows": {"skip": "skip", "error": "error"},
            "prepare_dataset.streaming": dict.fromkeys(("yes", "true", "on", "1"), True)
            | dict.fromkeys(("no", "false", "off", "0"), False),
        }
        words["prepare_dataset.allow_private_hosts"] = words["prepare_dataset.streaming"]
        for i, token in enumerate(self.tokens):
            if token.kind == "label" and token.value[0] in words:
                j = i + 2 if self._text(i + 1) in ("=", ":", "is", "to") else i + 1
                word = self._text(j)
                if word in words[token.value[0]]:
                    self._put(token.value[0], words[token.value[0]][word])
                    self.tokens[j].used = True
                elif word and (self._text(i + 1) in ("=", ":") or word not in vocabulary()) and word.isalnum():
                    self._put(token.value[0], word)

    def _rest_of_a_type(self) -> None:
        """`the k_m one`, after the question which `q4` is meant."""
        asked = self.waiting.get("frame", {}).get("values", {}).get(QUANTIZATION, [])
        if self.about != QUANTIZATION or not asked or QUANTIZATION in self.values:
            return
        for token in self.tokens:
            named = [name for name in quantizations_like(str(asked[-1])) if name.endswith(f"_{token.text}")]
            if len(named) == 1:
                self._put(QUANTIZATION, named[0])

    def _last_values(self, key: str) -> list[Any]:
        tool, name = key.split(".")
        return [step.args.get(name) for step in self.last.steps if step.tool == tool] if self.last else []

    def _take_roles(self, roles: Roles) -> None:
        for key, value, i in roles.values:
            if self._negated(i) or self._given_up(i):
                self.without.setdefault(key, []).append(value)
            else:
                self._put(key, value)
                if key == EVAL_SET:
                    self.want.setdefault("run_eval", "noun")
                if key == OUTPUT_FILE:
                    self.want.setdefault("export_gguf", "noun")
        if roles.family is None and BASE not in self.values:
            self._lone_size()

    def _lone_size(self) -> None:
        """`the 3B`: a size alone, of the family that was asked about or last trained."""
        sizes = [token for token in self.tokens if token.kind == "size" and not token.used]
        if len(sizes) != 1:
            return
        families = [self.waiting.get("frame", {}).get("family") or ""]
        families += [str(name).rsplit("-", 1)[0] for name in self._last_values(BASE)]
        for family in [f for f in families if f] + [re.sub(r"[\d.]+$", "", f) for f in families if f]:
            members = family_members(family.split("-")[0], str(sizes[0].value))
            if len(members) == 1:
                sizes[0].used = True
                self._put(BASE, members[0])
                return

    def _take_amounts(self, amounts: Amounts) -> None:
        for keys, values, i in sorted(amounts.values, key=lambda found: found[2]):
            key = self._owner(keys, i)
            if key in self.values and self.values[key] != values:
                if self.words & _CORRECTING:
                    del self.values[key]
                else:
                    self.twice = key
            self._put(key, *values)
        self.asked = self._owner(amounts.unclear[0], 0) if amounts.unclear else None

    def _owner(self, keys: tuple[str, ...], i: int) -> str:
        """Which of several tools' parameters of one name is meant."""
        if len(keys) == 1:
            return keys[0]
        if keys[0].endswith(".seed"):
            tools = set(self.want) | ({step.tool for step in self.last.steps} if self.last else set())
            return keys[1] if "finetune_unsloth" not in tools and "prepare_dataset" in tools else keys[0]
        tool = governing_tool(self.tokens, i)
        if set(self.want) == {"run_eval"} or (tool == "run_eval" and "run_eval" in self.want):
            return "run_eval.limit"
        only_eval = bool(self.last) and {step.tool for step in self.last.steps} == {"run_eval"} if self.last else False
        if only_eval and not self.want:
            return "run_eval.limit"
        if keys[0] == "run_eval.limit" and ("run_eval" in self.want or self._last_values(EVAL_SET)):
            return "run_eval.limit"
        return "prepare_dataset.limit"

    def _implied_early(self, amounts: Amounts) -> None:
        """Values that only training has, or a model that opens a request with data, make it a training."""
        if {"finetune_unsloth", "prepare_dataset"} & (set(self.want) | self.drop) or self.last is not None:
            return
        own = any(keys[0].startswith("finetune_unsloth.") and len(keys) == 1 for keys, _, _ in amounts.values)
        if own and any(t.kind in ("model", "family") or (t.kind == "name" and "/" in t.text) for t in self.tokens):
            self.want["finetune_unsloth"] = "implied"

    def _implied(self, roles: Roles) -> None:
        """Training is implied by a model beside data, and by values that only training has."""
        own = [key for key in self.values if key.startswith("finetune_unsloth.") and key not in (BASE, DATASET)]
        has_base = bool(roles.of(BASE)) or roles.family is not None or BASE in self.values
        has_data = bool(roles.of(SOURCE) or roles.of(DATASET))
        if "finetune_unsloth" not in self.drop and self.want.get("prepare_dataset") != "verb":
            if (has_base and has_data) or (own and (has_base or has_data)):
                self.want.setdefault("finetune_unsloth", "implied")
        elif own and "finetune_unsloth" not in self.drop and has_base:
            self.want.setdefault("finetune_unsloth", "implied")
        if "finetune_unsloth" in self.drop:
            self.want.pop("finetune_unsloth", None)
        if (
            roles.of("prepare_dataset.output_dir")
            and "prepare_dataset" not in self.want
            and "finetune_unsloth" not in self.want
        ):
            self.want["prepare_dataset"] = "implied"

    # From what was read to what is meant, in the light of what ran before.

    def _frame(self, amounts: Amounts, roles: Roles) -> Frame:
        loose: list[Any] = list(amounts.relative)
        for i, token in enumerate(self.tokens):
            if token.kind == "number" and not token.used and self._text(i + 1) not in _UNITLESS and token.text != "one":
                loose.append(token.value)
        empty = not (self.values or self.want or self.drop or self.without or loose or roles.family or self.asked)
        text = " ".join(token.text for token in self.tokens)
        if (no := refusal(self.tokens, self.want)) is not None:
            return Frame("refuse", reply=no)
        again = bool(self.words & _AGAIN - {"more"}) or {"once", "more"} <= self.words
        if empty and again and self.last is not None:
            return Frame("repeat")
        if (aside := answer_aside(self.tokens, text, self.history, bool(empty), set(self.want))) is not None and (
            empty or not self._actionable()
        ):
            return Frame("chat" if aside[0] else "refuse", reply=aside[1])
        intent: Intent = "change" if self.last is not None and not self._fresh(again) else "new"
        self._settle_additions(intent)
        question, about = self._unclear(amounts, loose, intent)
        if loose and intent == "new" and not self.about:
            self._unused(loose)
            loose = [value for value in loose if isinstance(value, dict)]
        if elsewhere := self.words & _ELSEWHERE:
            self.remarks.append(f"I only write files here: `{sorted(elsewhere)[0]}` is left to you")
        return Frame(
            intent=intent,
            want=tuple(self.want),
            drop=tuple(sorted(self.drop)),
            values=self.values,
            more=self._more(intent),
            every=intent == "change" and bool(self.words & {"both", "all", "each", "them", "every"}),
            without=self.without,
            family=roles.family,
            loose=tuple(loose),
            about=about,
            reply=question,
            remarks=tuple(self.remarks),
        )

    def _actionable(self) -> bool:
        return bool(self.values or self.without or self.drop or self.asked) or any(
            strength == "verb" for strength in self.want.values()
        )

    def _fresh(self, again: bool) -> bool:
        """Whether the message stands for itself although something ran before."""
        if again or self.words & (_REPLACING - {"not"}):
            return False
        has = self.values.keys()
        verbs = {tool for tool, strength in self.want.items() if strength != "implied"}
        if "finetune_unsloth" in verbs:
            return BASE in has and bool({SOURCE, DATASET} & has)
        if "prepare_dataset" in verbs:
            return SOURCE in has
        if verbs & {"export_gguf", "export_safetensors"} and (CHECKPOINT in has or (BASE in has and self._bases_new())):
            return True
        if "run_eval" in verbs and (GGUF_FILE in has or CHECKPOINT in has):
            known = {step.args.get("output_file") for step in self.last.steps} if self.last else set()
            adding = self.words & {"also", "too", "well"} and EVAL_SET not in has
            return not adding and not set(self.values.get(GGUF_FILE, [])) & known
        return False

    def _bases_new(self) -> bool:
        return not set(self.values.get(BASE, [])) <= set(self._last_values(BASE))

    def _settle_additions(self, intent: Intent) -> None:
        """`add 10 warmup steps` adds to a number that was asked for before and sets one that was not."""
        for key, values in self.values.items():
            for n, value in enumerate(values):
                if isinstance(value, dict) and "add" in value:
                    tool, name = key.split(".")
                    origins = (
                        [step.origin.get(name) for step in self.last.steps if step.tool == tool] if self.last else []
                    )
                    grows = intent == "change" and (
                        key.endswith(".epochs") or any(o in ("you", "last run") for o in origins)
                    )
                    values[n] = {"plus": value["add"]} if grows else value["add"]

    def _more(self, intent: Intent) -> tuple[str, ...]:
        """Which values come on top of the last plan's."""
        if intent != "change":
            return ()
        makes = bool({"make", "give", "need", "want", "get", "produce", "create"} & self.words)
        made = {"make", "turn"} & self.words and {"it", "that", "them"} & self.words
        replacing = bool(self.words & _REPLACING) or (bool(made) and not self.words & {"also", "too", "well"})
        keys = []
        for key in (QUANTIZATION, EVAL_SET, GGUF_FILE, CHECKPOINT):
            tool = key.split(".")[0]
            asked = self.want.get(tool) == "verb" or (makes and tool in self.want)
            adding = bool(self.words & _ADDING) and tool in self.want or asked
            if key in self.values and adding and not replacing and key not in self.without:
                keys.append(key)
        return tuple(keys)

    def _unclear(self, amounts: Amounts, loose: list[Any], intent: Intent) -> tuple[str | None, str | None]:
        """A question about a number: one that is missing, doubled, or belongs to nothing."""
        if amounts.unclear is not None and self.asked is not None:
            name = self.asked.split(".")[1]
            what = amounts.unclear[1]
            if " or " in what:
                return f"Which value shall `{name}` have, {what}?", self.asked
            return f"What value shall `{name}` have? Say a number, such as `{name}=...`", self.asked
        if self.twice is not None:
            values = " and ".join(str(value) for value in self.values.pop(self.twice) if not isinstance(value, dict))
            return f"`{self.twice.split('.')[1]}` is asked for twice, as {values}; which shall it be?", self.twice
        if self.words & {"longer", "shorter"} and not self.values and not loose:
            return "For how many epochs?", "finetune_unsloth.epochs"
        if not loose or self.about in NUMERIC or intent == "new":
            return None, None
        whole = all(isinstance(value, int | dict) for value in loose)
        numeric = [key for key in self._focus() if whole or float in field_types(key)]
        if self.values or [tool for tool, strength in self.want.items() if strength == "verb"]:
            self._unused(loose)
            return None, None
        if len(numeric) == 1 or (numeric and isinstance(loose[0], dict)):
            self._put(numeric[-1], *loose)
            loose.clear()
            return None, None
        known = f", such as {' or '.join(f'`{key.split(chr(46))[1]}`' for key in numeric)}" if numeric else ""
        return f"Which parameter do you mean{known}? Name it with its value", None

    def _unused(self, loose: list[Any]) -> None:
        numbers = [f"`{value}`" for value in loose if not isinstance(value, dict)]
        if numbers:
            self.remarks.append(f"I did not use {' and '.join(numbers)}, which names no parameter of a tool")

    def _focus(self) -> list[str]:
        """The numbers that the last request spoke of, in its order."""
        if self.last is None:
            return []
        ran = next((n for n, ran in enumerate(self.history.ran) if ran.plan is self.last), 0)
        frame = read(self.last.request, History(self.history.ran[:ran]))
        return [key for key in frame.values if key in NUMERIC]


def read(text: str, history: History) -> Frame:
    """What a message asks for, in the light of what ran before. Never raises, whatever the text."""
    return _Reader(text[:20_000], history).read()
