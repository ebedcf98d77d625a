"""Corrections, references and other turns of phrase that change what a message means."""

from typing import Any

import pytest
from conversing import argument, converse, running

PREPARE, TRAIN, GGUF, FOLDER, EVAL = (
    "prepare_dataset",
    "finetune_unsloth",
    "export_gguf",
    "export_safetensors",
    "run_eval",
)
BIKES = "Fine-tune gemma3-1b on bikes.csv for 3 epochs and export q5_k_m"


@pytest.mark.parametrize(
    ("text", "tool", "name", "value"),
    [
        ("tune qwen3 0.6b on bikes.csv for 2 epochs, no wait, 5", TRAIN, "epochs", 5),
        ("tune qwen3 0.6b on bikes.csv for 2 epochs - scratch that, 5 epochs", TRAIN, "epochs", 5),
        ("tune qwen3 0.6b on bikes.csv, rank 8, I mean 32, alpha 64", TRAIN, "lora_r", 32),
        ("tune qwen3 0.6b on bikes.csv, rank 8 (sorry, alpha too: 32)", TRAIN, "lora_r", 8),
        ("tune qwen3 0.6b on bikes.csv, er, trains.csv", PREPARE, "source", "trains.csv"),
        ("tune gemma3-1b - no, make that qwen3-4b - on bikes.csv", TRAIN, "base_model", "qwen3-4b"),
        ("tune gemma3-1b, sorry, the 4b, on bikes.csv", TRAIN, "base_model", "gemma3-4b"),
        ("tune qwen3 0.6b on bikes.csv in 8 bit, hmm, better 4 bit", TRAIN, "quant", "4bit"),
        ("export runs/bikes as q8_0, or rather q6_k", GGUF, "quantization", "q6_k"),
        ("I would rather have q6_k than q8_0 of runs/bikes", GGUF, "quantization", "q6_k"),
        ("score models/bikes.gguf on mmlu, no, on piqa", EVAL, "eval_set", "piqa"),
    ],
)
def test_what_is_corrected_replaces_what_was_said_wrong(text: str, tool: str, name: str, value: Any) -> None:
    assert argument(converse(text), tool, name) == [value]


@pytest.mark.parametrize(
    ("text", "tools"),
    [
        ("tune qwen3 0.6b on bikes.csv for 2 epochs and actually score it on piqa", [PREPARE, TRAIN, GGUF, EVAL]),
        ("Sorry to disturb, tune qwen3 0.6b on bikes.csv", [PREPARE, TRAIN]),
        ("tune qwen3 0.6b on bikes.csv, wait until it is done, export q8_0", [PREPARE, TRAIN, GGUF]),
        ("tune qwen3 0.6b on bikes.csv and export q8_0. On second thought, don't export", [PREPARE, TRAIN]),
    ],
)
def test_a_word_of_correction_alone_replaces_nothing(text: str, tools: list[str]) -> None:
    assert running(converse(text)) == tools


