"""An Ollama template says what the model's own chat template says, or the difference is told."""

from pathlib import Path

import pytest
from tunesmith.tools.artifacts import write_metadata
from tunesmith.tools.base import ToolFailed
from tunesmith.tools.bundled_model import bundled_gguf
from tunesmith.tools.chat_shape import ChatShape, find_shape, go_template
from tunesmith.tools.chat_template import Chat, render_chats
from tunesmith.tools.llama_cpp import LlamaModel
from tunesmith.tools.modelfile import modelfile, shared_system

_CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_LLAMA_3 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set said = messages[0]['content'] | trim %}"
    "{% set messages = messages[1:] %}{% else %}{% set said = '' %}{% endif %}"
    "{{ '<|start_header_id|>system<|end_header_id|>\n\nKnowledge: 2023\n\n' + said + '<|eot_id|>' }}"
    "{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] | trim"
    " + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
_GEMMA_3 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set first = messages[0]['content'] + '\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set first = '' %}{% endif %}{% for m in messages %}"
    "{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else 'user') + '\n' + (first if loop.first else '')"
    " + m['content'] + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
_MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + '[/INST]' }}"
    "{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'] + eos_token }}"
    "{% else %}{{ raise_exception('no system role') }}{% endif %}{% endfor %}"
)
_PHI_4 = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
_MISTRAL_LAST = (
    "{% if messages[0]['role'] == 'system' %}{% set said = messages[0]['content'] %}{% set messages = messages[1:] %}"
    "{% endif %}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' }}"
    "{% if loop.last and said is defined %}{{ said + '\n\n' }}{% endif %}{{ m['content'] + '[/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)


def _shape(template: str) -> ChatShape:
    return find_shape(template, bos="<s>", eos="</s>", strip_bos=True)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ messages[0]['content'] | upper }}", "0 times"),
        ("{% for m in messages %}{{ m['content'] + m['content'] }}{% endfor %}", "2 times"),
        ("{% for m in messages %}{{ loop.index ~ m['content'] }}{% endfor %}", "differently"),
        ("{% for m in messages %}", "can't be rendered"),
        ("{{ raise_exception('never') }}", "can't be rendered"),
    ],
)
def test_a_template_that_is_more_than_text_around_messages_is_told(template: str, said: str) -> None:
    with pytest.raises(ToolFailed, match=said):
        _shape(template)


@pytest.mark.parametrize("template", [_CHATML, _LLAMA_3, _GEMMA_3, _MISTRAL, _PHI_4])
def test_the_shape_writes_what_the_template_writes(template: str, notes: list[str]) -> None:
    shape = _shape(template)
    system = {"role": "system", "content": "Be kind."}
    turns = [
        {"role": "user", "content": "One {{ .Content }}?"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "Two?"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "Three?"},
    ]
    chats = [Chat(messages, None, True) for messages in (turns[:1], turns, [system, *turns[:1]], [system, *turns])]
    texts = render_chats(template, chats, bos_token="<s>", eos_token="</s>")
    for chat, text in zip(chats, texts, strict=True):
        assert shape.render(chat.messages, open_end=True) == text.removeprefix("<s>")
    assert not any("Modelfile" in note for note in notes)


def test_system_text_that_moves_is_put_first_and_that_is_said(notes: list[str]) -> None:
    assert _shape(_MISTRAL_LAST).system is None
    assert any("sometimes moves it" in note for note in notes)


def test_braces_in_a_template_stay_braces() -> None:
    shape = ChatShape("", None, "", ("{{user}}", ""), ("", ""), "")
    assert '{{ "{{" }}user}}' in go_template(shape)


def test_the_modelfile_of_the_bundled_model_holds_what_ollama_needs(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text('{"temperature": 0.5}')
    with LlamaModel(bundled_gguf(), vocab_only=True) as model:
        text = modelfile("x.gguf", model, tmp_path, None)
    lines = text.splitlines()
    assert lines[0] == "FROM ./x.gguf"
    assert "You are a helpful AI assistant named SmolLM" in lines[2]
    assert 'PARAMETER stop "<|im_end|>"' in lines
    assert "PARAMETER temperature 0.5" in lines
    assert "PARAMETER num_ctx 8192" in lines


def _dataset(folder: Path, systems: list[str | None]) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        [{"role": "system", "content": system}] * (system is not None) + [{"role": "user", "content": "hi"}]
        for system in systems
    ]
    folder.mkdir()
    pq.write_table(pa.table({"messages": rows}), folder / "part-00000.parquet")
    write_metadata(folder, {"tool": "prepare_dataset", "kind": "messages", "rows": len(rows)})
    return str(folder)


def test_system_is_written_only_where_all_rows_share_it(tmp_path: Path) -> None:
    assert shared_system(_dataset(tmp_path / "a", ["Label tickets."] * 3)) == "Label tickets."
    assert shared_system(_dataset(tmp_path / "b", ["Label tickets.", "Other."])) is None
    assert shared_system(_dataset(tmp_path / "c", ["Label tickets.", None])) is None
    assert shared_system(_dataset(tmp_path / "d", [None, None])) is None
    assert shared_system(str(tmp_path / "gone")) is None
    with LlamaModel(bundled_gguf(), vocab_only=True) as model:
        assert 'SYSTEM """Label tickets."""\n' in modelfile("x.gguf", model, tmp_path, str(tmp_path / "a"))
