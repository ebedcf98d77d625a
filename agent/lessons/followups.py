"""Messages after a plan or after a question: changes, additions, answers."""

import random
from dataclasses import replace

from tunesmith.agent.compose import compose
from tunesmith.agent.frame import Frame
from tunesmith.agent.frame_text import read, write
from tunesmith.agent.keys import BASE, CHECKPOINT, EVAL_SET, GGUF_FILE, QUANTIZATION, SOURCE
from tunesmith.agent.plan import History, Plan, Ran
from tunesmith.agent.replies import unclear_value

from . import amounts, names
from .number_changes import NUMBER_CHANGES
from .phrasebook import Phrasebook
from .step_changes import DATA_CHANGES, EVAL_CHANGES, EXPORT_CHANGES, OTHER_TYPE, STEP_CHANGES
from .wishes import Wish, eval_set, number, slot, training, types

__all__ = ["Followed", "after_plan", "draw_answer", "draw_followup"]

Followed = tuple[str, Wish, Frame, History]
"""(text, what it is about, the frame that it means with numbers as they are said, what went before)"""

_EPOCHS, _RATE = "finetune_unsloth.epochs", "finetune_unsloth.learning_rate"


def after_plan(draw: random.Random, language: str) -> tuple[History, Wish]:
    """A finished pipeline, and what it was made from."""
    for _ in range(50):
        wish = _alone(draw, language) if draw.random() < 0.2 else None
        if wish is not None:
            plan = _planned(wish.frame(), History())
            return History((Ran(plan, finished=len(plan.steps)),)), wish
        wish = training(draw, language, " and ", numbers=draw.choice([0, 1, 1, 2, 2, 3]))
        kind = draw.random()
        if kind < 0.7:
            types(wish, draw, " and ")
        elif kind < 0.78:
            wish.want.add("export_gguf")
        if kind < 0.78 and draw.random() < 0.3:
            shown, name = eval_set(draw, language)
            wish.put(EVAL_SET, shown, name)
        plan = _planned(wish.frame(), History())
        if plan.steps:
            return History((Ran(plan, finished=len(plan.steps)),)), wish
    raise AssertionError("a drawn pipeline should make a plan")


def _alone(draw: random.Random, language: str) -> Wish:
    """A plan of one kind of step: prepared, exported or evaluated, and nothing else."""
    kind, wish = draw.choice(["prepare", "export", "evaluate"]), Wish()
    if kind == "prepare":
        wish.put(SOURCE, *names.data(draw))
        if draw.random() < 0.3:
            number(wish, draw, "prepare_dataset.limit", language)
    elif kind == "export":
        wish.put(CHECKPOINT, *names.checkpoint(draw))
        types(wish, draw, " and ")
    else:
        wish.put(GGUF_FILE, *names.gguf(draw))
        shown, name = eval_set(draw, language)
        wish.put(EVAL_SET, shown, name)
    return wish


def _planned(frame: Frame, history: History) -> Plan:
    return compose(read(write(frame)), history, "", lambda path: False)


def draw_followup(book: Phrasebook) -> Followed:
    """A message after a plan."""
    draw = book.draw
    history, last = after_plan(draw, book.language)
    one = OTHER_TYPE if len(last.values.get(QUANTIZATION, [])) == 1 else ()
    if "finetune_unsloth" in last.want:
        makers = NUMBER_CHANGES + STEP_CHANGES + one
    elif "export_gguf" in last.want:
        makers = EXPORT_CHANGES + one
    else:
        makers = EVAL_CHANGES if "run_eval" in last.want else DATA_CHANGES
    for _ in range(20):
        maker = draw.choices([maker for maker, _ in makers], [weight for _, weight in makers])[0]
        made = maker(book, last, history)
        if made is not None:
            text, wish, frame = made
            wish.kind = wish.kind if wish.kind != "new" else "follow-up"
            return _ended(book, text), wish, frame, history
    raise AssertionError("some follow-up fits every plan")


def _ended(book: Phrasebook, text: str) -> str:
    draw = book.draw
    if draw.random() < 0.08:
        text = book.pick("frame", "opening") + text
    if draw.random() < 0.1:
        text += book.pick("frame", "closing")
    return text + (draw.choice(["", "", ".", "!"]) if text[-1:].isalnum() else "")


def draw_answer(book: Phrasebook) -> Followed:
    """A message after a question: what was asked for, or that it is to be forgotten."""
    draw = book.draw
    asked = draw.choices(["data", "base", "both", "epochs", "lr", "from", "file"], [8, 6, 3, 3, 2, 2, 2])[0]
    waiting = _waiting(draw, book.language, asked)
    plan = _planned(waiting, History())
    history = History((Ran(plan, finished=0),))
    assert plan.pending is not None, "what waits should be a question"
    wish = Wish("answer")
    if draw.random() < 0.08:
        return (
            book.pick("answer", "cancel"),
            wish,
            Frame("cancel", reply="Forgotten. Tell me what to do instead"),
            history,
        )
    if asked in ("data", "both"):
        wish.put(SOURCE, *names.data(draw))
    if asked in ("base", "both"):
        wish.put(BASE, *(names.model(draw) if draw.random() < 0.8 else names.hub_model(draw)))
    if asked in ("epochs", "lr"):
        number(wish, draw, _EPOCHS if asked == "epochs" else _RATE, book.language)
    if asked == "from":
        wish.put(CHECKPOINT, *names.checkpoint(draw))
    if asked == "file":
        wish.put(GGUF_FILE, *names.gguf(draw))
    values = {name.split(".")[1]: shown for name, shown in wish.said.items()}
    name = "both" if asked == "both" else slot(next(iter(wish.values)))
    text = book.pick("answer", name, **values, v=next(iter(wish.said.values())))
    if draw.random() < 0.12 and asked in ("data", "base", "epochs"):
        key = _EPOCHS if asked != "epochs" else _RATE
        if key not in waiting.values:
            shown, value = amounts.drawn(draw, key, book.language)
            wish.put(key, shown, shown, value)
            text += book.pick("frame", "with") + book.pick("tail", slot(key), v=shown)
    return _ended(book, text), wish, wish.frame("answer"), history


def _waiting(draw: random.Random, language: str, asked: str) -> Frame:
    """A frame that makes this question."""
    if asked in ("from", "file"):
        tool = "export_gguf" if asked == "from" else "run_eval"
        wish = Wish(want={tool})
        if asked == "from" and draw.random() < 0.6:
            types(wish, draw, " and ")
        if asked == "file" and draw.random() < 0.6:
            shown, name = eval_set(draw, language)
            wish.put(EVAL_SET, shown, name)
        return wish.frame()
    wish = training(
        draw,
        language,
        " and ",
        numbers=draw.choice([0, 1, 1, 2]),
        base=asked not in ("base", "both"),
        source=asked not in ("data", "both"),
    )
    if asked == "base" and draw.random() < 0.5:
        shown, name = names.family(draw)
        wish.values[BASE] = [name]
    if draw.random() < 0.4:
        types(wish, draw, " and ")
    frame = wish.frame()
    if asked in ("epochs", "lr"):
        key = _EPOCHS if asked == "epochs" else _RATE
        values = {name: value for name, value in frame.values.items() if name != key}
        return replace(frame, values=values, about=key, reply=unclear_value(key))
    return frame
