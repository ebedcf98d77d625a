"""A wish in words: as a sentence, as sentences, terse, as `key: value`, or as a list of jobs."""

import re

from tunesmith.agent.keys import EVAL_SET, OUTPUT_FILE, QUANTIZATION

from . import amounts
from .phrasebook import Phrasebook
from .wishes import Wish, key_named

__all__ = ["end_phrases", "eval_settings", "framed", "laid_out", "tail_phrases", "value_phrase"]

_LEFT_TO_TAILS = ("prepare.", "train.", "eval.limit", "eval.template")
_UNSAID = {"train.method", "train.base", "prepare.data"}


def laid_out(book: Phrasebook, wish: Wish) -> str:
    """A training and what follows it, in one of the ways that people write."""
    kind = book.draw.random()
    several = any(", " in said for said in wish.said.values())
    if "core" in wish.said or kind < 0.62 or several:
        return _sentence(book, wish)
    if kind < 0.78:
        return _terse(book, wish)
    return _keyed(book, wish) if kind < 0.92 else _listed(book, wish)


def tail_phrases(book: Phrasebook, wish: Wish) -> list[str]:
    """A phrase for each value that the core has not said, those of the training in any order."""
    said = [name for name in wish.said if name.startswith(_LEFT_TO_TAILS) and name not in _UNSAID]
    said = [name for name in said if not name.startswith("eval.") and book.has("tail", name) and _is_open(wish, name)]
    book.draw.shuffle(said)
    return [value_phrase(book, "tail", name, wish.said[name]) for name in said]


def value_phrase(book: Phrasebook, table: str, name: str, shown: str) -> str:
    """A parameter with its value, or without one: `no warmup`."""
    if shown == "none":
        bare = book.pick("key", name)
        return book.pick("tail", "no_heldout") if name == "prepare.heldout" else book.pick("tail", "none", q=bare)
    said = book.pick(table, name, v=shown)
    if book.has("short", name) and shown and book.draw.random() < 0.03:  # `2 epochs, no wait, 3 epochs`
        wrong = amounts.drawn(book.draw, key_named(name), book.language)[0]
        return book.pick("short", name, v=wrong) + book.pick("frame", "correction") + said
    return said


def _is_open(wish: Wish, name: str) -> bool:
    """Whether a value is to be said in words of its own: `QLoRA` has said the precision already."""
    return bool(wish.said[name]) or name in ("prepare.streaming", "prepare.bad")


def end_phrases(book: Phrasebook, wish: Wish) -> list[str]:
    """Exports and evaluations, in the order of the work."""
    ends = []
    if QUANTIZATION in wish.values:
        ends.append(book.pick("tail", "export", type=wish.said["export.type"]))
    elif "export_gguf" in wish.want:
        ends.append(book.pick("tail", "export_plain"))
    if OUTPUT_FILE in wish.values:
        ends[-1] += " " + book.pick("tail", "export_to", v=wish.said["export.to"])
    if "export_gguf.imatrix" in wish.values:
        ends[-1] += " " + book.pick("tail", "imatrix")
    if "export_safetensors" in wish.want:
        ends.append(book.pick("tail", "merge"))
    if "export_gguf" in wish.drop:
        ends.append(book.pick("tail", "no_export"))
    if EVAL_SET in wish.values:
        ends.append(book.pick("tail", "eval", on=wish.said["eval.on"]) + eval_settings(book, wish))
    elif "run_eval" in wish.want:
        ends.append(book.pick("tail", "eval_plain"))
    if "run_eval" in wish.drop:
        ends.append(book.pick("tail", "no_eval"))
    return ends


def eval_settings(book: Phrasebook, wish: Wish) -> str:
    """How an evaluation is to be done, where the wish says so."""
    text = ""
    if "run_eval.limit" in wish.values:
        text += book.pick("frame", "with") + book.pick("tail", "eval_limit", v=wish.said["eval.limit"])
    if "run_eval.chat_template" in wish.values:
        text += book.pick("frame", "with") + book.pick("tail", "eval_template")
    return text


def _sentence(book: Phrasebook, wish: Wish) -> str:
    draw = book.draw
    core = book.pick("core", wish.said.get("core", "train"), base=wish.said["base"], data=wish.said["data"])
    tails, ends = tail_phrases(book, wish), end_phrases(book, wish)
    if tails and draw.random() < 0.06:
        text = f"{tails[0]}: {core}" if draw.random() < 0.5 else f"{tails[0]}, {core}"
        tails = tails[1:]
    else:
        text = core
    apart = draw.random() < 0.2
    for n, tail in enumerate(tails):
        if apart:
            text += ". " + tail[:1].upper() + tail[1:]
        else:
            last = n and n == len(tails) - 1
            text += (book.pick("frame", "and") if last else book.pick("frame", "with") if n == 0 else ", ") + tail
    for end in ends:
        text += (". " + end[:1].upper() + end[1:]) if apart else book.pick("frame", "then") + end
    return framed(book, re.sub(r"\b(and|then),? (and then|and|then)\b", r"\2", text))


