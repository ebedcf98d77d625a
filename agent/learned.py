"""Requests whose plans a user accepted, kept as rows to train the planner on; only after `planner.learn true`.

A row is what the model would have read and the line that it should have written. Nothing else is kept: no data, no
results. A row is kept only where its line makes the accepted plan again.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from .frame import Frame
from .frame_prompt import prompt
from .frame_text import read, write
from .lexicon import NUMERIC
from .number_words import number_spans, read_number
from .pipeline import ORDER
from .plan import History, Plan, Step
from .planner import plan_of
from .settings import setting

__all__ = ["keep", "kept_rows", "learned_file", "taught_line"]


def learned_file() -> Path:
    """The file of kept rows, in the user's data folder."""
    from platformdirs import user_data_path

    return user_data_path("tunesmith", appauthor=False) / "planner" / "learned.jsonl"


def keep(plan: Plan, text: str, history: History) -> bool:
    """Keep the row of an accepted plan, where the user wants that; true if it was kept.

    Args:
        plan: as it was accepted.
        text: the message that made it, `history` what went before that message.
    """
    if not setting("planner.learn") or not plan.steps or plan.frame is None:
        return False
    shown = prompt(text, history)
    line = taught_line(_message(Frame.from_json(plan.frame), history), shown)
    if line is None or any(row["prompt"] == shown and row["line"] == line for row in kept_rows()):
        return False
    again = plan_of(read(line), text, history, lambda path: False)
    if [(step.tool, _asked(step)) for step in again.steps] != [(step.tool, _asked(step)) for step in plan.steps]:
        return False
    file = learned_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"prompt": shown, "line": line}, ensure_ascii=False) + "\n")
    except OSError:  # a run does not fail because its request can't be kept
        return False
    return True


def _message(frame: Frame, history: History) -> Frame:
    """What the last message alone says, where the plan's frame holds the request that it answered as well."""
    pending = history.pending.pending if history.pending else None
    if pending is None:
        return frame
    waiting = Frame.from_json(pending["frame"])
    values = {key: found for key, found in frame.values.items() if waiting.values.get(key) != found}
    want = {key.split(".")[0] for key in values} | ({*frame.want} - {*waiting.want})
    return Frame("answer", want=tuple(tool for tool in ORDER if tool in want), values=values)


def _asked(step: Step) -> dict[str, Any]:
    return {name: value for name, value in step.args.items() if step.origin.get(name) == "you"}


def kept_rows() -> Iterator[dict[str, str]]:
    """All kept rows, oldest first; a line that is none, or whose frame can't be read any more, is passed over."""
    try:
        lines = learned_file().read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for text in lines:
        try:
            row = json.loads(text)
            read(row["line"])
            yield {"prompt": str(row["prompt"]), "line": str(row["line"])}
        except (ValueError, TypeError, KeyError):
            continue


def taught_line(frame: Frame, shown: str) -> str | None:
    """A frame as the model is taught to write it: numbers as they stand in the prompt, tools with values wanted.

    None where a number or a name does not stand in the prompt, or no line says what the frame says.

    >>> taught_line(Frame(values={"finetune_unsloth.epochs": [3]}, want=("finetune_unsloth",)), "three epochs")
    'new; train epochs three'
    """
    values: dict[str, list[Any]] = {}
    for key, found in frame.values.items():
        values[key] = [_as_said(key, value, shown) for value in found]
        if None in values[key]:
            return None
    wanted = {*frame.want, *(key.split(".")[0] for key in values)} if frame.want or frame.intent != "new" else set()
    taught = replace(frame, values=values, want=tuple(tool for tool in ORDER if tool in wanted), remarks=())
    try:
        line = write(taught)
        return line if read(line).values.keys() == frame.values.keys() else None
    except ValueError:
        return None


def _as_said(key: str, value: Any, shown: str) -> Any:
    if key not in NUMERIC or isinstance(value, dict | bool):
        return value
    spans = (span for span in number_spans(shown) if abs(read_number(span, key) - value) < 1e-12)
    return next(spans, "none" if value == 0 else None)
