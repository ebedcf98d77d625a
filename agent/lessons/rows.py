"""Rows that teach the planner's model: a prompt, and the line that it stands for. Deterministic from a seed.

Every row is checked before it is kept: its line is read back as a frame, and the plan that `compose` makes of it must
have the values that the request says, or no steps where it has to be asked back or refused.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from tunesmith.agent.compose import compose
from tunesmith.agent.frame import Frame
from tunesmith.agent.frame_grammar import FACTORS, numbers_in
from tunesmith.agent.frame_prompt import SYSTEM, prompt
from tunesmith.agent.frame_text import read, write
from tunesmith.agent.frame_words import keys
from tunesmith.agent.keys import SOURCE
from tunesmith.agent.lexicon import NUMERIC
from tunesmith.agent.number_words import read_number
from tunesmith.agent.plan import History, Plan
from tunesmith.agent.planner import RulesPlanner, plan_of
from tunesmith.agent.replies import CHATS, REFUSALS, about_parameter
from tunesmith.agent.translation import in_english

from . import names
from .amounts import LANGUAGES
from .followups import after_plan, draw_answer, draw_followup
from .phrasebook import Phrasebook
from .pipelines import draw_new
from .wishes import Wish, slot

__all__ = ["Lesson", "alike", "check", "lessons", "taught_lessons"]

_WEIGHTS = (48, 10, 9, 9, 8, 8, 8)
_EASY = 0.15  # of the lessons that the rules read right, the share that is taught
_LONGEST = 480  # bytes of a prompt, so that no row has more than some 256 tokens
_NAMED = ("train.epochs", "train.lr", "train.rank", "train.alpha", "train.batch", "train.length", "train.warmup")


@dataclass(frozen=True)
class Lesson:
    """One row.

    Attributes:
        text: the request, `history` what went before it.
        prompt: what the model reads of both.
        line: what it is to write.
        kind: of the request, `language` its language: for the scores.
    """

    text: str
    history: History
    prompt: str
    line: str
    kind: str
    language: str

    def row(self) -> dict[str, Any]:
        """As `prepare_dataset` reads it."""
        return {
            "messages": [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": self.prompt},
                {"role": "assistant", "content": self.line},
            ]
        }


def lessons(seed: int, *, held: bool = False) -> Iterator[Lesson]:
    """Lessons without end, no two with one prompt.

    Args:
        held: only lessons with a phrase in them that no others have.
    """
    draw, seen = random.Random(f"{seed} {held}"), set[str]()
    while True:
        language = draw.choices(LANGUAGES, _WEIGHTS)[0]
        book = Phrasebook(draw, language, held=held)
        text, wish, frame, history = _drawn(book)
        shown = _as_shown(frame, text, language)
        if shown is None:
            continue
        lesson = Lesson(text, history, prompt(text, history), write(shown), wish.kind, language)
        if lesson.prompt in seen or len(lesson.prompt.encode()) > _LONGEST or (held and not book.unseen):
            continue
        seen.add(lesson.prompt)
        if check(lesson, wish):
            yield lesson


def taught_lessons(seed: int) -> Iterator[Lesson]:
    """The lessons to train on: all that the rules read wrong, and a few of those that they read right.

    The model is asked where the rules are at a loss. So it is taught most of what they do not know.
    """
    rules, draw = RulesPlanner(look_at_disk=False), random.Random(f"{seed} taught")
    for lesson in lessons(seed):
        wanted = plan_of(read(lesson.line), lesson.text, lesson.history, lambda path: False)
        if draw.random() < _EASY or not alike(wanted, rules.plan(lesson.text, lesson.history)):
            yield lesson


def alike(wanted: Plan, got: Plan) -> bool:
    """Whether two plans do the same; where nothing is to be done, any reply is alike."""
    if not wanted.steps:
        return not got.steps
    return [(step.tool, step.args, step.reuse) for step in wanted.steps] == [
        (step.tool, step.args, step.reuse) for step in got.steps
    ]


def _as_shown(frame: Frame, text: str, language: str) -> Frame | None:
    """The frame with its numbers as they stand in the English that the model reads; None where one got lost there."""
    if language == "en":
        return frame
    numbers = numbers_in(in_english(text))

    def shown(key: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: _found(numbers, key, amount, relative=True) for name, amount in value.items()}
        return _found(numbers, key, value) if key in NUMERIC else value

    try:
        return replace(frame, values={key: [shown(key, one) for one in found] for key, found in frame.values.items()})
    except LookupError:
        return None


def _found(numbers: list[str], key: str, said: Any, *, relative: bool = False) -> Any:
    """A number as it stands among `numbers`; that of a word such as `double` stands nowhere and stays.

    Raises:
        LookupError: it got lost.
    """
    if not isinstance(said, str) or said == "none" or said in numbers or (relative and said in FACTORS):
        return said
    value = read_number(said, key, relative=relative)
    same = [one for one in numbers if "\n" not in one and read_number(one, key, relative=relative) == value]
    if not same:
        raise LookupError(said)
    return next((one for one in same if re.search(r"\d", one)), same[0])


def _drawn(book: Phrasebook) -> tuple[str, Wish, Frame, History]:
    draw, kind = book.draw, book.draw.random()
    if kind < 0.34:
        return draw_followup(book)
    if kind < 0.4:
        return draw_answer(book)
    history = after_plan(draw, book.language)[0] if draw.random() < 0.15 else History()
    if kind < 0.47:
        return *_refused(book), history
    if kind < 0.51:
        return *_chat(book), history
    if kind < 0.52:
        return *_lone(book), History()
    text, wish = draw_new(book)
    complete = wish.kind not in ("asked back", "out of range")
    return text, wish, wish.frame(), history if complete else History()


def _refused(book: Phrasebook) -> tuple[str, Wish, Frame]:
    draw = book.draw
    name = draw.choices([*REFUSALS], [{"topic": 7, "shell": 3, "harm": 2.5}.get(name, 2) for name in REFUSALS])[0]
    shown = {"base": names.model(draw)[0], "data": names.data(draw)[0], "from": names.checkpoint(draw)[0]}
    return book.pick("refuse", name, **shown), Wish("refused"), Frame("refuse", reply=REFUSALS[name])


def _chat(book: Phrasebook) -> tuple[str, Wish, Frame]:
    draw = book.draw
    if draw.random() < 0.25:
        name = draw.choice(_NAMED)
        key = next(key for tool in ("finetune_unsloth",) for key in keys(tool).values() if slot(key) == name)
        text = book.pick("chat", "about", p=book.pick("name", name))
        return text, Wish("chat"), Frame("chat", reply=about_parameter(key))
    name = draw.choice([*CHATS])
    return book.pick("chat", name), Wish("chat"), Frame("chat", reply=CHATS[name])


def _lone(book: Phrasebook) -> tuple[str, Wish, Frame]:
    """A name, or less, and nothing to do with it."""
    draw, kind = book.draw, book.draw.random()
    if kind < 0.4:
        return book.pick("ask", "what"), Wish("asked back"), read("ask what")
    shown, name = names.data(draw)
    if kind < 0.8:
        return book.pick("ask", "data", data=shown), Wish("asked back"), Frame(values={SOURCE: [name]})
    shown, name = names.model(draw)
    return (
        book.pick("ask", "base", base=shown),
        Wish("asked back"),
        Frame(values={"finetune_unsloth.base_model": [name]}),
    )


def check(lesson: Lesson, wish: Wish) -> bool:
    """Hold the line against what the request says; false for a change that its plan does not allow (2 epochs less).

    Raises:
        AssertionError: the plan is another; that is a mistake in these tables.
    """
    frame = read(lesson.line)
    if frame.intent == "answer":
        pending = lesson.history.pending
        assert pending is not None, lesson
        assert pending.pending is not None, lesson
        frame = Frame.from_json(pending.pending["frame"]).completed_by(frame, None)
    plan = compose(frame, lesson.history, lesson.text, lambda path: False)
    empty = wish.kind in ("asked back", "refused", "chat", "out of range")
    if empty or frame.intent in ("cancel", "undo"):
        assert not plan.steps, (lesson, plan)
        return True
    if lesson.kind == "answer" and not plan.steps:
        return True  # one answer, and another question
    if not plan.steps and any(isinstance(value, dict) for values in frame.values.values() for value in values):
        return False
    assert plan.steps, (lesson.text, lesson.line, plan.reply)
    for key, values in wish.expected.items():
        tool, name = key.split(".")
        found = [step.args.get(name) for step in plan.steps if step.tool == tool]
        for value in values:
            assert any(_same(value, one) for one in found), (lesson.text, lesson.line, key, value, found)
    return True


def _same(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, float) and isinstance(found, int | float):
        return abs(wanted - found) < 1e-9
    if isinstance(wanted, str) and isinstance(found, str):
        return wanted.lower().replace("-", "_") == found.lower().replace("-", "_")
    return bool(wanted == found)
