"""A conversation as the text that a model reads, also where its chat template lacks a role that the data has.

What a template can't say is said in words it can: a system message goes in front of the first user message, a
tool's answer becomes a user message, a call of a tool becomes text in the assistant's message. Which of these is
needed is found out by trying, once per template.
"""

import contextlib
import json
import signal
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from .base import BadRequest

__all__ = ["OUTPUT_FACTOR", "OUTPUT_MARGIN", "PLAIN_TEMPLATE", "SECONDS", "ChatRenderer"]

Message = dict[str, Any]

PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ '### ' + message['role'] | capitalize + ':\n' + message['content'] }}"
    "{{ eos_token + '\n' if message['role'] == 'assistant' else '\n\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '### Assistant:\n' }}{% endif %}"
)
"""For a base model that brings no template: headings, and the end-of-text token after each answer."""

_CALL = {"type": "function", "function": {"name": "probe_name", "arguments": {"probe_key": "probe_value"}}}
_TOOL = {
    "type": "function",
    "function": {"name": "probe_name", "description": "-", "parameters": {"type": "object", "properties": {}}},
}


SECONDS = 10
"""Longest time that one conversation may take; real templates take a thousandth of a second."""

OUTPUT_FACTOR, OUTPUT_MARGIN = 8, 100_000
"""Most characters that a template may write: a multiple of what the conversation holds as JSON, and a margin."""


