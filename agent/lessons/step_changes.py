"""Changes of what the last plan does: other data, another base model, more files, evaluations, or less of it."""

from dataclasses import replace

from tunesmith.agent.frame import Frame
from tunesmith.agent.keys import BASE, EVAL_SET, GGUF_FILE, METHOD, OUTPUT_FILE, QUANT, QUANTIZATION, SOURCE
from tunesmith.agent.plan import History, Step

from . import names
from .phrasebook import Phrasebook
from .wishes import Made, Wish, eval_set, file_type, number, types

__all__ = ["DATA_CHANGES", "EVAL_CHANGES", "EXPORT_CHANGES", "OTHER_TYPE", "STEP_CHANGES"]


def _data(book: Phrasebook, last: Wish, history: History) -> Made:
    if len(last.values[SOURCE]) > 1:
        return None
    wish = Wish("follow-up")
    shown, name = names.data(book.draw)
    wish.put(SOURCE, shown, name)
    return book.pick("change", "data", data=shown), wish, wish.frame("change")


def _train_it(book: Phrasebook, last: Wish, history: History) -> Made:
    """What was prepared is trained on."""
    wish = Wish("follow-up")
    wish.put(BASE, *(names.model(book.draw) if book.draw.random() < 0.85 else names.hub_model(book.draw)))
    text = book.pick("change", "train_it", base=wish.said["train.base"])
    if book.draw.random() < 0.5:
        number(wish, book.draw, "finetune_unsloth.epochs", book.language)
        text += book.pick("frame", "with") + book.pick("tail", "train.epochs", v=wish.said["train.epochs"])
    if book.draw.random() < 0.4:
        types(wish, book.draw, book.pick("frame", "conj"))
        text += book.pick("frame", "then") + book.pick("tail", "export", type=wish.said["export.type"])
    return text, wish, wish.frame("change")


def _base(book: Phrasebook, last: Wish, history: History) -> Made:
    if len(last.values[BASE]) > 1:
        return None
    wish = Wish("follow-up")
    shown, name = names.model(book.draw) if book.draw.random() < 0.85 else names.hub_model(book.draw)
    wish.put(BASE, shown, name)
    return book.pick("change", "base", base=shown), wish, wish.frame("change")


def _type(book: Phrasebook, last: Wish, history: History) -> Made:
    """Another type: beside what there is, or the first one."""
    wish = Wish("follow-up")
    had = last.values.get(QUANTIZATION, [])
    exported = "export_gguf" in last.want
    types(wish, book.draw, book.pick("frame", "conj"))
    if set(wish.values[QUANTIZATION]) & {*had, *([] if had else ["q4_k_m"])}:
        return None
    shown = wish.said["export.type"]
    if exported:
        return book.pick("change", "also_type", type=shown), wish, replace(wish.frame("change"), more=(QUANTIZATION,))
    if book.draw.random() < 0.15:
        return book.pick("change", "new_plain"), Wish("follow-up"), Frame("change", want=("export_gguf",))
    return book.pick("change", "new_type", type=shown), wish, wish.frame("change")


def _other_type(book: Phrasebook, last: Wish, history: History) -> Made:
    wish = Wish("follow-up")
    shown, name = file_type(book.draw)
    had = last.values.get(QUANTIZATION, ["q4_k_m"])
    if name in had:
        return None
    wish.put(QUANTIZATION, shown, name)
    if book.draw.random() < 0.3:
        old = book.draw.choice([had[0], had[0].upper()])
        return book.pick("change", "swap_type", new=shown, old=old), wish, wish.frame("change")
    return book.pick("change", "type", type=shown), wish, wish.frame("change")


def _fewer_types(book: Phrasebook, last: Wish, history: History) -> Made:
    had = last.values.get(QUANTIZATION, [])
    if len(had) < 2:
        return None
    gone = book.draw.choice(had)
    wish = Wish("follow-up")
    if book.draw.random() < 0.5:
        shown, name = file_type(book.draw)
        if name in had:
            return None
        wish.put(QUANTIZATION, shown, name)
        text = book.pick("change", "swap_type", new=shown, old=gone)
    else:
        text = book.pick("change", "without_type", type=gone)
    return text, wish, replace(wish.frame("change"), without={QUANTIZATION: [gone]})


def _way(book: Phrasebook, last: Wish, history: History) -> Made:
    """Another way to train: QLoRA, DPO, all weights, another precision."""
    draw, wish = book.draw, Wish("follow-up")
    if "core" in last.said:
        return None
    kind = draw.choice(["qlora", "dpo", "full", "quant"])
    if kind == "qlora":
        wish.put(QUANT, "", "4bit")
    elif kind == "dpo":
        wish.put(METHOD, "", "dpo")
    elif kind == "full":
        wish.put("finetune_unsloth.lora_r", "", "none", 0)
    else:
        precision = draw.choice(["8bit", "4bit", "16bit"])
        shown = draw.choice([precision, precision.replace("bit", " bit"), precision.replace("b", "-b")])
        wish.put(QUANT, shown, precision)
        return book.pick("tail", "train.quant", v=shown), wish, wish.frame("change")
    said = book.pick("short", "full") if kind == "full" else draw.choice([{"qlora": "QLoRA", "dpo": "DPO"}[kind], kind])
    return book.pick("change", "wrap", x=said), wish, wish.frame("change")


