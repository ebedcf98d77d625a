from pathlib import Path
from typing import Any

import pytest
from tunesmith.tools.base import BadRequest, ToolFailed
from tunesmith.tools.chat_rendering import PLAIN_TEMPLATE
from tunesmith.tools.training_rows import IGNORED, conversation_rows, preference_rows, text_rows

STRICT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role not in ('user', 'assistant') %}{{ raise_exception('only user and assistant') }}{% endif %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "<{{ m.role }}>{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
FORGETFUL_TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>\n"
    "{% if loop.last %}{{ m.content }}{% else %}{{ m.content.split('</think>')[-1] }}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<assistant>\n{% endif %}"
)
OPEN_TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


@pytest.fixture
def tokenizer(base_dir: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base_dir)


def chat(*turns: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in turns], **more}


def learned(tokenizer: Any, row: Any) -> str:
    """The text of the tokens that count, with | where it breaks off."""
    parts: list[list[int]] = []
    for token, label in zip(row.input_ids, row.labels, strict=True):
        assert label in (IGNORED, token)
        if label == IGNORED:
            parts.append([])
        elif parts:
            parts[-1].append(token)
        else:
            parts.append([token])
    return "|".join(tokenizer.decode(part) for part in parts if part)


TWO_TURNS = chat(("user", "Hi"), ("assistant", "Hello\n"), ("user", "2+2?"), ("assistant", "4"))


def test_only_the_assistants_words_and_their_end_are_learned(tokenizer: Any) -> None:
    (row,) = conversation_rows([TWO_TURNS], tokenizer, 512).rows
    assert learned(tokenizer, row) == "Hello\n<|im_end|>|4<|im_end|>"


def test_the_tokens_are_those_of_the_chat_template(tokenizer: Any) -> None:
    (row,) = conversation_rows([TWO_TURNS], tokenizer, 512).rows
    whole = tokenizer.apply_chat_template(TWO_TURNS["messages"])["input_ids"]
    assert row.input_ids == whole[: len(row.input_ids)]
    assert tokenizer.decode(whole[len(row.input_ids) :]) == "\n"


def test_a_conversation_without_an_answer_is_dropped_and_counted(tokenizer: Any) -> None:
    tokens = conversation_rows([chat(("user", "Hi")), TWO_TURNS], tokenizer, 512)
    assert (len(tokens.rows), tokens.dropped) == (1, 1)


def test_rows_whose_answer_lies_behind_the_limit_are_dropped_and_longer_answers_are_cut(tokenizer: Any) -> None:
    late = chat(("user", "why " * 100), ("assistant", "Because"))
    long = chat(("user", "Hi"), ("assistant", "blue " * 100))
    tokens = conversation_rows([late, long, TWO_TURNS], tokenizer, 64)
    assert (len(tokens.rows), tokens.dropped, tokens.cut) == (2, 1, 1)
    assert max(row.length for row in tokens.rows) == 64
    with pytest.raises(ToolFailed, match="raise `max_seq_length`"):
        conversation_rows([late], tokenizer, 64).checked(64)


def test_system_text_moves_into_the_first_question_where_a_template_has_no_system_role(tokenizer: Any) -> None:
    tokenizer.chat_template = STRICT_TEMPLATE
    row = chat(("system", "Be brief"), ("user", "Hi"), ("user", "there"), ("assistant", "Yo"))
    tokens = conversation_rows([row], tokenizer, 512)
    text = tokenizer.decode(tokens.rows[0].input_ids)
    assert text.endswith("<user>Be brief\n\nHi\n\nthere<|im_end|>\n<assistant>Yo<|im_end|>")
    assert tokens.rows[0].input_ids.count(tokenizer.bos_token_id) == 1
    assert any("no system role" in note for note in tokens.notes)
    assert any("neighbouring" in note for note in tokens.notes)


def test_a_conversation_that_the_template_refuses_names_its_row(tokenizer: Any) -> None:
    tokenizer.chat_template = STRICT_TEMPLATE
    with pytest.raises(BadRequest, match=r"row 2: .*roles must alternate"):
        conversation_rows([TWO_TURNS, chat(("assistant", "I begin"))], tokenizer, 512)


