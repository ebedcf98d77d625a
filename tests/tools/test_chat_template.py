"""A chat template is a stranger's program: it renders conversations and can do nothing else."""

import signal
import time
from typing import Any

import pytest
from tunesmith.tools.base import BadRequest, ToolFailed
from tunesmith.tools.chat_rendering import ChatRenderer
from tunesmith.tools.chat_template import Chat, render_chats

HELLO = Chat([{"role": "user", "content": "Hello <b>"}], add_generation_prompt=True)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% if %}", "TemplateSyntaxError"),
        ("{{ messages.__class__.__mro__ }}", "unsafe"),
        ("{{ ''.__class__.__base__.__subclasses__() }}", "unsafe"),
        ("{{ messages.append(1) }}", "unsafe"),
        ("{{ nothing.here }}", "undefined"),
        ("{{ raise_exception('only one turn') }}", "only one turn"),
        ("{{ 'a' * 10**11 }}", "memory"),
        ("{% for i in range(99999) %}{% for j in range(99999) %}aaaaaaaaaaaaaaaa{% endfor %}{% endfor %}", "far more"),
    ],
)
def test_a_template_that_does_more_than_render_is_stopped(template: str, reason: str) -> None:
    with pytest.raises(ToolFailed, match=reason):
        render_chats(template, [HELLO])


def test_a_template_that_never_ends_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.tools.chat_template._SECONDS_START", 2)
    started = time.monotonic()
    with pytest.raises(ToolFailed, match="seconds"):
        render_chats("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", [HELLO])
    assert time.monotonic() - started < 8


def _tokenizer(template: str) -> Any:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, "a")), bos_token="<s>", eos_token="</s>"
    )
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "did not render"),
        ("{{ 'a' * 10**6 }}", "more than enough"),
    ],
)
def test_in_training_too_a_template_has_limits(template: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.tools.chat_rendering.SECONDS", 0.5)
    tokenizer = _tokenizer(template)
    started = time.monotonic()
    with pytest.raises(BadRequest, match=said):
        ChatRenderer(tokenizer).render([{"role": "user", "content": "Hi"}])
    assert time.monotonic() - started < 5
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


def test_a_template_renders_as_hugging_face_renders_it() -> None:
    template = (
        "{{ bos_token }}\n{% for m in messages %}\n  {%- if m.role == 'user' %}\n"
        "[{{ m.role }}]{{ m.content | trim }} {{ {'a': ['ü', 1]} | tojson }}\n  {% else %}\n"
        "{% generation %}{{ m.content }}{{ eos_token }}{% endgeneration %}\n  {%- endif %}\n"
        "{% if loop.last %}{% break %}{% endif %}{% endfor %}{% if add_generation_prompt %}>>{% endif %}"
    )
    tokenizer = _tokenizer(template)
    turns = [{"role": "user", "content": " <Hi> "}, {"role": "assistant", "content": "Ho"}]
    ours = render_chats(template, [Chat(turns), HELLO], bos_token="<s>", eos_token="</s>")
    theirs = [
        tokenizer.apply_chat_template(turns, tokenize=False),
        tokenizer.apply_chat_template(list(HELLO.messages), tokenize=False, add_generation_prompt=True),
    ]
    assert ours == theirs
