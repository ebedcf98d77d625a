"""Changes of the last plan's numbers: set, raised, doubled, taken back, or not said clearly."""

from typing import Any

from tunesmith.agent.frame import Frame
from tunesmith.agent.keys import EVAL_SET, QUANTIZATION
from tunesmith.agent.plan import History
from tunesmith.agent.replies import ASKS, unclear_value

from . import amounts
from .layouts import value_phrase
from .phrasebook import Phrasebook
from .wishes import Made, Wish, eval_set, file_type, slot, types

__all__ = ["NUMBER_CHANGES"]

_EPOCHS, _RATE, _RANK = "finetune_unsloth.epochs", "finetune_unsloth.learning_rate", "finetune_unsloth.lora_r"
_CHANGED = {
    _EPOCHS: 9, _RATE: 8, _RANK: 6, "finetune_unsloth.lora_alpha": 2, "finetune_unsloth.batch_size": 4,
    "finetune_unsloth.max_seq_length": 2.5, "finetune_unsloth.max_steps": 2, "finetune_unsloth.warmup_steps": 1.5,
    "finetune_unsloth.weight_decay": 1.5, "finetune_unsloth.seed": 1.5, "prepare_dataset.limit": 2.5,
    "prepare_dataset.heldout_fraction": 2,
}  # fmt: skip


_MAY_BE_NONE = (
    "finetune_unsloth.warmup_steps",
    "finetune_unsloth.weight_decay",
    "prepare_dataset.heldout_fraction",
)


def _values(book: Phrasebook, last: Wish, history: History) -> Made:
    """One to three absolute values, some together with another change."""
    draw, wish = book.draw, Wish("follow-up")
    parts = []
    keys = draw.sample([*_CHANGED], k=len(_CHANGED), counts=None)
    keys.sort(key=lambda key: -_CHANGED[key] * draw.random())
    for key in keys[: draw.choice([1, 1, 1, 1, 2, 2, 3])]:
        if key == _RANK and last.said.get("core") == "full":
            continue
        shown, value = amounts.drawn(draw, key, book.language)
        if key in _MAY_BE_NONE and draw.random() < 0.12:
            shown, value = "none", 0
        wish.put(key, shown, shown, value)
        parts.append(_said(book, key, shown))
    if not parts:
        return None
    text = book.pick("frame", "and").join(parts)
    kind = draw.random()
    if kind < 0.1 and QUANTIZATION in last.values and len(last.values[QUANTIZATION]) == 1:
        shown, name = file_type(draw)
        wish.put(QUANTIZATION, shown, name)
        text += book.pick("frame", "and") + book.pick("tail", "export", type=shown)
    elif kind < 0.16 and QUANTIZATION not in last.values and "export_gguf" not in last.want:
        types(wish, draw, book.pick("frame", "conj"))
        text += book.pick("frame", "then") + book.pick("tail", "export", type=wish.said["export.type"])
    elif kind < 0.2 and EVAL_SET not in last.values:
        shown, name = eval_set(draw, book.language)
        wish.put(EVAL_SET, shown, name)
        text += book.pick("frame", "then") + book.pick("tail", "eval", on=shown)
    return text, wish, wish.frame("change")


def _said(book: Phrasebook, key: str, shown: str) -> str:
    kind, name = book.draw.random(), slot(key)
    if shown == "none":
        return value_phrase(book, "tail", name, shown)
    if not book.has("name", name):
        kind = max(kind, 0.54)
    if kind < 0.06:
        old = amounts.drawn(book.draw, key, book.language)[0]
        return book.pick("change", "from_to", p=book.pick("name", name), v=shown, old=old)
    if kind < 0.42:
        return book.pick("change", "set", p=book.pick("name", name), v=shown)
    if kind < 0.54:
        return book.pick("change", book.draw.choice(["lower", "raise"]), p=book.pick("name", name), v=shown)
    table = "short" if book.has("short", name) and book.draw.random() < 0.6 else "tail"
    phrase = book.pick(table, name, v=shown)
    if kind < 0.9:
        return book.pick("change", "wrap", x=phrase)
    return phrase if kind < 0.95 else f"{book.pick('key', name)}{book.draw.choice(['=', ' = ', ': '])}{shown}"


