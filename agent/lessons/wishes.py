"""What one request asks for: the values of a pipeline, drawn at random, each as it is said and as the frame has it."""

import random
from dataclasses import dataclass, field
from typing import Any

from tunesmith.agent.frame import Frame
from tunesmith.agent.frame_words import TOOLS_AS, key_of, keys
from tunesmith.agent.keys import BASE, EVAL_SET, METHOD, QUANT, QUANTIZATION, SOURCE, TARGETS
from tunesmith.agent.phrases import EVAL_SETS
from tunesmith.agent.pipeline import ORDER

from . import amounts, names
from .phrasebook import word_list

__all__ = [
    "Made",
    "Wish",
    "add_extras",
    "add_nones",
    "add_numbers",
    "eval_set",
    "evaluation",
    "file_type",
    "key_named",
    "number",
    "slot",
    "training",
    "types",
]

_TYPES = word_list("q4_k_m q4_k_m q4_k_m q8_0 q8_0 q5_k_m q6_k q4_0 f16 bf16 q3_k_m q2_k q5_0 q4_k_s q5_k_s f32")
_BITS = {"q4_k_m": ["4 bit", "4-bit"], "q8_0": ["8 bit", "8-bit"], "f16": ["fp16", "F16", "16 bit"], "q6_k": ["6 bit"]}
_SETS = word_list(
    "mmlu mmlu hellaswag hellaswag gsm8k arc_challenge arc_easy winogrande truthfulqa_mc2 piqa boolq ifeval"
)
_HELD_OUT = {
    "en": ["the held-out rows", "the held-out part", "heldout", "the held out set", "held-out data"],
    "de": ["den zurückgehaltenen Zeilen", "dem zurückgehaltenen Teil", "heldout", "den zurückgelegten Daten"],
    "es": ["las filas reservadas", "la parte reservada", "heldout", "los datos apartados"],
    "fr": ["les lignes mises de côté", "la partie réservée", "heldout", "les données de côté"],
    "pt": ["as linhas reservadas", "a parte separada", "heldout", "os dados reservados"],
    "zh": ["留出集", "留出的数据", "heldout", "预留部分"],
    "hi": ["अलग रखे हिस्से", "heldout", "बचाकर रखे डेटा"],
}
_OTHER_SETS = word_list("drop aime24 medqa pubmedqa toxigen agieval cmmlu ceval musr math_500 babi logiqa swag squadv2")
_LAYERS = {
    "attention": ["q_proj", "k_proj", "v_proj", "o_proj"],
    "mlp": ["gate_proj", "up_proj", "down_proj"],
}
_SPLITS = word_list("test validation train val dev train_sft")
_NUMBERS = {
    "finetune_unsloth.epochs": 10,
    "finetune_unsloth.learning_rate": 6,
    "finetune_unsloth.lora_r": 5,
    "finetune_unsloth.lora_alpha": 2,
    "finetune_unsloth.batch_size": 3,
    "finetune_unsloth.max_seq_length": 2,
    "finetune_unsloth.max_steps": 1.5,
    "finetune_unsloth.warmup_steps": 1.2,
    "finetune_unsloth.weight_decay": 1,
    "finetune_unsloth.seed": 1.2,
    "prepare_dataset.limit": 2,
    "prepare_dataset.heldout_fraction": 1.8,
}


@dataclass
class Wish:
    """One request in the making.

    Attributes:
        said: slot (`base`, `train.epochs`) -> how the request says it.
        frame: what the request means, its numbers still as they are said.
        expected: `tool.parameter` -> values that the plan must have in some step.
        kind: of the request, for the scores.
    """

    kind: str = "new"
    said: dict[str, str] = field(default_factory=dict)
    values: dict[str, list[Any]] = field(default_factory=dict)
    want: set[str] = field(default_factory=set)
    drop: set[str] = field(default_factory=set)
    expected: dict[str, list[Any]] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def put(self, key: str, shown: str, value: Any, expected: Any = None) -> None:
        """Take a value that is said as `shown`."""
        self.values.setdefault(key, []).append(value)
        self.expected.setdefault(key, []).append(value if expected is None else expected)
        self.said[slot(key)] = shown
        self.want.add(key.split(".")[0])

    def frame(self, intent: Any = "new") -> Frame:
        """The frame, with numbers as they are said."""
        return Frame(
            intent,
            want=tuple(tool for tool in ORDER if tool in self.want),
            drop=tuple(sorted(self.drop)),
            values=self.values,
            **self.options,
        )