class ChatRenderer:
    """Renders conversations with a tokenizer's chat template.

    A template is a stranger's program. jinja2's sandbox, which transformers uses, keeps it from Python's objects; here
    it is kept from running on (in the main thread of a process, where the system's timer works) and from writing more
    than it has to say.

    Attributes:
        notes: what had to be said in other words, one sentence each, in the order in which it came up.
    """

    def __init__(self, tokenizer: Any) -> None:
        """Args: tokenizer: of transformers. One without a chat template is given PLAIN_TEMPLATE."""
        self._tokenizer = tokenizer
        self.notes: list[str] = []
        if not tokenizer.chat_template:
            tokenizer.chat_template = PLAIN_TEMPLATE
            self._note("the base model has no chat template; a plain one with headings is used and saved with the run")
        user, answer = {"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}
        call = {"role": "assistant", "content": "", "tool_calls": [_CALL]}
        result = {"role": "tool", "name": "probe_name", "content": "probe_result"}
        self._knows_system = self._shows("probe_system", [{"role": "system", "content": "probe_system"}, user])
        self._knows_tools = self._shows("probe_name", [user], [_TOOL])
        self._knows_calls = self._shows("probe_value", [user, call])
        self._knows_results = self._shows("probe_result", [user, call if self._knows_calls else answer, result])

    def render(
        self, messages: Sequence[Message], *, tools: Sequence[Any] | None = None, generation_prompt: bool = False
    ) -> str:
        """The text of a conversation.

        Args:
            messages: {role, content, [tool_calls], [name]}; `tool_calls` as a list or as JSON text.
            tools: declarations of functions on offer.
            generation_prompt: whether the text ends where the assistant's answer begins.

        Raises:
            BadRequest: the template refuses the conversation even so; says what it says.
        """
        adapted = self._adapt(messages, tools)
        offered = list(tools) if tools and self._knows_tools else None
        try:
            return self._render(adapted, offered, generation_prompt)
        except ValueError as error:
            merged = _merge_neighbours(adapted)
            if len(merged) == len(adapted):
                raise BadRequest(f"the model's chat template refuses a conversation: {error}") from error
            try:
                text = self._render(merged, offered, generation_prompt)
            except ValueError as second:
                raise BadRequest(f"the model's chat template refuses a conversation: {second}") from second
            self._note("the chat template wants alternating roles; neighbouring messages of one role are joined")
            return text

    def _render(self, messages: Sequence[Message], tools: Sequence[Any] | None, generation_prompt: bool) -> str:
        """Raises ValueError with the template's complaint."""
        from jinja2 import TemplateError

        try:
            with _time_limit():
                text = str(
                    self._tokenizer.apply_chat_template(
                        list(messages), tools=tools, tokenize=False, add_generation_prompt=generation_prompt
                    )
                )
        except (TemplateError, TypeError, KeyError, AttributeError) as error:  # whatever a template runs into
            raise ValueError(str(error) or type(error).__name__) from error
        room = OUTPUT_FACTOR * len(json.dumps([messages, tools])) + OUTPUT_MARGIN
        if len(text) > room:
            raise BadRequest(
                f"the model's chat template writes {len(text)} characters where {room} are more than enough"
            )
        return text

    def _shows(self, word: str, messages: Sequence[Message], tools: Sequence[Any] | None = None) -> bool:
        try:
            return word in self._render(messages, tools, False)
        except ValueError:
            return False

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _adapt(self, messages: Sequence[Message], tools: Sequence[Any] | None) -> list[Message]:
        adapted = [self._adapt_message(message) for message in messages]
        if tools and not self._knows_tools:
            self._note("the chat template has no place for tool declarations; they stand in the system message as JSON")
            text = "You can call these functions:\n" + json.dumps(list(tools), ensure_ascii=False)
            if adapted and adapted[0]["role"] == "system":
                adapted[0] = {**adapted[0], "content": f"{adapted[0]['content']}\n\n{text}"}
            else:
                adapted.insert(0, {"role": "system", "content": text})
        if adapted and adapted[0]["role"] == "system" and not self._knows_system:
            self._note("the chat template has no system role; system text goes in front of the first user message")
            system = adapted.pop(0)["content"]
            if adapted and adapted[0]["role"] == "user":
                adapted[0] = {**adapted[0], "content": f"{system}\n\n{adapted[0]['content']}"}
            else:
                adapted.insert(0, {"role": "user", "content": system})
        return adapted

    def _adapt_message(self, message: Message) -> Message:
        adapted = {name: value for name, value in message.items() if value is not None}
        adapted["content"] = adapted.get("content", "")
        calls = _parsed_calls(adapted.pop("tool_calls", None))
        if calls and self._knows_calls:
            adapted["tool_calls"] = calls
        elif calls:
            self._note("the chat template has no tool calls; they are written as text in <tool_call> tags")
            lines = [adapted["content"]] if adapted["content"] else []
            lines += [
                f"<tool_call>\n{json.dumps(call['function'], ensure_ascii=False)}\n</tool_call>" for call in calls
            ]
            adapted["content"] = "\n".join(lines)
        if adapted["role"] == "tool" and not self._knows_results:
            self._note("the chat template has no tool role; a tool's answer is a user message in <tool_response> tags")
            adapted = {"role": "user", "content": f"<tool_response>\n{adapted['content']}\n</tool_response>"}
        return adapted


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    """Raises BadRequest in the block after SECONDS."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise BadRequest(f"the model's chat template did not render a conversation in {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _parsed_calls(value: Any) -> list[Message]:
    """Tool calls as templates expect them: {type, function: {name, arguments as an object}}."""
    calls = json.loads(value) if isinstance(value, str) else value
    parsed = []
    for call in calls or []:
        function = dict(call.get("function", call))
        if isinstance(arguments := function.get("arguments"), str):
            with contextlib.suppress(ValueError):  # kept as the text it is
                function["arguments"] = json.loads(arguments)
        parsed.append({"type": "function", "function": function})
    return parsed


def _merge_neighbours(messages: Sequence[Message]) -> list[Message]:
    """Join neighbouring messages of one role.

    >>> _merge_neighbours([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}])
    [{'role': 'user', 'content': 'a\\n\\nb'}]
    """
    merged: list[Message] = []
    for message in messages:
        if merged and merged[-1]["role"] == message["role"] and not merged[-1].get("tool_calls"):
            merged[-1] = {**message, "content": f"{merged[-1]['content']}\n\n{message['content']}"}
        else:
            merged.append(dict(message))
    return merged