def _relative(book: Phrasebook, last: Wish, history: History) -> Made:
    draw, wish = book.draw, Wish("follow-up")
    kind = draw.random()
    if kind < 0.3:
        sign = draw.choice(["more", "more", "less"])
        value = draw.choice([1, 1, 2, 2, 3, 4, 5])
        shown = amounts.surface(draw, value, _EPOCHS, book.language)
        text = book.pick("change", f"{sign}_epochs", v=shown)
        return _related(wish, text, _EPOCHS, sign, shown)
    keys = [_EPOCHS, _RATE, _RANK, "finetune_unsloth.batch_size", "finetune_unsloth.max_seq_length"]
    key = draw.choices(keys, [4, 4, 2, 2, 1])[0]
    if key == _RANK and last.said.get("core") == "full":
        return None
    name = book.pick("name", slot(key))
    if kind < 0.7:
        how, relation, shown = draw.choice(
            [("double", "times", "2"), ("halve", "divided", "2"), ("triple", "times", "3")]
        )
        return _related(wish, book.pick("change", how, p=name), key, relation, shown)
    if kind < 0.9:
        how = draw.choice(["multiply", "divide"])
        shown = draw.choice(["2", "3", "4", "5", "10", "10", "1.5" if how == "multiply" else "5"])
        text = book.pick("change", how, p=name, v=shown)
        return _related(wish, text, key, "times" if how == "multiply" else "divided", shown)
    shown = draw.choice(["10", "20", "25", "50"]) + draw.choice(["%", " %", "%"])
    how = draw.choice(["more", "less"])
    return (
        _related(wish, book.pick("change", f"percent_{how}", p=name, v=shown), _RATE, how, shown)
        if (key == _RATE)
        else None
    )


def _related(wish: Wish, text: str, key: str, relation: str, shown: str) -> Made:
    wish.want.add(key.split(".")[0])
    amount: dict[str, Any] = {"plus" if relation in ("more", "less") else relation: shown}
    if relation == "less":
        amount = {"less": shown}
    wish.values[key] = [amount]
    return text, wish, wish.frame("change")


def _numbers(last: Wish) -> list[str]:
    """The numbers that the last plan was asked for."""
    return [key for key in last.values if key in _CHANGED and not (key == _RANK and "core" in last.said)]


def _default(book: Phrasebook, last: Wish, history: History) -> Made:
    given = [key for key in _numbers(last) if book.has("name", slot(key))]
    if not given:
        return None
    key, wish = book.draw.choice(given), Wish("follow-up", want={"finetune_unsloth"})
    wish.values[key] = [{"default": True}]
    return book.pick("change", "default", p=book.pick("name", slot(key))), wish, wish.frame("change")


def _unclear(book: Phrasebook, last: Wish, history: History) -> Made:
    draw = book.draw
    if draw.random() < 0.35:
        return book.pick("change", "unclear_epochs"), Wish("asked back"), _asking(_EPOCHS)
    key = draw.choice([_RATE, _RATE, _EPOCHS, _RANK, "finetune_unsloth.batch_size", "finetune_unsloth.max_seq_length"])
    bare = book.pick("key", slot(key))
    text = book.pick("change", "unclear", p=book.pick("name", slot(key)), q=bare)
    return text, Wish("asked back"), _asking(key)


def _asking(key: str) -> Frame:
    return Frame("change", want=(key.split(".")[0],), about=key, reply=unclear_value(key))


def _which(book: Phrasebook, last: Wish, history: History) -> Made:
    """`make it 4`: of the one number that the last plan was asked for, else a question which."""
    draw = book.draw
    numbers = [key for key in _numbers(last) if key.startswith("finetune")]
    whole = [key for key in numbers if key not in (_RATE, "finetune_unsloth.weight_decay")]
    if draw.random() < 0.3:
        shown, value = amounts.drawn(draw, _RATE, book.language)
        if value > 1e-3:
            return None
        wish = Wish("follow-up")
        wish.put(_RATE, shown, shown, value)
        return book.pick("change", "which", v=shown), wish, wish.frame("change")
    key = numbers[0] if len(numbers) == 1 and whole else _EPOCHS
    shown, value = amounts.drawn(draw, key, book.language)
    text = book.pick("change", "which", v=shown)
    if key in numbers:
        wish = Wish("follow-up")
        wish.put(key, shown, shown, value)
        return text, wish, wish.frame("change")
    return text, Wish("asked back"), Frame("new", reply=ASKS["which"])


def _what(book: Phrasebook, last: Wish, history: History) -> Made:
    return book.pick("change", "what"), Wish("asked back"), Frame("new", reply=ASKS["what"])


NUMBER_CHANGES = (
    (_values, 30), (_relative, 14), (_default, 2), (_unclear, 6), (_which, 4), (_what, 2),
)  # fmt: skip
"""What draws a message (None where it does not fit the last plan), and how often."""