Made = tuple[str, Wish, Frame] | None
"""(text, what it is about, the frame that it means), or None where there is nothing to say."""


def slot(key: str) -> str:
    """The name of a parameter in the phrase tables.

    >>> slot("finetune_unsloth.learning_rate")
    'train.lr'
    """
    return f"{TOOLS_AS[key.split('.')[0]]}.{key_of(key)}"


def key_named(name: str) -> str:
    """The parameter that a name in the phrase tables stands for: the inverse of `slot`.

    >>> key_named("train.lr")
    'finetune_unsloth.learning_rate'
    """
    word, _, short = name.partition(".")
    return next(keys(tool)[short] for tool, spoken in TOOLS_AS.items() if spoken == word)


def number(wish: Wish, draw: random.Random, key: str, language: str) -> None:
    """One number for a parameter."""
    shown, value = amounts.drawn(draw, key, language)
    wish.put(key, shown, shown, value)


def add_numbers(wish: Wish, draw: random.Random, language: str, count: int, conj: str = " and ") -> None:
    """`count` different numeric parameters of preparing and training; now and then one of them with several values."""
    keys = list(_NUMBERS)
    while count and keys:
        key = draw.choices(keys, [_NUMBERS[key] for key in keys])[0]
        keys.remove(key)
        count -= 1
        if draw.random() < 0.03 and key.endswith(("epochs", "learning_rate", "lora_r")):
            several = dict(amounts.drawn(draw, key, language) for _ in range(3))
            several = {shown: value for n, (shown, value) in enumerate(several.items()) if n < draw.choice([2, 3])}
            if len(several) > 1 and len(set(several.values())) == len(several):
                for shown, value in several.items():
                    wish.put(key, "", shown, value)
                *first, last = several
                wish.said[slot(key)] = ", ".join(first) + conj + last
                continue
        number(wish, draw, key, language)


def add_nones(wish: Wish, draw: random.Random) -> None:
    """Now and then a number that is to be nothing: no warmup, no weight decay, nothing held out."""
    key = draw.choice(
        ["finetune_unsloth.warmup_steps", "finetune_unsloth.weight_decay", "prepare_dataset.heldout_fraction"]
    )
    if draw.random() < 0.05 and key not in wish.values and (SOURCE in wish.values or key.startswith("finetune")):
        wish.put(key, "none", "none", 0)


def add_extras(wish: Wish, draw: random.Random) -> None:
    """Now and then one of the rarer parameters."""
    kind = draw.random()
    if kind < 0.04 and METHOD not in wish.values and QUANT not in wish.values:
        precision = draw.choice(["8bit", "4bit", "16bit"])
        wish.put(
            QUANT, draw.choice([precision, precision.replace("bit", " bit"), precision.replace("b", "-b")]), precision
        )
    elif kind < 0.06:
        layers = draw.choice([*_LAYERS])
        wish.put(TARGETS, layers, _LAYERS[layers])
    elif kind < 0.09:
        shown, name = names.output_folder(draw)
        wish.put("finetune_unsloth.output_dir", shown, name)
    if SOURCE not in wish.values:
        return
    kind = draw.random()
    if kind < 0.04:
        split = draw.choice(_SPLITS)
        wish.put("prepare_dataset.split", split, split)
    elif kind < 0.06:
        wish.put("prepare_dataset.streaming", "", True)
    elif kind < 0.09:
        wish.put("prepare_dataset.on_bad_rows", "", "skip")


def file_type(draw: random.Random) -> names.Named:
    """A GGUF type as people write it, and as the catalogue has it."""
    name = draw.choice(_TYPES)
    if name in _BITS and draw.random() < 0.2:
        return draw.choice(_BITS[name]), name
    kind = draw.random()
    if kind < 0.6:
        return name, name
    return {0: name.upper(), 1: name.replace("_", ""), 2: name.upper().replace("_", ""), 3: name.replace("_", " ")}[
        draw.choice([0, 0, 0, 1, 2, 3])
    ], name