@pytest.mark.parametrize(
    ("text", "tool", "values"),
    [
        ("tune qwen3 0.6b on bikes.csv, lr 1/2000", TRAIN, {"learning_rate": 0.0005}),
        ("tune qwen3 0.6b on bikes.csv, r32 a=16 bs4 lr2e-5", TRAIN, {"lora_r": 32, "lora_alpha": 16, "batch_size": 4}),
        ("tune qwen3 0.6b on bikes.csv, twice through the data", TRAIN, {"epochs": 2}),
        ("go over the data three times with qwen3 0.6b and bikes.csv", TRAIN, {"epochs": 3}),
        ("tune qwen3 0.6b on bikes.csv for another 2 epochs", TRAIN, {"epochs": 2}),
        ("tune qwen3 0.6b on bikes.csv with a low learning rate, say 1e-5", TRAIN, {"learning_rate": 1e-5}),
        ("tune qwen3 0.6b on bikes.csv, weight decay of two percent", TRAIN, {"weight_decay": 0.02}),
        ("tune qwen3 0.6b on /srv/my bikes.csv", PREPARE, {"source": "/srv/my bikes.csv"}),
        (r"tune qwen3 0.6b on D:\My Data\bikes.csv", PREPARE, {"source": r"D:\My Data\bikes.csv"}),
        ("keep 20 % of bikes.csv for testing and tune qwen3 0.6b on the rest", PREPARE, {"heldout_fraction": 0.2}),
        ("prepare bikes.csv, the first 70 only", PREPARE, {"limit": 70}),
        ("use org/bikes as the data and org/llama-7b as the base, 1 epoch", TRAIN, {"base_model": "org/llama-7b"}),
        ("count the tokens of bikes.csv with the qwen3-4b tokenizer", PREPARE, {"tokenizer": "qwen3-4b"}),
        ("merge runs/bikes to safetensors, folder out/bikes", FOLDER, {"output_dir": "out/bikes"}),
        ("train qwen3 0.6b with a file called bikes.csv", PREPARE, {"source": "bikes.csv"}),
        ("90 % of bikes.csv for training and 10 % for testing, qwen3 0.6b", PREPARE, {"heldout_fraction": 0.1}),
        ("tune qwen3 0.6b on bikes.csv for a hundred and twenty-five steps", TRAIN, {"max_steps": 125}),
        ("fetch only the validation split of org/bikes", PREPARE, {"split": "validation"}),
        ("models/b.gguf from runs/bikes, 8 bit", GGUF, {"output_file": "models/b.gguf", "quantization": "q8_0"}),
    ],
)
def test_a_value_is_found_where_people_put_it(text: str, tool: str, values: dict[str, Any]) -> None:
    plan = converse(text)
    for name, value in values.items():
        assert argument(plan, tool, name) == [value], plan.reply


@pytest.mark.parametrize(
    ("vague", "name"),
    [
        ("a negative learning rate", "learning_rate"),
        ("many epochs", "epochs"),
        ("a low learning rate", "learning_rate"),
    ],
)
def test_a_wish_without_a_number_is_asked_about(vague: str, name: str) -> None:
    plan = converse(f"tune qwen3 0.6b on bikes.csv with {vague}")
    assert not plan.steps and plan.reply is not None and f"`{name}`" in plan.reply


def test_a_lone_small_number_is_the_learning_rate_and_the_reply_says_so() -> None:
    plan = converse("qwen3-0.6b, bikes.csv, 3e-5, 2 epochs")
    assert argument(plan, TRAIN, "learning_rate") == [3e-5]
    assert plan.reply is not None and "learning rate" in plan.reply


@pytest.mark.parametrize(
    ("turns", "tool", "name", "value"),
    [
        (("tune gemma on bikes.csv", "the first one"), TRAIN, "base_model", "gemma3-270m"),
        (("tune gemma on bikes.csv", "2"), TRAIN, "base_model", "gemma3-1b"),
        (("tune gemma on bikes.csv", "the biggest"), TRAIN, "base_model", "gemma3-4b"),
        (("export runs/bikes as q4", "the last one"), GGUF, "quantization", "q4_0"),
        (("tune gemma3-1b for 2 epochs", "the file is called 'my bikes.csv'"), PREPARE, "source", "my bikes.csv"),
        (("export runs/bikes as q8_0 and q6_k", "score the second one on piqa"), EVAL, "gguf_file", "-q6_k.gguf"),
        (("export runs/a as q8_0", "export runs/b as q8_0", "score the other one"), EVAL, "gguf_file", "models/a-"),
    ],
)
def test_one_of_several_can_be_pointed_at(turns: tuple[str, ...], tool: str, name: str, value: str) -> None:
    found = argument(converse(*turns), tool, name)
    assert len(found) == 1 and value in found[0]


def test_two_names_side_by_side_are_asked_about_before_both_are_trained_on() -> None:
    plan = converse("tune qwen3 0.6b on Bikes/2024 spring.csv")
    assert not plan.steps and plan.reply is not None and "quotes" in plan.reply
    answered = converse("tune qwen3 0.6b on Bikes/2024 spring.csv", "'Bikes/2024 spring.csv'")
    assert argument(answered, PREPARE, "source") == ["Bikes/2024 spring.csv"]


