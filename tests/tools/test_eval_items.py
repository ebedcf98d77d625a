"""Items from files of the documented forms and from prepared rows; what is wrong is named by line."""

import json
from pathlib import Path
from typing import Any

import pytest
from tunesmith.tools.base import BadRequest
from tunesmith.tools.eval_answers import same_final_answer, token_f1
from tunesmith.tools.eval_items import Answer, Choice, Preference, Text, heldout_items, items_of_file


def _file(folder: Path, *lines: Any) -> Path:
    path = folder / "items.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


GOOD = {"question": "2 + 2?", "choices": ["3", "4"], "answer": 1}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not JSON"),
        ("[1]", "an array"),
        ({"answer": "x"}, "`question`"),
        ({"question": " ", "answer": "x"}, "`question`"),
        ({"question": "q", "answer": 4}, "`answer` must be text"),
        ({"question": "q", "choices": ["one"], "answer": 0}, "at least two"),
        ({"question": "q", "choices": ["a", 2], "answer": 0}, "at least two texts"),
        ({"question": "q", "choices": ["a", "b"], "answer": 2}, "0 to 1"),
        ({"question": "q", "choices": ["a", "b"], "answer": "c"}, "number of a choice"),
        ({"question": "q", "choices": ["a", "a"], "answer": "a"}, "number of a choice"),
        ({"question": "q", "choices": ["a", "b"], "answer": True}, "number of a choice"),
        ({"question": "q", "choices": ["a", "b"]}, "number of a choice"),
        ({"question": "q", "answer": "a"}, "form"),
    ],
)
def test_a_line_of_no_known_form_is_named_with_its_reason(tmp_path: Path, line: Any, reason: str) -> None:
    with pytest.raises(BadRequest, match="line 2") as caught:
        items_of_file(_file(tmp_path, GOOD, line))
    assert reason in str(caught.value)


def test_the_first_five_problems_are_shown_and_the_others_counted(tmp_path: Path) -> None:
    with pytest.raises(BadRequest) as caught:
        items_of_file(_file(tmp_path, *[{"question": 1}] * 8))
    assert "line 5" in str(caught.value)
    assert "line 6" not in str(caught.value)
    assert "3 more lines" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\x00\x01\x02" * 100])
def test_a_file_without_items_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "items.jsonl"
    path.write_bytes(content)
    with pytest.raises(BadRequest, match=r"items\.jsonl"):
        items_of_file(path)


def test_both_spellings_of_multiple_choice_are_read(tmp_path: Path) -> None:
    items = items_of_file(
        _file(tmp_path, GOOD, {"query": "A man", "choices": ["sits", "runs"], "gold": 0}, {**GOOD, "answer": "4"})
    )
    assert items == [
        Choice("1", "2 + 2?", ("3", "4"), 1),
        Choice("2", "A man", ("sits", "runs"), 0),
        Choice("3", "2 + 2?", ("3", "4"), 1),
    ]


def test_a_worked_answer_is_held_to_its_final_line(tmp_path: Path) -> None:
    (item,) = items_of_file(_file(tmp_path, {"id": "eggs", "question": "How many?", "answer": "16 - 7 = 9\n#### 18"}))
    assert isinstance(item, Answer)
    assert (item.id, item.final) == ("eggs", "18")
    assert same_final_answer("So she makes $18 every day.", "18") == 1
    assert same_final_answer("18 eggs, of which 9 are sold", "18") == 0
    assert same_final_answer("I don't know", "18") == 0


def test_the_last_assistant_turn_of_a_held_out_conversation_is_asked_for() -> None:
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "d"},
        {"role": "user", "content": "e"},
    ]
    items, without = heldout_items(
        [
            {"messages": messages, "tools": '[{"type": "function", "function": {"name": "f"}}]'},
            {"messages": messages[:2]},
            {"text": "running text"},
            {"prompt": messages[:2], "chosen": [messages[2]], "rejected": [messages[4]]},
        ]
    )
    assert without == 1
    answer, text, pair = items
    assert isinstance(answer, Answer)
    assert answer.prompt == tuple(messages[:4])
    assert answer.reference == messages[4]
    assert answer.tools is not None
    assert answer.tools[0]["function"]["name"] == "f"
    assert text == Text("row 3", "running text")
    assert isinstance(pair, Preference)


@pytest.mark.parametrize(
    ("answer", "reference", "f1"),
    [
        ("The Eiffel Tower", "eiffel tower", 1.0),
        ("Paris, Paris", "Paris", 2 / 3),
        ("", "Paris", 0.0),
        ("", "...", 1.0),
        ("东京塔", "东京", 0.8),
        ("nothing alike", "Paris", 0.0),
    ],
)
def test_token_f1_counts_words_as_squad_does(answer: str, reference: str, f1: float) -> None:
    assert token_f1(answer, reference) == pytest.approx(f1)
