"""What a message says and no tool can do: asked about or named, never dropped in silence."""

import pytest
from conversing import argument, converse

TRAIN = "train smollm2-135m on rows.jsonl"


@pytest.mark.parametrize("value", ["epochs NaN", "epochs=many", "learning rate inf", "seed = foo", "rank: lots"])
def test_a_word_where_a_number_belongs_is_asked_about(value: str) -> None:
    plan = converse(f"{TRAIN}, {value}")
    assert plan.kind == "question"
    assert plan.reply is not None and plan.reply.startswith("What value shall")


@pytest.mark.parametrize(
    "value", ["epochs 3, many thanks", "for 3 epochs on several cores", "epochs=3, none of it in 4bit"]
)
def test_a_number_that_is_there_is_taken(value: str) -> None:
    assert argument(converse(f"{TRAIN} {value}"), "finetune_unsloth", "epochs") == [3]


@pytest.mark.parametrize(
    ("text", "when"),
    [
        (f"{TRAIN} every night", "every night"),
        (f"each monday, {TRAIN}", "each monday"),
        (f"{TRAIN} nightly", "nightly"),
        (f"{TRAIN} tomorrow at noon", "tomorrow"),
    ],
)
def test_another_time_than_now_is_left_to_the_user_and_said(text: str, when: str) -> None:
    plan = converse(text)
    assert [step.tool for step in plan.steps] == ["prepare_dataset", "finetune_unsloth"]
    assert plan.reply is not None and f"`{when}` is left to you" in plan.reply


@pytest.mark.parametrize(
    "text",
    [
        "train smollm2-135m on daily.jsonl",
        "train smollm2-135m on 'every night.jsonl'",
        f"{TRAIN} and save every epoch",
        f"{TRAIN}, daily reports of the shop",
    ],
)
def test_words_of_time_that_order_nothing_are_not_remarked_on(text: str) -> None:
    assert "is left to you" not in (converse(text).reply or "")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (r"prepare my\ data.jsonl", "my data.jsonl"),
        (r"prepare /home/ada/my\ data\ 2.jsonl, at most 50 rows", "/home/ada/my data 2.jsonl"),
        (r"prepare C:\data\rows.jsonl", r"C:\data\rows.jsonl"),
    ],
)
def test_a_space_as_a_shell_writes_it_belongs_to_the_name(text: str, name: str) -> None:
    assert argument(converse(text), "prepare_dataset", "source") == [name]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("smolm2", "Did you mean `smollm2-135m` or `smollm2-360m` or `smollm2-1.7b`?"),
        ("gema3-270m", "Did you mean `gemma3-270m`?"),
        ("lama3.2-1b", "Did you mean `llama3.2-1b`?"),
    ],
)
def test_a_model_that_is_nearly_one_of_the_catalogue_is_asked_about(name: str, hint: str) -> None:
    question = converse(f"train {name} on rows.jsonl")
    assert question.reply is not None and question.reply.startswith(hint)
    assert "Did you mean" not in (converse("train quux9 on rows.jsonl").reply or "")


def test_a_yes_takes_the_one_model_that_was_meant() -> None:
    assert argument(converse("train gema3-270m on rows.jsonl", "yes"), "finetune_unsloth", "base_model") == [
        "gemma3-270m"
    ]
    assert converse("train smolm2 on rows.jsonl", "yes").kind != "run", "of three, a yes names none"
    second = converse("train smolm2 on rows.jsonl", "the second one")
    assert argument(second, "finetune_unsloth", "base_model") == ["smollm2-360m"]


@pytest.mark.parametrize("text", ["double the epochs", "lower lr to 1e-5", "rank 8 and 3 epochs"])
def test_a_change_of_nothing_says_that_nothing_is_planned_yet(text: str) -> None:
    plan = converse(text)
    assert plan.kind == "question"
    assert plan.reply is not None and plan.reply.startswith("Nothing is planned here yet that `")


def test_a_change_that_was_refused_is_forgotten_and_a_new_value_still_answers() -> None:
    refused = (TRAIN, "epochs=500, rank 4")
    assert converse(*refused).kind == "refusal"
    assert argument(converse(*refused, "seed 7"), "finetune_unsloth", "epochs") == [1]
    assert argument(converse(*refused, "seed 7"), "finetune_unsloth", "lora_r") == [4]
    assert argument(converse(*refused, "5"), "finetune_unsloth", "epochs") == [5]
    assert [step.tool for step in converse(TRAIN, "use q9_z", "rank 8").steps] == [
        "prepare_dataset",
        "finetune_unsloth",
    ]
    assert argument(converse(TRAIN, "use q9_z", "q8_0"), "export_gguf", "quantization") == ["q8_0"]
