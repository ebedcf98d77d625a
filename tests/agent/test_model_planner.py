"""A chat model as planner: what it may say, and what becomes of a message when it does not."""

import json
import time
from typing import Any

import pytest
from chat_server import ENDLESS, HUGE, REFUSAL, TOO_MANY, chat_server, frame_answer
from conversing import converse
from injections import INJECTIONS
from tunesmith.agent.compose import compose
from tunesmith.agent.embedded_planner import EmbeddedPlanner
from tunesmith.agent.grounding import Grounds
from tunesmith.agent.model_answer import PARAMETERS, ReadRequest, frame_of
from tunesmith.agent.model_call import ask
from tunesmith.agent.model_planner import ModelPlanner, planner_of
from tunesmith.agent.plan import History, Plan, Ran
from tunesmith.agent.session import Session
from tunesmith.tools.base import BadRequest, MissingExtra

GERMAN = "trainiere smollm2-135m auf rows.jsonl, fünf Epochen"
RIGHT = frame_answer(
    ["finetune_unsloth"],
    {
        "finetune_unsloth.base_model": ["smollm2-135m"],
        "prepare_dataset.source": ["rows.jsonl"],
        "finetune_unsloth.epochs": ["fünf"],
    },
)


def value(key: str, *values: str, **change: str) -> str:
    return frame_answer(["finetune_unsloth"], {key: list(values)}, **change)


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TUNESMITH_MODEL", "TUNESMITH_MODEL_URL", "TUNESMITH_MODEL_SECONDS", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "none")


def read(text: str, answer: str, history: History | None = None) -> Plan:
    """The plan that comes of a model's answer to a message."""
    history = history or History()
    frame, problems = frame_of(answer, Grounds(text, history))
    assert frame is not None, problems
    return compose(frame, history, text, lambda _: False)


def test_a_right_answer_becomes_the_plan_that_the_rules_make_of_plain_english() -> None:
    plan = read(GERMAN, f"Here it is:\n```json\n{RIGHT}\n```")
    assert plan.steps == converse("train smollm2-135m on rows.jsonl for 5 epochs").steps


def test_a_follow_up_changes_the_last_plan() -> None:
    history = History((Ran(converse("train smollm2-135m on rows.jsonl for 2 epochs"), finished=2),))
    answer = value("finetune_unsloth.epochs", "2", intent="change", epochs="times")
    plan = read("verdopple die Epochen", answer, history)
    assert plan.changed == ("epochs 2 → 4",)


@pytest.mark.parametrize(
    ("text", "answer", "problem"),
    [
        (GERMAN, "I would love to help", "Invalid JSON"),
        (GERMAN, RIGHT[:60], "Invalid JSON"),
        (GERMAN, '{"steps": []}', "Field required"),
        (GERMAN, frame_answer(["rm"], {}), "`rm` is no tool"),
        (GERMAN, value("finetune_unsloth.speed", "9"), "`finetune_unsloth.speed` is no parameter"),
        (GERMAN, value("finetune_unsloth.epochs", "3"), "3 for `finetune_unsloth.epochs` is not in the message"),
        (GERMAN, value("finetune_unsloth.epochs", "many"), "is no number"),
        (GERMAN, value("finetune_unsloth.epochs"), "leave out what the person did not say"),
        (GERMAN, value("finetune_unsloth.base_model", "gpt-4"), "stands neither in the message nor in the catalogue"),
        (GERMAN, value("finetune_unsloth.output_dir", "/etc"), "stands neither in the message"),
        (GERMAN, value("prepare_dataset.source", "ows.jsonl"), "stands neither in the message"),
        (GERMAN, value("prepare_dataset.streaming", "perhaps"), "is true or false"),
        ("train on train_9_epochs.jsonl", value("finetune_unsloth.epochs", "9"), "is not in the message"),
        ("what?", frame_answer([], {}, intent="chat"), "needs a reply"),
    ],
)
def test_an_answer_that_can_not_be_used_is_named_to_the_model(text: str, answer: str, problem: str) -> None:
    frame, problems = frame_of(answer, Grounds(text, History()))
    assert frame is None
    assert problem in "; ".join(problems)


def test_a_value_out_of_range_is_refused_as_for_any_planner() -> None:
    plan = read("5000 epochs of smollm2-135m on rows.jsonl", RIGHT.replace('"f\\u00fcnf"', '"5000"'))
    assert plan.kind == "refusal"
    assert "`epochs` cannot be 5000" in str(plan.reply)


def test_every_answer_of_the_schema_gives_a_plan_a_question_or_a_refusal() -> None:
    """Each parameter with each kind of change, with and without a plan before it: never an exception."""
    before = History((Ran(converse("train smollm2-135m on rows.jsonl, export q8_0 and evaluate it"), finished=0),))
    words = "rows.jsonl q4_k_m 5 true smollm2-135m runs/a hellaswag"
    for key in PARAMETERS:
        for change in ("set", "times", "plus", "default", "remove"):
            for one in words.split():
                for intent in ("new", "change", "repeat", "undo"):
                    answer = frame_answer([key.split(".")[0]], {key: [one]}, intent, **{key.split(".")[1]: change})
                    for history in (History(), before):
                        frame, _ = frame_of(answer, Grounds(words, history))
                        if frame is not None:
                            plan = compose(frame, history, words, lambda _: False)
                            assert plan.steps or plan.reply