def _output(book: Phrasebook, last: Wish, history: History) -> Made:
    """Another name for the one file that there is."""
    if len(_steps(history, "export_gguf")) != 1:
        return None
    wish = Wish("follow-up")
    wish.put(OUTPUT_FILE, *names.gguf(book.draw))
    return book.pick("tail", "export_to", v=wish.said["export.to"]), wish, wish.frame("change")


def _merge(book: Phrasebook, last: Wish, history: History) -> Made:
    return book.pick("change", "new_merge"), Wish("follow-up"), Frame("change", want=("export_safetensors",))


def _evaluation(book: Phrasebook, last: Wish, history: History) -> Made:
    wish, draw = Wish("follow-up"), book.draw
    shown, name = eval_set(draw, book.language)
    had = last.values.get(EVAL_SET, [])
    if name in had:
        return None
    if had:
        kind = draw.random()
        if kind < 0.2:
            number(wish, draw, "run_eval.limit", book.language)
            return book.pick("change", "eval_limit", v=wish.said["eval.limit"]), wish, wish.frame("change")
        wish.put(EVAL_SET, shown, name)
        if kind < 0.45:
            return book.pick("change", "other_eval", on=shown), wish, wish.frame("change")
        return book.pick("change", "also_eval", on=shown), wish, replace(wish.frame("change"), more=(EVAL_SET,))
    exports = len(last.values.get(QUANTIZATION, []))
    if exports > 1 and draw.random() < 0.6:
        wish.put(EVAL_SET, shown, name)
        return book.pick("change", "eval_all", on=shown), wish, replace(wish.frame("change"), every=True)
    if draw.random() < 0.15:
        return book.pick("change", "new_eval_plain"), Wish("follow-up"), Frame("change", want=("run_eval",))
    wish.put(EVAL_SET, shown, name)
    text = book.pick("change", "new_eval", on=shown)
    if draw.random() < 0.12:
        number(wish, draw, "run_eval.limit", book.language)
        text += book.pick("frame", "with") + book.pick("tail", "eval_limit", v=wish.said["eval.limit"])
    return text, wish, wish.frame("change")


def _drop(book: Phrasebook, last: Wish, history: History) -> Made:
    choices = [("run_eval", "drop_eval")] if "run_eval" in last.want else []
    if "export_gguf" in last.want and "run_eval" not in last.want:
        choices.append(("export_gguf", "drop_export"))
    if not choices:
        return None
    tool, name = book.draw.choice(choices)
    return book.pick("change", name), Wish("follow-up"), Frame("change", drop=(tool,))


def _repeat(book: Phrasebook, last: Wish, history: History) -> Made:
    tools = {"finetune_unsloth": "repeat_train", "export_gguf": "repeat_export", "run_eval": "repeat_eval"}
    known = [tool for tool in tools if tool in last.want]
    if book.draw.random() < 0.6 or not known:
        return book.pick("change", "repeat"), Wish("follow-up"), Frame("repeat")
    tool = book.draw.choice(known)
    return book.pick("change", tools[tool]), Wish("follow-up"), Frame("repeat", want=(tool,))


def _undo(book: Phrasebook, last: Wish, history: History) -> Made:
    return book.pick("change", "undo"), Wish("undo"), Frame("undo")


def _of_type(book: Phrasebook, last: Wish, history: History) -> Made:
    """`evaluate the q8_0 one`: one of several files of the last plan."""
    had = last.values.get(QUANTIZATION, [])
    files = {step.args["quantization"]: step.args["output_file"] for step in _steps(history, "export_gguf")}
    if len(had) < 2 or len(files) != len(_steps(history, "export_gguf")):
        return None
    kind, wish = book.draw.choice(had), Wish("follow-up", want={"run_eval"})
    shown, name = eval_set(book.draw, book.language)
    wish.put(EVAL_SET, shown, name)
    wish.values[GGUF_FILE] = [files[kind]]
    text = book.pick("change", "eval_of_type", type=kind if book.draw.random() < 0.7 else kind.upper(), on=shown)
    return text, wish, wish.frame("new")


def _steps(history: History, tool: str) -> list[Step]:
    return [step for step in history.last.steps if step.tool == tool] if history.last else []


STEP_CHANGES = (
    (_data, 6), (_base, 6), (_type, 9), (_fewer_types, 6), (_merge, 2), (_evaluation, 14), (_drop, 3), (_repeat, 3),
    (_undo, 2), (_of_type, 3), (_way, 5), (_output, 2),
)  # fmt: skip
"""What draws a message (None where it does not fit the last plan), and how often."""

EXPORT_CHANGES = ((_type, 9), (_fewer_types, 5), (_evaluation, 9), (_output, 2), (_repeat, 2))
"""As STEP_CHANGES, after an export alone."""

EVAL_CHANGES = ((_evaluation, 10), (_repeat, 1))
"""As STEP_CHANGES, after an evaluation alone."""

DATA_CHANGES = ((_train_it, 10), (_data, 2), (_repeat, 1))
"""As STEP_CHANGES, after a preparation alone."""

OTHER_TYPE = ((_other_type, 8),)
"""As STEP_CHANGES, where the last plan has exactly one GGUF type."""