def framed(book: Phrasebook, text: str) -> str:
    """With a greeting, a story or a closing around it, now and then."""
    draw = book.draw
    if draw.random() < 0.12:
        text = book.pick("frame", "opening") + text
    if draw.random() < 0.1:
        stories = "".join(book.pick("frame", "story", n=draw.randint(2, 40)) for _ in range(draw.choice([1, 1, 2, 3])))
        text = stories + text if draw.random() < 0.7 else f"{text.rstrip('.')}. {stories.strip()}"
    if draw.random() < 0.14:
        return text.rstrip(".") + book.pick("frame", "closing")
    stop = "。" if book.language == "zh" else "।" if book.language == "hi" else "."
    return text + draw.choice(["", "", stop, stop, "!"] if text[-1:] not in "?.!。।" else [""])


def _short(book: Phrasebook, wish: Wish, name: str) -> str:
    return value_phrase(book, "short" if book.has("short", name) else "tail", name, wish.said[name])


def _terse(book: Phrasebook, wish: Wish) -> str:
    draw = book.draw
    said = [name for name in wish.said if name.startswith(_LEFT_TO_TAILS) and name not in _UNSAID]
    said = [name for name in said if (book.has("short", name) or book.has("tail", name)) and _is_open(wish, name)]
    items = [wish.said["base"], wish.said["data"]]
    if draw.random() < 0.3:
        items.reverse()
    items += [_short(book, wish, name) for name in said if not name.startswith("eval.")]
    if draw.random() < 0.25:
        draw.shuffle(items)
    if QUANTIZATION in wish.values:
        bare = wish.said["export.type"]
        items.append(bare if draw.random() < 0.6 else book.pick("tail", "export", type=bare))
        items[-1] += (
            f" {book.pick('tail', 'export_to', v=wish.said['export.to'])}" if OUTPUT_FILE in wish.values else ""
        )
        items[-1] += f" {book.pick('tail', 'imatrix')}" if "export_gguf.imatrix" in wish.values else ""
        rest = end_phrases(book, wish)[1:]
    else:
        rest = end_phrases(book, wish)
    if (
        EVAL_SET in wish.values
        and draw.random() < 0.4
        and not {"run_eval.limit", "run_eval.chat_template"} & wish.values.keys()
    ):
        rest[-1] = wish.said["eval.on"]
    mark = draw.choice([", ", ", ", " / ", " | ", "; ", " - ", "\n", "，" if book.language == "zh" else ", "])
    return mark.join([*items, *rest])


def _keyed(book: Phrasebook, wish: Wish) -> str:
    """`model: x`, `epochs=3`, `--lr 2e-4`: one parameter after the other."""
    draw = book.draw
    pairs = [(book.pick("key", "base"), wish.said["base"]), (book.pick("key", "data"), wish.said["data"])]
    others = [name for name in wish.said if name.startswith(_LEFT_TO_TAILS) and name not in _UNSAID]
    others = [name for name in others if _is_open(wish, name)]
    loose = []
    for name in others:
        if book.has("key", name):
            pairs.append((book.pick("key", name), wish.said[name]))
        elif not name.startswith("eval.") and book.has("tail", name):
            loose.append(value_phrase(book, "tail", name, wish.said[name]))
    if draw.random() < 0.5:
        draw.shuffle(pairs)
    simple = not {OUTPUT_FILE, "export_gguf.imatrix", "run_eval.limit", "run_eval.chat_template"} & wish.values.keys()
    ends = end_phrases(book, wish)
    if simple and QUANTIZATION in wish.values and "export_safetensors" not in wish.want:
        pairs.append((book.pick("key", "type"), wish.said["export.type"]))
        ends = ends[1:]
    if simple and EVAL_SET in wish.values and "run_eval" not in wish.drop and "export_gguf" not in wish.drop:
        pairs.append((book.pick("key", "on"), wish.said["eval.on"]))
        ends = ends[:-1]
    style = draw.random()
    if style < 0.12:
        lines = [f"--{key.replace(' ', '-')} {value}" for key, value in pairs]
        return " ".join([draw.choice(["train", "finetune", "", "tunesmith train"]), *lines, *loose, *ends]).strip()
    link = draw.choice(["=", ": ", " = ", ":", ": "])
    part = (
        draw.choice(["\n", ", ", " ", "; ", "\n", ", ", "\n- "])
        if link == "="
        else draw.choice(["\n", ", ", "; ", "\n- "])
    )
    lead = draw.choice(["", "", "train", "fine-tune", "finetune", "new run", "job"])
    text = part.join([f"{key}{link}{value}" for key, value in pairs] + loose + ends)
    return (lead + (":" if "\n" in part else " ") + ("\n" if "\n" in part else "") + text) if lead else text


def _listed(book: Phrasebook, wish: Wish) -> str:
    core = book.pick("core", "train", base=wish.said["base"], data=wish.said["data"])
    lines = [core, *tail_phrases(book, wish), *end_phrases(book, wish)]
    numbered = book.draw.random() < 0.5
    return "\n".join(f"{f'{n}.' if numbered else '-'} {line}" for n, line in enumerate(lines, 1))