def test_orders_in_names_and_answers_stay_words() -> None:
    for text in INJECTIONS:
        frame, _ = frame_of(text, Grounds(GERMAN, History()))
        assert frame is None
        said = frame_answer([], {}, "chat", reply=text)
        plan = read(GERMAN, said)
        assert (plan.steps, plan.kind) == ((), "chat")
        assert str(plan.reply).isprintable()


def test_the_schema_names_every_tool_and_parameter_and_asks_for_every_field() -> None:
    text = json.dumps(ReadRequest.model_json_schema())
    assert all(f'"{key}"' in text for key in PARAMETERS)
    assert set(ReadRequest.model_json_schema()["required"]) == set(ReadRequest.model_fields)


def question(url: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": "hello"}]
    return {"model": "openai/tested", "base_url": url, "messages": messages, "timeout_seconds": 30}


@pytest.mark.parametrize(
    ("served", "expected"),
    [(RIGHT, "answer"), ("no object", "answer"), (REFUSAL, "answer"), (TOO_MANY, "away"), (HUGE, "answer")],
)
def test_what_a_server_answers_is_an_answer_or_a_reason(served: str, expected: str) -> None:
    with chat_server(served) as (url, seen):
        assert list(ask(question(url))) == [expected]
    assert seen[0]["response_format"]["type"] == "json_schema"
    assert "finetune_unsloth.epochs" in json.dumps(seen[0]["response_format"])


def test_a_server_that_is_not_there_is_a_reason() -> None:
    assert "away" in ask(question("http://127.0.0.1:9/v1"))


@pytest.mark.parametrize(("model", "extra"), [("anthropic/claude-sonnet-4-5", "anthropic"), ("gemini/a", "gemini")])
def test_what_a_provider_needs_is_an_extra_that_the_error_names(model: str, extra: str) -> None:
    answer = ask({**question(""), "model": model, "base_url": None})
    assert f"tunesmith[{extra}]" in answer["missing"]


@pytest.mark.parametrize("model", ["gpt-4", "litellm/x", "openai/", "/x", "azure/gpt-4"])
def test_a_model_that_can_not_be_asked_is_a_wrong_argument(model: str) -> None:
    with pytest.raises(BadRequest, match="names no chat model"):
        ModelPlanner(model)


def test_the_environment_names_the_planner(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(Session()._planner, EmbeddedPlanner)
    monkeypatch.setenv("TUNESMITH_MODEL", "openai/gpt-4.1-mini")
    assert isinstance(Session()._planner, ModelPlanner)
    with pytest.raises(BadRequest, match="TUNESMITH_MODEL_SECONDS"):
        planner_of({"TUNESMITH_MODEL": "ollama/llama3", "TUNESMITH_MODEL_SECONDS": "soon"})
    with pytest.raises(BadRequest, match="address of its own"):
        ModelPlanner("anthropic/claude", base_url="http://127.0.0.1:1/v1")


@pytest.mark.slow
def test_a_message_is_read_after_one_repair_by_a_process_of_its_own() -> None:
    wrong = value("finetune_unsloth.epochs", "3")
    with chat_server(wrong, RIGHT) as (url, seen):
        plan = ModelPlanner("openai/tested", base_url=url).plan(GERMAN, History())
    assert [step.args.get("epochs") for step in plan.steps] == [None, 5]
    assert plan.reply is None
    assert "3 for `finetune_unsloth.epochs` is not in the message" in seen[1]["messages"][-1]["content"]
    assert "Read rows from the catalogue" in seen[0]["messages"][0]["content"]


@pytest.mark.slow
@pytest.mark.parametrize("served", [REFUSAL, TOO_MANY, RIGHT[:60], '{"steps": []}', ENDLESS, HUGE])
def test_a_server_that_misbehaves_costs_bounded_time_and_the_embedded_planner_reads(served: str) -> None:
    began = time.monotonic()
    with chat_server(served) as (url, seen):
        plan = ModelPlanner("openai/tested", base_url=url, timeout_seconds=40).plan(
            "train smollm2-135m on rows.jsonl for 5 epochs", History()
        )
    assert time.monotonic() - began < 45
    assert len(seen) <= 3
    assert [step.tool for step in plan.steps] == ["prepare_dataset", "finetune_unsloth"]
    assert "the embedded planner read this" in str(plan.reply)


def test_a_missing_extra_is_told_to_the_person() -> None:
    with pytest.raises(MissingExtra, match=r"tunesmith\[anthropic\]"):
        ModelPlanner("anthropic/claude-sonnet-4-5").plan("train smollm2-135m on rows.jsonl", History())
