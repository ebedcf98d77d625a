"""Requests that start something new, in words: prepare, train, export, evaluate, and what may be left out."""

from tunesmith.agent.keys import BASE, CHECKPOINT, DATASET, EVAL_SET, GGUF_FILE, OUTPUT_FILE, QUANTIZATION, SOURCE
from tunesmith.agent.replies import unclear_value

from . import amounts, names
from .layouts import end_phrases, eval_settings, framed, laid_out, tail_phrases
from .phrasebook import Phrasebook
from .wishes import Wish, add_extras, add_nones, eval_set, evaluation, number, slot, training, types

__all__ = ["draw_new", "train_request"]


def draw_new(book: Phrasebook) -> tuple[str, Wish]:
    """A request without history: the text, and what it means."""
    kind = book.draw.random()
    if kind < 0.55:
        return train_request(book)
    if kind < 0.65:
        return _prepare(book)
    if kind < 0.75:
        return _export(book)
    if kind < 0.88:
        return _evaluate(book)
    if kind < 0.95:
        return _incomplete(book)
    return _unclear(book)


def train_request(book: Phrasebook) -> tuple[str, Wish]:
    """A training with all that it needs."""
    draw = book.draw
    conj = book.pick("frame", "conj")
    wish = training(draw, book.language, conj, numbers=draw.choice([0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 3, 4]))
    add_extras(wish, draw)
    add_nones(wish, draw)
    if "core" not in wish.said and draw.random() < 0.04:
        return _prepared(book, wish, conj)
    if draw.random() < 0.06 and wish.values:
        wrong, shown = amounts.out_of_range(draw)
        if wrong.startswith(("finetune", "prepare")) and not (wrong.endswith("lora_r") and "core" in wish.said):
            wish.values[wrong], wish.said[slot(wrong)], wish.kind = [shown], shown, "out of range"
            wish.want.add(wrong.split(".")[0])
            wish.expected.clear()
    _exports(wish, book, conj)
    _evaluations(wish, book, conj)
    return laid_out(book, wish), wish


def _prepared(book: Phrasebook, wish: Wish, conj: str) -> tuple[str, Wish]:
    """A training on a folder that prepare_dataset wrote earlier."""
    for key in [key for key in wish.values if key.startswith("prepare_dataset.")]:
        del wish.values[key], wish.expected[key], wish.said[slot(key)]
    wish.want.discard("prepare_dataset")
    named, folder = names.prepared(book.draw), wish.said
    wish.put(DATASET, *named)
    folder["data"] = named[0]
    del folder["train.prepared"]
    _exports(wish, book, conj)
    _evaluations(wish, book, conj)
    core = "train" if names.is_usual(named[0]) and book.draw.random() < 0.5 else "prepared"
    text = book.pick("core", core, base=folder["base"], data=named[0])
    for tail in tail_phrases(book, wish):
        text += book.pick("frame", "with") + tail
    for end in end_phrases(book, wish):
        text += book.pick("frame", "then") + end
    return framed(book, text), wish


def _exports(wish: Wish, book: Phrasebook, conj: str) -> None:
    draw, kind = book.draw, book.draw.random()
    if kind < 0.5:
        types(wish, draw, conj)
        if draw.random() < 0.08 and len(wish.values[QUANTIZATION]) == 1:
            shown, name = names.gguf(draw)
            wish.put(OUTPUT_FILE, shown, name)
        elif draw.random() < 0.04:
            wish.put("export_gguf.imatrix", "", True)
    elif kind < 0.57:
        wish.want.add("export_gguf")
    elif kind < 0.6:
        wish.want.add("export_safetensors")
    elif kind < 0.66:
        wish.drop.add("export_gguf")


def _evaluations(wish: Wish, book: Phrasebook, conj: str) -> None:
    kind = book.draw.random()
    if "export_gguf" in wish.drop:
        return
    if kind < 0.28:
        evaluation(wish, book.draw, book.language, conj)
    elif kind < 0.36:
        wish.want.add("run_eval")
    elif kind < 0.39:
        wish.drop.add("run_eval")


def _prepare(book: Phrasebook) -> tuple[str, Wish]:
    draw, wish = book.draw, Wish("prepare")
    shown, name = names.data(draw)
    wish.put(SOURCE, shown, name)
    for key, chance in (
        ("prepare_dataset.limit", 0.25),
        ("prepare_dataset.heldout_fraction", 0.2),
        ("prepare_dataset.seed", 0.05),
    ):
        if draw.random() < chance:
            number(wish, draw, key, book.language)
    if draw.random() < 0.15:
        split = draw.choice(["test", "validation", "train", "dev"])
        wish.put("prepare_dataset.split", split, split)
    if draw.random() < 0.08:
        wish.put("prepare_dataset.streaming", "", True)
    if draw.random() < 0.08:
        wish.put("prepare_dataset.on_bad_rows", "", "skip")
    if draw.random() < 0.15:
        shown, name = names.output_folder(draw)
        wish.put("prepare_dataset.output_dir", shown, name)
    text = book.pick("core", "prepare", data=wish.said["prepare.data"])
    for tail in tail_phrases(book, wish):
        text += book.pick("frame", "with") + tail
    return framed(book, text), wish