def test_a_number_said_on_its_own_goes_to_what_was_asked_about() -> None:
    assert argument(converse(BIKES, "change the rank", "32"), TRAIN, "lora_r") == [32]
    assert argument(converse("tune gemma3-1b on bikes.csv with a large batch size", "64"), TRAIN, "batch_size") == [64]


def test_the_other_one_of_more_than_two_is_asked_for() -> None:
    plan = converse("export runs/a as q8_0, q6_k and q4_0", "score the other one on piqa")
    assert not plan.steps and plan.reply is not None and "models/a-finetuned.gguf" in plan.reply


def test_undo_goes_back_to_the_plan_before_and_runs_nothing_twice() -> None:
    plan = converse(BIKES, "rank 64", "undo that")
    assert [step.args["lora_r"] for step in plan.steps if step.tool == TRAIN] == [16] and running(plan) == []
    assert converse(BIKES, "undo").steps == ()


@pytest.mark.parametrize(
    ("turns", "tools"),
    [
        ((BIKES, "skip the export and train for 4 epochs"), [TRAIN]),
        ((BIKES, "score it on piqa and boolq", "limit it to 40 questions"), [EVAL, EVAL]),
        ((BIKES, "score it on piqa", "make the export q8_0"), [GGUF, EVAL]),
        ((BIKES, "call the gguf models/bikes.gguf"), [GGUF]),
        ((BIKES, "export it again"), [GGUF]),
        ((BIKES, "score it against its base on piqa"), [EVAL]),
    ],
)
def test_a_follow_up_touches_no_more_than_it_says(turns: tuple[str, ...], tools: list[str]) -> None:
    assert running(converse(*turns)) == tools


def test_an_evaluation_without_an_export_says_that_it_needs_one() -> None:
    plan = converse("tune qwen3 0.6b on bikes.csv and evaluate it, no export")
    assert running(plan) == [PREPARE, TRAIN, GGUF, EVAL]
    assert plan.reply is not None and "needs a GGUF" in plan.reply


@pytest.mark.parametrize("text", ["export runs/bikes as onnx", "export runs/bikes to tensorflow"])
def test_a_format_that_no_tool_writes_is_refused_with_those_that_one_does(text: str) -> None:
    plan = converse(text)
    assert not plan.steps and plan.reply is not None and "q4_k_m" in plan.reply and "safetensors" in plan.reply


def test_a_method_that_no_tool_knows_is_refused_with_those_that_one_does() -> None:
    plan = converse("tune qwen3 0.6b on bikes.csv with GRPO")
    assert not plan.steps and plan.reply is not None and "`dpo`" in plan.reply


def test_a_call_of_the_contract_is_read_as_it_stands() -> None:
    plan = converse('finetune_unsloth("gemma3-1b", "data/train", 3, 2e-5, 32, "q8_0")')
    (step,) = plan.steps
    expected = {"dataset": "data/train", "epochs": 3, "learning_rate": 2e-5, "lora_r": 32, "quant": "8bit"}
    assert {name: step.args[name] for name in expected} == expected


def test_calls_one_after_the_other_are_one_plan() -> None:
    plan = converse('prepare_dataset("bikes.csv")\nfinetune_unsloth("gemma3-1b", "data/train", epochs=2)')
    assert running(plan) == [PREPARE, TRAIN]


@pytest.mark.parametrize(
    "text", ['run_eval("models/a.gguf", questions=3)', 'run_eval("a.gguf", "piqa", 3, "d", True, 4)']
)
def test_a_call_with_a_parameter_too_many_is_refused_with_those_there_are(text: str) -> None:
    plan = converse(text)
    assert not plan.steps and plan.reply is not None and "gguf_file, eval_set, limit" in plan.reply


@pytest.mark.parametrize("name", ["rows(1).jsonl", "data/my-export(12).csv"])
def test_a_second_download_keeps_its_number_in_parentheses(name: str) -> None:
    assert argument(converse(f"tune qwen3 0.6b on {name} (2 epochs)"), PREPARE, "source") == [name]


