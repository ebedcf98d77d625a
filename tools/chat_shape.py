"""What a chat template puts around each role's words, found by rendering it, and the same as an Ollama template.

Ollama reads Go templates, models bring Jinja. Most Jinja templates come down to fixed text before and after each
message; that text is taken from renderings of marked messages, and a template that does not work so is recognised
by rendering it again from the pieces.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .base import ToolFailed, note
from .chat_template import Chat, render_chats

__all__ = ["ChatShape", "find_shape", "go_template"]

_SYSTEM, _USER, _ANSWER = "SYSTEM-PROBE", ("USER-PROBE-1", "USER-PROBE-2"), ("ANSWER-PROBE-1", "ANSWER-PROBE-2")


@dataclass(frozen=True)
class ChatShape:
    """Fixed text around messages, as (before, after).

    Attributes:
        head: stands at the start of a conversation without a system message: a default system message, or nothing.
        system: None where system text goes in front of the first user message, with `joint` between them.
        generation: after which the model answers.
    """

    head: str
    system: tuple[str, str] | None
    joint: str
    user: tuple[str, str]
    assistant: tuple[str, str]
    generation: str

    def render(self, messages: Sequence[dict[str, Any]], *, open_end: bool) -> str:
        """A conversation of system, user and assistant messages as the Ollama template writes it."""
        system = "".join(message["content"] for message in messages if message["role"] == "system")
        text = "" if system else self.head
        for message in messages:
            role, content = message["role"], message["content"]
            if role == "user":
                folded = system + self.joint if system and self.system is None else ""
                system = "" if self.system is None else system
                text += self.user[0] + folded + content + self.user[1]
            elif role == "assistant":
                text += self.assistant[0] + content + self.assistant[1]
            elif self.system is not None:
                text += self.system[0] + content + self.system[1]
        return text + (self.generation if open_end else "")


def find_shape(template: str, *, bos: str, eos: str, strip_bos: bool) -> ChatShape:
    """Take a Jinja chat template apart.

    Args:
        strip_bos: leave a leading `bos` out, because the tokenizer adds it.

    Raises:
        ToolFailed: the template cannot be rendered, or is more than fixed text around messages; says why.
    """

    user_1, user_2 = ({"role": "user", "content": text} for text in _USER)
    answer_1, answer_2 = ({"role": "assistant", "content": text} for text in _ANSWER)
    system = {"role": "system", "content": _SYSTEM}
    chats = [
        Chat([user_1]),
        Chat([user_1], add_generation_prompt=True),
        Chat([user_1, answer_1, user_2], add_generation_prompt=True),
        Chat([user_1, answer_1, user_2, answer_2]),
        Chat([system, user_1], add_generation_prompt=True),
        Chat([system, user_1, answer_1, user_2], add_generation_prompt=True),
    ]
    texts = render_chats(template, chats, bos_token=bos, eos_token=eos)
    if strip_bos and bos:
        texts = [text.removeprefix(bos) for text in texts]
    closed, opened, longer, ended, with_system, _ = texts
    user_after = _after(closed, _USER[0])
    assistant_after = _after(ended, _ANSWER[1])
    user_before = _without_start(_between(longer, _ANSWER[0], _USER[1]), assistant_after)
    assistant_before = _without_start(_between(longer, _USER[0], _ANSWER[0]), user_after)
    shape = ChatShape(
        head=_without_end(_before(closed, _USER[0]), user_before),
        system=None,
        joint="\n\n",
        user=(user_before, user_after),
        assistant=(assistant_before, assistant_after),
        generation=_without_start(opened, closed),
    )
    ours = [shape.render(chat.messages, open_end=chat.add_generation_prompt) for chat in chats[:3]]
    if ours != texts[:3]:
        raise ToolFailed("the chat template writes messages differently depending on what stands around them")
    with contextlib.suppress(ToolFailed):  # the comparison below tells
        shape = _with_system(shape, with_system)
    if [shape.render(chat.messages, open_end=True) for chat in chats[4:]] != texts[4:]:
        note("the Modelfile puts system text where a conversation begins; the chat template sometimes moves it")
    return shape


def _with_system(shape: ChatShape, text: str) -> ChatShape:
    """The shape with what `text`, a rendering of a system and a user message, tells about the former."""
    before, between = _before(text, _SYSTEM), _between(text, _SYSTEM, _USER[0])
    if before == shape.user[0]:
        return replace(shape, joint=between)
    return replace(shape, system=(before, _without_end(between, shape.user[0])))


def _before(text: str, mark: str) -> str:
    return _split(text, mark)[0]


def _after(text: str, mark: str) -> str:
    return _split(text, mark)[1]


def _between(text: str, first: str, second: str) -> str:
    return _before(_after(text, first), second)


def _split(text: str, mark: str) -> tuple[str, str]:
    parts = text.split(mark)
    if len(parts) != 2:
        raise ToolFailed(f"the chat template writes a message {len(parts) - 1} times instead of once")
    return parts[0], parts[1]


def _without_start(text: str, start: str) -> str:
    if not text.startswith(start):
        raise ToolFailed("the chat template ends a message differently depending on what follows it")
    return text[len(start) :]


def _without_end(text: str, end: str) -> str:
    if not text.endswith(end):
        raise ToolFailed("the chat template begins a message differently depending on what stands before it")
    return text[: len(text) - len(end)]


def go_template(shape: ChatShape) -> str:
    """The shape as a template for Ollama, which gives it `.System` and `.Messages` with `.Role` and `.Content`.

    >>> shape = ChatShape("", ("<s>", "</s>"), "", ("<u>", "</u>"), ("<a>", "</a>"), "<a>")
    >>> print(go_template(shape).replace("}}{{", "}}\\n{{"))
    {{ range .Messages }}
    {{ if eq .Role "system" }}<s>{{ .Content }}</s>{{ else if eq .Role "user" }}<u>{{ .Content }}</u>{{ else if eq \
.Role "assistant" }}<a>{{ .Content }}</a>{{ end }}
    {{ end }}<a>
    """
    head = f"{{{{ if not .System }}}}{_literal(shape.head)}{{{{ end }}}}" if shape.head else ""
    user_before, user_after = map(_literal, shape.user)
    assistant_before, assistant_after = map(_literal, shape.assistant)
    answer = (
        f'{{{{ else if eq .Role "assistant" }}}}{assistant_before}{{{{ .Content }}}}{assistant_after}'
        "{{ end }}{{ end }}" + _literal(shape.generation)
    )
    if shape.system is None:
        folded = f'{{{{ if $system }}}}{{{{ $system }}}}{_literal(shape.joint)}{{{{ $system = "" }}}}{{{{ end }}}}'
        user = f'{{{{ if eq .Role "user" }}}}{user_before}{folded}{{{{ .Content }}}}{user_after}'
        return head + "{{ $system := .System }}{{ range .Messages }}" + user + answer
    before, after = map(_literal, shape.system)
    return (
        f'{head}{{{{ range .Messages }}}}{{{{ if eq .Role "system" }}}}{before}{{{{ .Content }}}}{after}'
        f'{{{{ else if eq .Role "user" }}}}{user_before}{{{{ .Content }}}}{user_after}{answer}'
    )


def _literal(text: str) -> str:
    """Text as it stands in a Go template: only two opening braces mean something there."""
    return text.replace("{{", '{{ "{{" }}')
