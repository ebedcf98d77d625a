"""What a model is asked: items from a file of our documented forms, or from the held-out part of a dataset.

The forms stand in docs/evaluation.md.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .base import BadRequest
from .eval_answers import final_answer
from .row_files import read_file

__all__ = ["Answer", "Choice", "Item", "Preference", "Text", "heldout_items", "items_of_file"]

_SHOWN_ERRORS = 5

Message = dict[str, Any]


@dataclass(frozen=True)
class Choice:
    """Which of several continuations of `query` is the right one: number `gold`, from 0."""

    id: str
    query: str
    choices: tuple[str, ...]
    gold: int


@dataclass(frozen=True)
class Answer:
    """What the assistant says after `prompt`; `reference` is the message that is right.

    `final` is the short answer at the end of the reference, after ####, where only that one counts.
    """

    id: str
    prompt: tuple[Message, ...]
    reference: Message
    tools: tuple[dict[str, Any], ...] | None = None
    final: str | None = None


@dataclass(frozen=True)
class Text:
    """Running text, of which only the probability counts."""

    id: str
    text: str


@dataclass(frozen=True)
class Preference:
    """Two ways to go on after `prompt`, of which people preferred `chosen`."""

    id: str
    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] | None = None


Item = Choice | Answer | Text | Preference


def items_of_file(path: Path) -> list[Item]:
    """The items of a JSONL file, all multiple choice or all question and answer.

    Raises:
        BadRequest: the file is missing, empty or not JSONL, or has lines of no known form; names the first five.
    """
    items: list[Item] = []
    problems: list[str] = []
    form: type[Item] | None = None
    for row in read_file(path, str(path)):
        try:
            if row.problem:
                raise ValueError(row.problem)
            item = _item(_name(row.values, row.place), row.values)
            if form is not None and type(item) is not form:
                raise ValueError("its form is not that of the first item; write one form to a file")
            form = type(item)
            items.append(item)
        except ValueError as error:
            problems.append(f"{row.place}: {error}")
    if problems:
        more = f", and {len(problems) - _SHOWN_ERRORS} more lines" if len(problems) > _SHOWN_ERRORS else ""
        raise BadRequest("; ".join(problems[:_SHOWN_ERRORS]) + more)
    if not items:
        raise BadRequest(f"`{path}` holds no items; write one JSON object a line, such as {_EXAMPLE}")
    return items


_EXAMPLE = '{"question": "...", "answer": "..."} or {"question": "...", "choices": ["...", "..."], "answer": 0}'


def _name(values: Mapping[str, Any], place: str) -> str:
    given = values.get("id")
    return str(given) if isinstance(given, str | int) else place.rsplit(" ", 1)[-1]


def _item(name: str, values: Mapping[str, Any]) -> Item:
    """One item of our forms. Raises ValueError with the reason."""
    question = values.get("question", values.get("query"))
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"`question` (or `query`) must be text; an item looks like {_EXAMPLE}")
    if "choices" in values:
        return _choice(name, question, values["choices"], values.get("answer", values.get("gold")))
    answer = values.get("answer")
    if not isinstance(answer, str) or not answer.strip():
        raise ValueError(f"`answer` must be text where there are no `choices`, not {json.dumps(answer)[:60]}")
    return Answer(
        name,
        ({"role": "user", "content": question},),
        {"role": "assistant", "content": answer},
        final=final_answer(answer),
    )


def _choice(name: str, question: str, choices: Any, answer: Any) -> Choice:
    if not isinstance(choices, list) or len(choices) < 2 or not all(isinstance(c, str) and c.strip() for c in choices):
        raise ValueError("`choices` must be a list of at least two texts")
    if isinstance(answer, int) and not isinstance(answer, bool):
        if not 0 <= answer < len(choices):
            raise ValueError(f"`answer` is {answer}; with {len(choices)} choices it is 0 to {len(choices) - 1}")
        return Choice(name, question, tuple(choices), answer)
    if isinstance(answer, str) and choices.count(answer) == 1:
        return Choice(name, question, tuple(choices), choices.index(answer))
    raise ValueError(
        f"`answer` (or `gold`) is {json.dumps(answer)[:60]}; it must be the number of a choice, from 0, or its text"
    )


def heldout_items(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Item], int]:
    """Items from rows of a prepared dataset, and how many rows hold nothing to score (no assistant's turn)."""
    items: list[Item] = []
    for number, row in enumerate(rows, start=1):
        items += _of_row(f"row {number}", row)
    return items, len(rows) - len(items)


def _of_row(name: str, row: Mapping[str, Any]) -> Iterator[Item]:
    tools = _tools(row.get("tools"))
    if row.get("text") is not None:
        if row["text"].strip():
            yield Text(name, row["text"])
    elif row.get("chosen") is not None:
        prompt, chosen, rejected = (tuple(row[key]) for key in ("prompt", "chosen", "rejected"))
        if chosen and rejected:
            yield Preference(name, prompt, chosen, rejected, tools)
    else:
        messages = row["messages"]
        last = max((i for i, message in enumerate(messages) if message["role"] == "assistant"), default=None)
        if last is not None:
            yield Answer(name, tuple(messages[:last]), messages[last], tools)


def _tools(stored: Any) -> tuple[dict[str, Any], ...] | None:
    value = json.loads(stored) if isinstance(stored, str) and stored.strip() else stored
    return tuple(value) if value else None