@pytest.mark.parametrize(
    "text",
    [
        "bikes/train was already prepared, so just tune qwen3 0.6b on it for 2 epochs",
        "bikes/train is already prepared; tune qwen3 0.6b on it for 2 epochs",
    ],
)
def test_data_that_was_prepared_is_not_prepared_again(text: str) -> None:
    plan = converse(text)
    assert running(plan) == [TRAIN] and argument(plan, TRAIN, "dataset") == ["bikes/train"]


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("a cosine scheduler", "`scheduler`"),
        ("lr_scheduler_type='cosine'", "`lr_scheduler_type`"),
        ("gradient_accumulation_steps=4", "`gradient_accumulation_steps`"),
        ("lora_dropout 0.1", "`lora_dropout`"),
    ],
)
def test_a_setting_of_other_trainers_is_named_and_its_value_goes_nowhere(setting: str, named: str) -> None:
    plain = converse("tune qwen3 0.6b on bikes.csv for 2 epochs")
    plan = converse(f"tune qwen3 0.6b on bikes.csv with {setting} for 2 epochs")
    assert [step.args for step in plan.steps] == [step.args for step in plain.steps]
    assert plan.reply is not None and named in plan.reply


def test_the_names_of_the_hugging_face_trainer_are_understood() -> None:
    plan = converse("tune qwen3 0.6b on bikes.csv with per_device_train_batch_size=2, num_train_epochs=3")
    assert argument(plan, TRAIN, "batch_size") == [2] and argument(plan, TRAIN, "epochs") == [3]
    assert plan.reply is None


@pytest.mark.parametrize(
    "text", ["export runs/bikes as fp16 safetensors", "export runs/bikes as safetensors only, bf16"]
)
def test_the_precision_of_safetensors_orders_no_gguf(text: str) -> None:
    assert running(converse(text)) == [FOLDER]
    assert running(converse("export runs/bikes as f16 gguf and safetensors")) == [GGUF, FOLDER]


def test_a_comma_may_stand_for_the_decimal_point() -> None:
    assert argument(converse("tune qwen3 0.6b on bikes.csv, lr 1,5e-4"), TRAIN, "learning_rate") == [1.5e-4]
    assert argument(converse("prepare bikes.csv, limit 5,000"), PREPARE, "limit") == [5000]
    plan = converse("tune qwen3 0.6b on bikes.csv for 1,5 epochs")
    assert not plan.steps and plan.reply is not None and "1.5" in plan.reply


def test_undo_takes_back_the_last_change_even_where_a_question_is_open() -> None:
    asked = converse(BIKES, "change to 5 epochs", "export it as q4")
    assert not asked.steps and asked.pending is not None
    plan = converse(BIKES, "change to 5 epochs", "export it as q4", "undo")
    assert [step.args["epochs"] for step in plan.steps if step.tool == TRAIN] == [3]


@pytest.mark.parametrize(
    ("text", "tool", "name", "value"),
    [
        ("My colleague always uses rank 64, but I want rank 8: qwen3 0.6b on bikes.csv", TRAIN, "lora_r", 8),
        (
            "Our last attempt ran for 10 epochs at 1e-3, so train qwen3 0.6b on bikes.csv for 2 at 2e-5",
            TRAIN,
            "epochs",
            1,
        ),
        ("The blog post I read recommends q2_k; I want q6_k from runs/bikes", GGUF, "quantization", "q6_k"),
        ("Yesterday it got 61.2 on mmlu. Score models/bikes.gguf on hellaswag today.", EVAL, "eval_set", "hellaswag"),
        (
            "bikes.jsonl holds questions on how to export to q4_k_m. Train qwen3 0.6b on it.",
            TRAIN,
            "base_model",
            "qwen3-0.6b",
        ),
    ],
)
def test_what_is_told_of_other_times_and_people_sets_nothing(text: str, tool: str, name: str, value: Any) -> None:
    plan = converse(text)
    assert argument(plan, tool, name) == [value]
    assert "for a story that sets nothing" in str(plan.reply)