def eval_set(draw: random.Random, language: str = "en") -> names.Named:
    """An evaluation set as people write it, and as lm-eval does."""
    kind = draw.random()
    if kind < 0.05:
        return draw.choice(_HELD_OUT[language]), "heldout"
    if kind < 0.1:
        name = draw.choice(_OTHER_SETS)
        return name, name
    if kind < 0.18:
        shown, name = names.data(draw)
        return (shown, name) if name.endswith((".jsonl", ".json")) else ("mmlu", "mmlu")
    name = draw.choice(_SETS) if draw.random() < 0.8 else draw.choice([key for key in EVAL_SETS if key != "heldout"])
    spelled = [name, name, name.upper(), name.replace("_", " "), *EVAL_SETS[name].split(", ")]
    shown = draw.choice(spelled)
    return (shown.title() if draw.random() < 0.15 and "_" not in shown else shown), name


def evaluation(wish: Wish, draw: random.Random, language: str, conj: str) -> None:
    """Evaluation sets, and now and then a limit."""
    several = {
        name: shown for shown, name in (eval_set(draw, language) for _ in range(draw.choice([1, 1, 1, 1, 1, 1, 1, 2])))
    }
    for name, shown in several.items():
        wish.put(EVAL_SET, shown, name)
    shown_sets = list(several.values())
    wish.said["eval.on"] = ", ".join(shown_sets[:-1]) + (conj if len(shown_sets) > 1 else "") + shown_sets[-1]
    if draw.random() < 0.12:
        number(wish, draw, "run_eval.limit", language)
    if draw.random() < 0.03:
        wish.put("run_eval.chat_template", "", True)


def types(wish: Wish, draw: random.Random, conj: str) -> None:
    """One to three GGUF types."""
    several = {
        name: shown for shown, name in (file_type(draw) for _ in range(draw.choice([1, 1, 1, 1, 1, 1, 1, 1, 2, 2])))
    }
    for name, shown in several.items():
        wish.put(QUANTIZATION, shown, name)
    shown_types = list(several.values())
    wish.said["export.type"] = ", ".join(shown_types[:-1]) + (conj if len(shown_types) > 1 else "") + shown_types[-1]


def _base(draw: random.Random) -> names.Named:
    return names.model(draw) if draw.random() < 0.8 else names.hub_model(draw)


def training(
    draw: random.Random, language: str, conj: str, *, numbers: int, base: bool = True, source: bool = True
) -> Wish:
    """A training, with what may follow it."""
    wish = Wish(want={"finetune_unsloth"})
    if base:
        several = dict(_base(draw)[::-1] for _ in range(2 if draw.random() < 0.015 else 1))
        for name, shown in several.items():
            wish.put(BASE, shown, name)
        wish.said["base"] = conj.join(several.values())
    if source:
        several = dict(names.data(draw)[::-1] for _ in range(2 if draw.random() < 0.015 else 1))
        for name, shown in several.items():
            wish.put(SOURCE, shown, name)
        wish.said["data"] = conj.join(several.values())
    method = draw.random()
    if base and source and method < 0.18:
        wish.said["core"] = "dpo" if method < 0.06 else "qlora" if method < 0.13 else "full"
        if method < 0.06:
            wish.put(METHOD, "", "dpo")
        elif method < 0.13:
            wish.put(QUANT, "", "4bit")
        else:
            wish.values["finetune_unsloth.lora_r"], wish.expected["finetune_unsloth.lora_r"] = ["none"], [0]
    add_numbers(wish, draw, language, numbers, conj)
    if wish.said.get("core") == "full":
        wish.values["finetune_unsloth.lora_r"], wish.expected["finetune_unsloth.lora_r"] = ["none"], [0]
        wish.said.pop("train.rank", None)
    if not source:
        for key in [key for key in wish.values if key.startswith("prepare_dataset.")]:
            del wish.values[key], wish.expected[key], wish.said[slot(key)]
        wish.want.discard("prepare_dataset")
    return wish
