import json
from typing import Any

import pytest
from tunesmith.tools.chat_messages import RowError
from tunesmith.tools.shapes import prompt_text, recognise

USER = {"role": "user", "content": "Where is my lamp?"}
ASSISTANT = {"role": "assistant", "content": "On its way."}
TOOL = {"name": "track", "description": "Where a parcel is", "parameters": {"type": "object"}}


def convert(row: dict[str, Any]) -> dict[str, Any]:
    shape = recognise(row)
    assert shape is not None, f"no shape has the columns {sorted(row)}"
    return shape.convert(row)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("alpaca", {"instruction": "Where is my lamp?", "input": "", "output": "On its way."}),
        ("alpaca", {"instruction": "Where is my lamp?", "output": "On its way."}),
        ("alpaca", {"instruction": "Where is my lamp?", "context": None, "response": "On its way.", "category": "qa"}),
        ("question_answer", {"question": "Where is my lamp?", "answer": "On its way."}),
        ("question_answer", {"id": 1, "question": "Where is my lamp?", "response": "On its way."}),
        ("prompt_completion", {"prompt": "Where is my lamp?", "completion": "On its way."}),
        ("prompt_completion", {"prompt": [USER], "completion": [ASSISTANT]}),
        ("prompt_completion", {"prompt": [USER], "completion": "On its way."}),
        ("messages", {"messages": [USER, ASSISTANT]}),
        (
            "messages",
            {"messages": [{"role": "user", "content": [{"type": "text", "text": USER["content"]}]}, ASSISTANT]},
        ),
        (
            "sharegpt",
            {
                "conversations": [
                    {"from": "human", "value": "Where is my lamp?"},
                    {"from": "gpt", "value": "On its way."},
                ]
            },
        ),
        ("sharegpt", {"conversations": {"from": ["human", "gpt"], "value": ["Where is my lamp?", "On its way."]}}),
        ("sharegpt", {"conversation": [USER, ASSISTANT, {"role": "user", "content": "Thanks, bye"}]}),
    ],
)
def test_every_shape_of_one_exchange_is_stored_alike(name: str, row: dict[str, Any]) -> None:
    shape = recognise(row)
    assert shape is not None
    assert shape.name == name
    assert shape.convert(row) == {"messages": [USER, ASSISTANT]}


def test_the_input_of_an_alpaca_row_follows_its_instruction() -> None:
    row = convert({"instruction": "Translate", "input": "Haus", "output": "house", "system": "You translate"})
    assert row["messages"][:2] == [
        {"role": "system", "content": "You translate"},
        {"role": "user", "content": "Translate\n\nHaus"},
    ]


def test_earlier_turns_of_an_alpaca_row_come_first() -> None:
    row = convert({"instruction": "And two?", "output": "zwei", "history": [["One?", "eins"]]})
    assert [message["content"] for message in row["messages"]] == ["One?", "eins", "And two?", "zwei"]


def test_a_sharegpt_tool_call_becomes_a_call_an_answer_and_a_tool_list() -> None:
    row = convert(
        {
            "conversations": [
                {"from": "human", "value": "Track 7"},
                {"from": "function_call", "value": '{"name": "track", "arguments": {"id": 7}}'},
                {"from": "observation", "value": '{"at": "depot"}'},
                {"from": "gpt", "value": "At the depot."},
            ],
            "tools": json.dumps([TOOL]),
        }
    )
    call = row["messages"][1]
    assert [message["role"] for message in row["messages"]] == ["user", "assistant", "tool", "assistant"]
    assert json.loads(call["tool_calls"]) == [
        {"type": "function", "function": {"name": "track", "arguments": {"id": 7}}}
    ]
    assert json.loads(row["tools"]) == [{"type": "function", "function": TOOL}]


def test_a_chatml_tool_call_is_stored_like_the_sharegpt_one() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "track", "arguments": '{"id": 7}'}}
    row = convert(
        {
            "messages": [
                USER,
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "content": "depot", "tool_call_id": "c1", "name": "track"},
                ASSISTANT,
            ],
            "tools": [{"type": "function", "function": TOOL}],
        }
    )
    stored = json.loads(row["messages"][1]["tool_calls"])
    assert stored == [{"id": "c1", "type": "function", "function": {"name": "track", "arguments": {"id": 7}}}]
    assert row["messages"][2] == {"role": "tool", "content": "depot", "tool_call_id": "c1", "name": "track"}


