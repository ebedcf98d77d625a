"""Recognise the shape of a row by its columns and turn it into the row that is stored.

Stored rows are of three kinds: `messages` (a conversation), `preference` (`prompt`, `chosen`, `rejected`, each a list
of messages) and `text` (raw text). SHAPES is in order of precedence: a row that fits several is of the first.
"""

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from .chat_messages import Message, RowError, clean_conversation, clean_messages, clean_tools, text_of

__all__ = ["SHAPES", "Kind", "Shape", "prompt_text", "recognise"]

Kind = Literal["messages", "preference", "text"]
Row = dict[str, Any]


@dataclass(frozen=True)
class Shape:
    """One known shape: a row has it when, of every group in `needs`, one column is there."""

    name: str
    kind: Kind
    needs: tuple[tuple[str, ...], ...]
    optional: tuple[str, ...]
    convert: Callable[[Row], Row]

    def fits(self, columns: Iterable[str]) -> bool:
        """Whether a row with these columns has this shape."""
        present = set(columns)
        return all(present.intersection(group) for group in self.needs)

    def unused(self, columns: Iterable[str]) -> list[str]:
        """The columns that this shape passes over, sorted."""
        return sorted(set(columns).difference(self.optional, *self.needs))

    def __str__(self) -> str:
        return f"{self.name} ({', '.join('|'.join(group) for group in self.needs)})"


def recognise(columns: Iterable[str]) -> Shape | None:
    """The shape of a row with these columns, or None.

    >>> recognise(["instruction", "input", "output"]).name
    'alpaca'
    >>> recognise(["label", "image"]) is None
    True
    """
    present = set(columns)
    return next((shape for shape in SHAPES if shape.fits(present)), None)


def prompt_text(row: Row) -> str:
    """What a stored row asks: the user's messages, or the raw text. Rows that ask the same are kept on one side.

    White space, case and Unicode forms that look alike make no difference.

    >>> prompt_text({"text": "Two  Words"})
    'two words'
    """
    if "text" in row:
        texts = [row["text"]]
    else:
        texts = [message["content"] for message in row.get("messages") or row["prompt"] if message["role"] == "user"]
    return " ".join(unicodedata.normalize("NFKC", "\n".join(texts)).casefold().split())


def _first(row: Row, *names: str) -> tuple[Any, str]:
    """The value of the first of these columns that has one, and its name; else None and the first that is there."""
    for name in names:
        if row.get(name) is not None:
            return row[name], name
    return None, next((name for name in names if name in row), names[0])


def _conversation(messages: list[Message], name: str, row: Row) -> Row:
    system, system_name = _first(row, "system", "system_prompt")
    if text := text_of(system, system_name, may_be_empty=True).strip():
        if messages[0]["role"] == "system":
            raise RowError(f"there is a `{system_name}` and a system message as well; keep one")
        messages = [{"role": "system", "content": text}, *messages]
    stored: Row = {"messages": clean_conversation(messages, name)}
    if tools := clean_tools(row.get("tools")):
        stored["tools"] = tools
    return stored


def _turn(question: str, answer: str) -> list[Message]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _with_context(question: str, context: str) -> str:
    return f"{question}\n\n{context}" if context.strip() else question


def _alpaca(row: Row) -> Row:
    instruction = text_of(row.get("instruction"), "instruction")
    context = text_of(*_first(row, "input", "context"), may_be_empty=True)
    answer = text_of(*_first(row, "output", "response"))
    history = row.get("history") or []
    if not isinstance(history, list) or any(not isinstance(turn, list) or len(turn) != 2 for turn in history):
        raise RowError("`history` must be a list of [question, answer] pairs")
    messages = [
        message for turn in history for message in _turn(text_of(turn[0], "history"), text_of(turn[1], "history"))
    ]
    return _conversation([*messages, *_turn(_with_context(instruction, context), answer)], "output", row)


def _question_answer(row: Row) -> Row:
    question = text_of(row.get("question"), "question")
    context = text_of(row.get("context"), "context", may_be_empty=True)
    answer = text_of(*_first(row, "answer", "response"))
    return _conversation(_turn(_with_context(question, context), answer), "answer", row)