@pytest.mark.parametrize(
    ("text", "tool", "name", "value"),
    [
        ("tune qwen3 0.6b on bikes.csv, make sure it uses rank 8", TRAIN, "lora_r", 8),
        ("tune qwen3 0.6b on bikes.csv, use the suggested rank of 32", TRAIN, "lora_r", 32),
        ("tune qwen3 0.6b on bikes.csv, 3 epochs as my colleague suggested", TRAIN, "epochs", 3),
        ("my colleague needs a q8_0, so export runs/bikes", GGUF, "quantization", "q8_0"),
        ("bikes.jsonl contains questions and answers, train qwen3 0.6b on it for 3 epochs", TRAIN, "epochs", 3),
        ("tune qwen3 0.6b on bikes.csv for 2 epochs; he wanted 3 but I take 2", TRAIN, "epochs", 2),
        ("load models/bikes.gguf and evaluate it on mmlu", EVAL, "gguf_file", "models/bikes.gguf"),
        ("i have data/train prepared, train qwen3 0.6b on it", TRAIN, "dataset", "data/train"),
        ("export all the weights of runs/bikes as q8_0", GGUF, "quantization", "q8_0"),
        ("prepare bikes.csv without bad rows, limit 100", PREPARE, "limit", 100),
        ("prepare bikes.csv and make a folder called corpus/v1", PREPARE, "output_dir", "corpus/v1"),
        ("fine-tune mycompany/custom, not gemma3-1b, on bikes.csv", TRAIN, "base_model", "mycompany/custom"),
        ("take bigcode/hh-rlhf and train gemma-3 1b with it", PREPARE, "source", "bigcode/hh-rlhf"),
        ("could you find out for me how models/bikes.gguf does on piqa", EVAL, "gguf_file", "models/bikes.gguf"),
        ("tune qwen3 0.6b on bikes.csv, set 0.3 aside, weight decay: none", PREPARE, "heldout_fraction", 0.3),
        ("tune qwen3 0.6b on bikes.csv, use 32 for the rank and 3 for the epochs", TRAIN, "lora_r", 32),
    ],
)
def test_what_only_looks_like_a_story_an_order_or_a_place_is_read_as_meant(
    text: str, tool: str, name: str, value: Any
) -> None:
    assert argument(converse(text), tool, name) == [value]


@pytest.mark.parametrize(
    ("turns", "name", "value"),
    [
        (("rank 8, 2 epochs", "double the epochs and the rank"), "lora_r", 16),
        (("rank 8, 2 epochs", "double the epochs and the rank is fine"), "lora_r", 8),
        (("rank 8, 2 epochs", "two more epochs and the rank from before"), "lora_r", 8),
        (("lr 1e-3", "the learning rate was ten times too high; fix that"), "learning_rate", 1e-4),
        (("lr 1e-3", "decrease lr by 10x too"), "learning_rate", 1e-4),
        (("2 epochs", "try 5e-5"), "learning_rate", 5e-5),
        (("weight decay 0.01", "0.0005 instead"), "weight_decay", 0.0005),
        (("at most 100 steps", "take away the step limit"), "max_steps", None),
        (("2 epochs", "bump the epochs by 3", "and bump them by one more"), "epochs", 6),
        (("rank 64", "use the standard rank instead"), "lora_r", 16),
    ],
)
def test_a_change_names_its_parameter_by_what_was_said_before(turns: tuple[str, ...], name: str, value: Any) -> None:
    first, *others = turns
    plan = converse(f"Fine-tune gemma3-1b on bikes.csv, {first}", *others)
    assert [step.args.get(name) for step in plan.steps if step.tool == TRAIN] == [value]


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("use the full dataset with rank 8", None),
        ("take all rows instead of only 500", None),
        ("not the whole dataset, just 1000 rows", 1000),
        ("evaluate on all examples of mmlu", 500),
    ],
)
def test_a_limit_on_rows_is_lifted_where_all_of_them_are_asked_for(text: str, limit: int | None) -> None:
    plan = converse("Fine-tune gemma3-1b on bikes.csv, at most 500 rows, export q8_0", text)
    assert [step.args.get("limit") for step in plan.steps if step.tool == PREPARE] == [limit]