PAIR = {"prompt": [USER], "chosen": [ASSISTANT], "rejected": [{"role": "assistant", "content": "No idea."}]}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Where is my lamp?", "chosen": "On its way.", "rejected": "No idea."},
        {"question": "Where is my lamp?", "chosen": "On its way.", "rejected": "No idea."},
        {"instruction": "Where is my lamp?", "input": "", "chosen": "On its way.", "rejected": "No idea."},
        PAIR,
        {
            "conversations": [{"from": "human", "value": "Where is my lamp?"}],
            "chosen": {"from": "gpt", "value": "On its way."},
            "rejected": {"from": "gpt", "value": "No idea."},
        },
        {"chosen": [USER, ASSISTANT], "rejected": [USER, *PAIR["rejected"]]},
        {"prompt": "Where is my lamp?", "chosen": [USER, ASSISTANT], "rejected": [USER, *PAIR["rejected"]]},
    ],
)
def test_every_form_of_a_preference_pair_is_stored_alike(row: dict[str, Any]) -> None:
    assert convert(row) == PAIR


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"instruction": "Hi", "output": 3}, "`output` must be text, it is 3"),
        ({"instruction": "Hi", "output": None}, "`output` is missing"),
        ({"instruction": " ", "output": "x"}, "`instruction` is empty"),
        ({"instruction": "Hi", "output": "a\x00b"}, "`output` holds a NUL character"),
        ({"messages": []}, "`messages` must be a list of messages, it is empty"),
        ({"messages": "Hi"}, "`messages` must be a list of messages"),
        ({"messages": ["Hi"]}, "message 1 of `messages` must be an object"),
        ({"messages": [{"content": "Hi"}]}, "message 1 of `messages` has no `role`"),
        ({"messages": [USER, {"role": "narrator", "content": "x"}]}, "message 2 of `messages` has the role 'narrator'"),
        ({"messages": [USER]}, "no message of the assistant"),
        ({"messages": [ASSISTANT]}, "no message of the user"),
        ({"messages": [USER, {"role": "system", "content": "x"}, ASSISTANT]}, "only the first can be one"),
        (
            {"messages": [USER, {"role": "assistant", "content": ""}]},
            "message 2 of `messages` (assistant): `content` is",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}, ASSISTANT]}, "a part that is not text"),
        ({"conversations": [{"from": "function_call", "value": "track(7)"}]}, "the tool call in message 1"),
        ({"conversations": [{"from": "function_call", "value": '{"args": 1}'}]}, "with `name` and `arguments`"),
        ({"messages": [USER, ASSISTANT], "tools": "not json"}, "`tools` is not JSON"),
        ({"messages": [USER, ASSISTANT], "tools": [{"x": 1}]}, "`tools` must be a list of function descriptions"),
        ({"prompt": "x", "completion": [USER]}, "`completion` begins with a message of the user"),
        ({"prompt": "x", "chosen": "a", "rejected": "a"}, "`chosen` and `rejected` are the same"),
        ({"chosen": "a", "rejected": "b"}, "a preference pair needs a `prompt`"),
        ({"chosen": [USER, ASSISTANT], "rejected": [ASSISTANT]}, "must begin with the same messages"),
    ],
)
def test_a_row_that_teaches_nothing_says_why(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowError) as caught:
        convert(row)
    assert reason in str(caught.value)


def test_columns_that_fit_no_shape_are_not_guessed_at() -> None:
    assert recognise(["query", "gold", "choices"]) is None
    assert recognise([]) is None


def test_rows_that_ask_the_same_have_one_prompt_text() -> None:
    first = convert({"question": "Where  is my LAMP?", "answer": "Here"})
    second = convert({"messages": [{"role": "system", "content": "Be kind"}, USER, ASSISTANT]})
    assert prompt_text(first) == prompt_text(second) == prompt_text(PAIR)
