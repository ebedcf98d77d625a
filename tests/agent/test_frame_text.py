"""The text of a frame: read and write are inverse, and nothing malformed is read."""

import random
from pathlib import Path
from typing import Any

import pytest
from tunesmith.agent.frame import Frame
from tunesmith.agent.frame_prompt import SYSTEM, prompt, rendered
from tunesmith.agent.frame_text import read, write
from tunesmith.agent.frame_words import TOOLS_AS, choices, key_of, keys
from tunesmith.agent.lexicon import NUMERIC, field_types
from tunesmith.agent.pipeline import ORDER
from tunesmith.agent.plan import History, Ran
from tunesmith.agent.planner import RulesPlanner
from tunesmith.agent.replies import ASKS, CHATS, REFUSALS
from tunesmith.agent.rules import read as read_request
from tunesmith.tools.chat_template import Chat, render_chats

STEP_EACH = ("run_eval.gguf_file", "run_eval.eval_set", "export_gguf.quantization", "export_gguf.checkpoint_dir")
NAMES = [
    "data/x.jsonl",
    "my rows; final.csv",
    "default",
    "?",
    "none",
    "new",
    "epochs",
    "s3://bucket/a b",
    "/tmp/q.gguf",
]


@pytest.mark.parametrize(
    "text",
    [
        "",
        ";",
        "new;",
        "; train",
        "hello",
        "new train",
        "new; bake epochs 2",
        "new; train epoch 2",
        "new; train epochs",
        "new; train epochs soon",
        "new; train epochs times",
        "new; train base times 2",
        "new; train epochs divided 0",
        "new; also",
        "undo; train",
        "undo train",
        "refuse",
        "refuse everything",
        "chat about",
        "chat about train epoch",
        "ask epochs",
        "repeat everything",
        'new; prepare data "',
        'new; prepare data " "',
        "all new; train",
        "new; train epochs 1; train rank 2",
    ],
)
def test_a_malformed_text_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(text)


@pytest.mark.parametrize(
    "frame",
    [
        Frame(loose=(3,)),
        Frame("chat", reply="a reply in words of its own"),
        Frame(want=("prepare_dataset",), values={"prepare_dataset.source": ['rows".jsonl']}),
        Frame(want=("prepare_dataset",), values={"prepare_dataset.source": ["rows\n.jsonl"]}),
    ],
)
def test_a_frame_that_no_text_holds_is_a_value_error(frame: Frame) -> None:
    with pytest.raises(ValueError, match=r"."):
        write(frame)


def _value(draw: random.Random, key: str) -> Any:
    if key in NUMERIC:
        whole = float not in field_types(key)
        number = draw.choice([1, 3, 16, 2048]) if whole else draw.choice([2e-4, 1e-05, 0.1, 0.05])
        if key == "prepare_dataset.heldout_fraction":
            number = draw.choice([0, 0.05, 0.2])
        return draw.choice([number, number, {"times": 0.5}, {"plus": -2}, {"plus": 4}, {"default": True}])
    if bool in field_types(key):
        return draw.random() < 0.5
    if tuple in {getattr(kind, "__origin__", None) for kind in field_types(key)}:
        return draw.choice([["q_proj"], ["gate_proj", "up_proj", "down_proj"], ["q_proj", "v_proj"]])
    named = [value for value in choices(key) if value not in NAMES]
    return draw.choice(named if named and draw.random() < 0.6 else NAMES)


def _frame(draw: random.Random) -> Frame:
    tools = tuple(tool for tool in ORDER if draw.random() < 0.5)
    values: dict[str, list[Any]] = {}
    for tool in ORDER:
        for key in keys(tool).values():
            if draw.random() < 0.15:
                values[key] = [_value(draw, key)]
                other = _value(draw, key)
                if draw.random() < 0.3 and not isinstance(other, list) and other != values[key][0]:
                    values[key].append(other)
    paired = [key for key in values if len(values[key]) == 2 and key.split(".")[0] in tools and draw.random() < 0.5]
    dropped = tuple(sorted(tool for tool in ORDER if tool not in tools and draw.random() < 0.2))
    extended = {tool for tool in tools if draw.random() < 0.2}
    unclear = draw.choice([key for key in keys("finetune_unsloth").values() if key not in values])
    asks = "finetune_unsloth" in tools and draw.random() < 0.2
    return Frame(
        draw.choice(["new", "change", "answer"]),
        want=tools,
        drop=dropped,
        values=values,
        more=tuple(key for key in sorted(STEP_EACH, key=_place) if key in values and key.split(".")[0] in extended),
        paired=tuple(paired),
        every=draw.random() < 0.2,
        without={"export_gguf.quantization": ["q8_0"]} if draw.random() < 0.2 else {},
        about=unclear if asks else None,
        reply=read(f"new; train {key_of(unclear)} ?").reply if asks else None,
    )