def _export(book: Phrasebook) -> tuple[str, Wish]:
    draw, wish = book.draw, Wish("export")
    conj = book.pick("frame", "conj")
    shown, name = names.checkpoint(draw) if draw.random() < 0.8 else names.model(draw)
    if draw.random() < 0.18:
        wish.put("export_safetensors.checkpoint_dir", shown, name)
        return framed(book, book.pick("core", "merge", **{"from": shown})), wish
    wish.put(CHECKPOINT, shown, name)
    if draw.random() < 0.82:
        types(wish, draw, conj)
        text = book.pick("core", "export", **{"from": shown, "type": wish.said["export.type"]})
    else:
        text = book.pick("core", "export_plain", **{"from": shown})
    if draw.random() < 0.15 and len(wish.values.get(QUANTIZATION, [])) < 2:
        shown, name = names.gguf(draw)
        wish.put(OUTPUT_FILE, shown, name)
        text += book.pick("frame", "with") + book.pick("tail", "export_to", v=shown)
    if draw.random() < 0.06:
        wish.put("export_gguf.imatrix", "", True)
        text += " " + book.pick("tail", "imatrix")
    if draw.random() < 0.15:
        evaluation(wish, draw, book.language, conj)
        text += (
            book.pick("frame", "then") + book.pick("tail", "eval", on=wish.said["eval.on"]) + eval_settings(book, wish)
        )
    return framed(book, text), wish


def _evaluate(book: Phrasebook) -> tuple[str, Wish]:
    draw, wish = book.draw, Wish("evaluate")
    conj = book.pick("frame", "conj")
    shown, name = names.gguf(draw)
    if draw.random() < 0.06:
        other_shown, other = names.gguf(draw)
        (one_shown, one), (two_shown, two) = eval_set(draw, book.language), eval_set(draw, book.language)
        if name != other and one != two:
            for key, values in ((GGUF_FILE, (name, other)), (EVAL_SET, (one, two))):
                for value in values:
                    wish.put(key, "", value)
            wish.options["paired"] = (GGUF_FILE, EVAL_SET)
            spoken = {"file": shown, "file2": other_shown, "on": one_shown, "on2": two_shown}
            return framed(book, book.pick("tail", "eval_pair", **spoken)), wish
    if draw.random() < 0.15:  # a run or a model: it is exported first
        shown, name = names.checkpoint(draw) if draw.random() < 0.7 else names.model(draw)
        wish.put(CHECKPOINT, shown, name)
    else:
        wish.put(GGUF_FILE, shown, name)
    if draw.random() < 0.2:
        wish.want.add("run_eval")
        return framed(book, book.pick("core", "eval_plain", file=shown)), wish
    evaluation(wish, draw, book.language, conj)
    text = book.pick("core", "eval", file=shown, on=wish.said["eval.on"]) + eval_settings(book, wish)
    return framed(book, text), wish


def _incomplete(book: Phrasebook) -> tuple[str, Wish]:
    """What has to be asked back: no data, no base model, a family, a model that is unknown, nothing to export."""
    draw, kind = book.draw, book.draw.random()
    conj = book.pick("frame", "conj")
    if kind < 0.7:
        lacks = draw.choice(["data", "base", "both", "family", "family", "unknown"])
        wish = training(
            draw,
            book.language,
            conj,
            numbers=draw.choice([0, 0, 1, 1, 2]),
            base=lacks == "data",
            source=lacks in ("base", "unknown") or (lacks == "family" and draw.random() < 0.5),
        )
        if lacks in ("family", "unknown"):
            shown, name = names.family(draw) if lacks == "family" else names.unknown_model(draw)
            wish.said["base"] = shown
            wish.values[BASE] = [name]
        if draw.random() < 0.3:
            _exports(wish, book, conj)
        core = {(True, True): "train", (True, False): "train_base", (False, True): "train_data"}.get(
            (BASE in wish.values, SOURCE in wish.values), "train_none"
        )
        text = book.pick("core", core, base=wish.said.get("base"), data=wish.said.get("data"))
        for tail in tail_phrases(book, wish):
            text += book.pick("frame", "with") + tail
        for end in end_phrases(book, wish):
            text += book.pick("frame", "then") + end
    elif kind < 0.85:
        wish = Wish(want={"export_gguf"})
        if draw.random() < 0.6:
            types(wish, draw, conj)
            text = book.pick("core", "export_none", type=wish.said["export.type"])
            if wish.said["export.type"] not in text:
                wish = Wish(want={"export_gguf"})
        else:
            text = book.pick("core", "export_none", type="GGUF")
    else:
        wish = Wish(want={"run_eval"})
        shown, name = eval_set(draw, book.language)
        text = book.pick("core", "eval_none", on=shown)
        if shown in text:
            wish.put(EVAL_SET, shown, name)
    wish.kind = "asked back"
    wish.expected.clear()
    return framed(book, text), wish


def _unclear(book: Phrasebook) -> tuple[str, Wish]:
    """A number that is spoken of and not said."""
    draw = book.draw
    conj = book.pick("frame", "conj")
    wish = training(draw, book.language, conj, numbers=0)
    wish.said.pop("core", None)
    for key in ("finetune_unsloth.method", "finetune_unsloth.quant", "finetune_unsloth.lora_r"):
        wish.values.pop(key, None)
    rate = draw.random() < 0.4
    name = "finetune_unsloth.learning_rate" if rate else "finetune_unsloth.epochs"
    (one, _), (two, _) = (amounts.drawn(draw, name, book.language) for _ in range(2))
    text = book.pick("core", "train", base=wish.said["base"], data=wish.said["data"])
    text += book.pick("frame", "with") + book.pick("tail", "unclear_lr" if rate else "unclear_epochs", a=one, b=two)
    _exports(wish, book, conj)
    for end in end_phrases(book, wish):
        text += book.pick("frame", "then") + end
    wish.kind, wish.options["about"] = "asked back", name
    wish.options["reply"] = unclear_value(name)
    wish.expected.clear()
    return framed(book, text), wish