def test_a_template_that_rewrites_earlier_answers_trains_each_answer_in_its_own_row(tokenizer: Any) -> None:
    tokenizer.chat_template = FORGETFUL_TEMPLATE
    row = chat(("user", "a"), ("assistant", "<think>x</think>b"), ("user", "c"), ("assistant", "<think>y</think>d"))
    tokens = conversation_rows([row], tokenizer, 512)
    assert [learned(tokenizer, row) for row in tokens.rows] == [
        "<think>x</think>b<|im_end|>",
        "<think>y</think>d<|im_end|>",
    ]
    assert tokenizer.decode(tokens.rows[1].input_ids).startswith("<user>\na<|im_end|>\n<assistant>\nb<|im_end|>")
    assert "1 conversations are trained answer by answer, as their template requires" in tokens.notes


def test_tool_calls_become_text_where_the_template_has_none(tokenizer: Any) -> None:
    calls = '[{"type": "function", "function": {"name": "add", "arguments": "{\\"a\\": 1}"}}]'
    row = {
        "messages": [
            {"role": "user", "content": "1+1"},
            {"role": "assistant", "content": "", "tool_calls": calls},
            {"role": "tool", "name": "add", "content": "2"},
            {"role": "assistant", "content": "Two"},
        ],
        "tools": '[{"type": "function", "function": {"name": "add"}}]',
    }
    tokens = conversation_rows([row], tokenizer, 512)
    assert learned(tokenizer, tokens.rows[0]) == (
        '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call><|im_end|>|Two<|im_end|>'
    )
    assert "You can call these functions" in tokenizer.decode(tokens.rows[0].input_ids)
    assert len(tokens.notes) == 2


def test_a_base_without_a_template_gets_a_plain_one_that_ends_its_answers(tokenizer: Any) -> None:
    tokenizer.chat_template = None
    tokens = conversation_rows([chat(("user", "Hi"), ("assistant", "Yo"))], tokenizer, 512)
    assert tokenizer.chat_template == PLAIN_TEMPLATE
    assert learned(tokenizer, tokens.rows[0]) == "Yo<|im_end|>"


def test_an_open_last_turn_is_closed_so_that_the_model_learns_to_stop(tokenizer: Any) -> None:
    tokenizer.chat_template = OPEN_TEMPLATE
    (row,) = conversation_rows([chat(("user", "Hi"), ("assistant", "Yo"))], tokenizer, 512).rows
    assert learned(tokenizer, row).endswith("<|im_end|>")


def test_one_bos_stands_in_front_where_the_tokenizer_wants_one_and_the_template_writes_none(tokenizer: Any) -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer.chat_template = FORGETFUL_TEMPLATE
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", pair="$A $B", special_tokens=[("<|im_start|>", tokenizer.bos_token_id)]
    )
    (row,) = conversation_rows([chat(("user", "Hi"), ("assistant", "Yo"))], tokenizer, 512).rows
    assert row.input_ids[0] == tokenizer.bos_token_id
    assert row.input_ids.count(tokenizer.bos_token_id) == 1


def test_all_of_a_raw_text_is_learned_in_pieces_that_fit(tokenizer: Any) -> None:
    text = "The quick brown fox. " * 30
    tokens = text_rows([{"text": text}], tokenizer, 64)
    joined = [token for row in tokens.rows for token in row.input_ids]
    assert joined == [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
    assert all(row.labels == row.input_ids and row.length <= 64 for row in tokens.rows)


def pair(chosen: str, rejected: str) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": "Colour?"}],
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
    }


def test_a_preference_pair_is_one_prompt_with_two_endings(tokenizer: Any) -> None:
    (row,) = preference_rows([pair("Red.", "Blue.")], tokenizer, 512).rows
    assert tokenizer.decode(row.prompt_ids).endswith("Colour?<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer.decode(row.chosen_ids) == "Red.<|im_end|>"
    assert tokenizer.decode(row.rejected_ids) == "Blue.<|im_end|>"


def test_pairs_without_a_difference_are_dropped(tokenizer: Any) -> None:
    tokens = preference_rows([pair("Red.", "Red."), pair("Red.", "Blue.")], tokenizer, 512)
    assert (len(tokens.rows), tokens.dropped) == (1, 1)