def _place(key: str) -> int:
    return ("export_gguf.quantization", "run_eval.eval_set", "run_eval.gguf_file", "export_gguf.checkpoint_dir").index(
        key
    )


def test_reading_is_the_inverse_of_writing() -> None:
    draw = random.Random(7)
    for _ in range(3000):
        frame = _frame(draw)
        assert read(write(frame)) == frame, write(frame)


@pytest.mark.parametrize(
    "text",
    [f"refuse {name}" for name in REFUSALS]
    + [f"chat {name}" for name in CHATS]
    + [f"ask {name}" for name in ASKS]
    + [f"chat about {TOOLS_AS[tool]}" for tool in ORDER]
    + [f"chat about {TOOLS_AS[tool]} {word}" for tool in ORDER for word in keys(tool)]
    + ["undo", "cancel", "repeat", "repeat train export", "change all; eval on mmlu", "new; train base llama3.2"],
)
def test_short_forms_come_back_as_they_were(text: str) -> None:
    assert write(read(text)) == text


def test_numbers_and_names_may_stand_as_the_user_wrote_them() -> None:
    frame = read(
        'new; prepare data "meine Daten.jsonl" limit 1.000; train base "Gemma 3 (270 M)" epochs fünf lr 0,0002'
    )
    assert frame.values == {
        "prepare_dataset.source": ["meine Daten.jsonl"],
        "prepare_dataset.limit": [1000],
        "finetune_unsloth.base_model": ["gemma3-270m"],
        "finetune_unsloth.epochs": [5],
        "finetune_unsloth.learning_rate": [0.0002],
    }


def test_several_values_make_a_list_and_sections_in_turn_make_pairs() -> None:
    assert read("new; train rank 8 rank 16; export type q8_0 type q4_0").values == {
        "finetune_unsloth.lora_r": [8, 16],
        "export_gguf.quantization": ["q8_0", "q4_0"],
    }
    frame = read("new; eval file a.gguf on piqa; eval file b.gguf on boolq")
    assert frame.values == {"run_eval.gguf_file": ["a.gguf", "b.gguf"], "run_eval.eval_set": ["piqa", "boolq"]}
    assert set(frame.paired) == {"run_eval.gguf_file", "run_eval.eval_set"}


def test_what_the_rules_read_survives_its_text(workdir: Path) -> None:
    for request in (
        "Fine-tune Gemma3:270M on `alpaca_cleaned` for 2 epochs and export q4_k_m.",
        "evaluate a.gguf on piqa and b.gguf on boolq",
        "train gemma on rows.jsonl",
        "train smollm2-135m on a.jsonl with attention only, no export",
    ):
        frame = read_request(request, History())
        assert read(write(frame)) == frame


def test_the_prompt_shows_the_last_plan_and_the_open_question(workdir: Path) -> None:
    planner = RulesPlanner()
    first = planner.plan("train smollm2-135m on a.jsonl for 2 epochs and export q8_0", History())
    history = History((Ran(first, finished=3),))
    assert prompt("double the epochs", History()) == "double the epochs"
    assert prompt("double the epochs", history) == (
        "last: prepare data a.jsonl; train base smollm2-135m epochs 2; export type q8_0\ndouble the epochs"
    )
    question = planner.plan("fine-tune smollm2-135m for 1 epoch", History())
    assert prompt("c.jsonl", History((Ran(question, finished=0),))) == (
        "open: new; train base smollm2-135m epochs 1\nasked: prepare data\nc.jsonl"
    )


def test_the_rendered_prompt_is_what_the_chat_template_of_the_base_model_writes(base_dir: Path) -> None:
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "one\ntwo"}]
    template = (base_dir / "chat_template.jinja").read_text(encoding="utf-8")
    assert render_chats(template, [Chat(messages, add_generation_prompt=True)]) == [rendered("one\ntwo")]