def _messages(row: Row) -> Row:
    value, name = _first(row, "messages", "conversations", "conversation")
    return _conversation(clean_messages(value, name), name, row)


def _prompt_completion(row: Row) -> Row:
    prompt = _as_messages(row.get("prompt"), "prompt", "user")
    value, name = _first(row, "completion", "response")
    completion = _as_messages(value, name, "assistant")
    if completion[0]["role"] not in ("assistant", "tool"):
        raise RowError(f"`{name}` begins with a message of the {completion[0]['role']}; the assistant's is due")
    return _conversation([*prompt, *completion], name, row)


def _as_messages(value: Any, name: str, role: str) -> list[Message]:
    """A list of messages as it is, a string as one message of `role`."""
    if isinstance(value, list | dict):
        return clean_messages(value, name)
    return [{"role": role, "content": text_of(value, name)}]


def _preference(row: Row) -> Row:
    chosen = _as_messages(row.get("chosen"), "chosen", "assistant")
    rejected = _as_messages(row.get("rejected"), "rejected", "assistant")
    if chosen[0]["role"] != "assistant" or rejected[0]["role"] != "assistant":
        prompt, chosen, rejected = _shared_prefix(chosen, rejected)
    else:
        prompt = _preference_prompt(row)
    if chosen == rejected:
        raise RowError("`chosen` and `rejected` are the same")
    stored: Row = {
        "prompt": prompt,
        "chosen": clean_conversation([*prompt, *chosen], "chosen")[len(prompt) :],
        "rejected": clean_conversation([*prompt, *rejected], "rejected")[len(prompt) :],
    }
    if tools := clean_tools(row.get("tools")):
        stored["tools"] = tools
    return stored


def _preference_prompt(row: Row) -> list[Message]:
    value, name = _first(row, "conversations", "prompt", "question", "instruction")
    if value is None:
        raise RowError("a preference pair needs a `prompt`, or `chosen` and `rejected` as whole conversations")
    if name == "instruction":
        value = _with_context(text_of(value, name), text_of(*_first(row, "input", "context"), may_be_empty=True))
    prompt = _as_messages(value, name, "user")
    if prompt[-1]["role"] == "assistant":
        raise RowError(f"`{name}` ends with a message of the assistant; the user's is due before `chosen`")
    system, system_name = _first(row, "system", "system_prompt")
    if (text := text_of(system, system_name, may_be_empty=True).strip()) and prompt[0]["role"] != "system":
        prompt = [{"role": "system", "content": text}, *prompt]
    return prompt


def _shared_prefix(
    chosen: list[Message], rejected: list[Message]
) -> tuple[list[Message], list[Message], list[Message]]:
    """Two whole conversations as (what they share, the rest of each)."""
    length = 0
    for mine, other in zip(chosen[:-1], rejected[:-1], strict=False):
        if mine != other:
            break
        length += 1
    if not length or any(side[length]["role"] != "assistant" for side in (chosen, rejected)):
        raise RowError("`chosen` and `rejected` must begin with the same messages and part at one of the assistant")
    return chosen[:length], chosen[length:], rejected[length:]


def _text(row: Row) -> Row:
    return {"text": text_of(row.get("text"), "text")}


_SYSTEM = ("system", "system_prompt")
SHAPES = (
    Shape(
        "preference",
        "preference",
        (("chosen",), ("rejected",)),
        ("conversations", "prompt", "question", "instruction", "input", "context", "tools", *_SYSTEM),
        _preference,
    ),
    Shape("messages", "messages", (("messages",),), ("tools", *_SYSTEM), _messages),
    Shape("sharegpt", "messages", (("conversations", "conversation"),), ("tools", *_SYSTEM), _messages),
    Shape(
        "alpaca",
        "messages",
        (("instruction",), ("output", "response")),
        ("input", "context", "history", *_SYSTEM),
        _alpaca,
    ),
    Shape(
        "prompt_completion",
        "messages",
        (("prompt",), ("completion", "response")),
        ("tools", *_SYSTEM),
        _prompt_completion,
    ),
    Shape(
        "question_answer", "messages", (("question",), ("answer", "response")), ("context", *_SYSTEM), _question_answer
    ),
    Shape("text", "text", (("text",),), (), _text),
)
