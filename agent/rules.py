"""Read one message of a person as a Frame, by rules: no model, no network, well under a millisecond."""

import re
from typing import Any

from .amount_values import Amounts
from .amounts import read_amounts
from .asides import answer_aside, is_cancelled, refusal
from .bare_names import Roles
from .calls import read_calls
from .choices import (
    read_bad_rows,
    read_bits_and_splits,
    read_choices,
    read_named_words,
    read_quantizations,
    read_rest_of_a_type,
    read_whole_data,
)
from .corrections import corrected
from .frame import Frame, Intent
from .keys import (
    BASE,
    CHECKPOINT,
    DATASET,
    EVAL_SET,
    GGUF_FILE,
    LEARNING_RATE,
    OUTPUT_FILE,
    QUANTIZATION,
    SOURCE,
)
from .leftovers import later_time
from .lexicon import NUMERIC, field_types
from .nearby import governing_tool
from .orders import find_orders, imply_tools, imply_training
from .other_settings import other_settings
from .plan import History
from .reading import Reading
from .references import read_references
from .roles import assign_roles
from .stories import ignore_stories
from .translation import in_english
from .words import Token, family_members, word_set

__all__ = ["UNUSED", "read"]

UNUSED = "I did not use"
"""How the remark on a number begins that belongs to nothing."""

_REPLACING = word_set("instead rather switch change replace swap swapped")
_ADDING = word_set("also too additionally another plus both besides well and add extra")
_AGAIN = word_set("again rerun repeat redo retry same resume continue")
_UNDOING = word_set("undo revert")
_CORRECTING = word_set("sorry actually wait correction oops no rather mean")
_ELSEWHERE = word_set("push upload publish deploy serve email notify host")
# A number before one of these describes the world and sets nothing.
_THINGS = word_set("gb gib mb cores core people gpu gpus euros tickets")
_RATE_AT_MOST = 1e-3  # a number this small can be nothing but a learning rate
_LONGEST = 8_000  # characters of a message that are read
_EARLIER = 20  # messages that a lone number is held against


def read(text: str, history: History) -> Frame:
    """What a message asks for, in the light of what ran before. Never raises, whatever the text."""
    text = in_english(text[:_LONGEST])
    if history.last is not None and text.strip(" .!").lower() == "undo":
        return Frame("undo")  # whatever was asked meanwhile
    return read_calls(text) or _read(Reading(text, history))


def _read(reading: Reading) -> Frame:
    # In this order words stop being available to the next reader.
    reading.take(_nothing_but(reading.tokens))
    if told := ignore_stories(reading.tokens):
        reading.remarks.append(f"I took `{' '.join(told)}` for a story that sets nothing")
    rest, others = other_settings(reading.tokens)
    reading.take(rest)
    read_bits_and_splits(reading)
    reading.take(corrected(reading.tokens))
    read_bad_rows(reading)
    read_whole_data(reading)
    amounts = read_amounts(reading.tokens)
    read_choices(reading)
    find_orders(reading)
    imply_training(reading, amounts)
    read_quantizations(reading)
    read_references(reading)
    earlier = {step.tool for step in reading.last.steps} if reading.last is not None else set()
    roles = assign_roles(reading.tokens, set(reading.want), reading.about, earlier)
    read_rest_of_a_type(reading)
    read_named_words(reading)
    _take_roles(reading, roles)
    _take_amounts(reading, amounts)
    imply_tools(reading, roles)
    _same_benchmark(reading)
    _take_back(reading)
    return _frame(reading, amounts, roles, others)


def _nothing_but(tokens: list[Token]) -> list[Token]:
    """`nothing but` is `only`."""
    kept = [
        token for i, token in enumerate(tokens) if not (i and token.text == "but" and tokens[i - 1].text == "nothing")
    ]
    if len(kept) < len(tokens):
        for token in kept:
            token.text = "only" if token.text == "nothing" else token.text
    return kept


def _take_roles(reading: Reading, roles: Roles) -> None:
    for key, value, i in roles.values:
        none = reading.negated(i) or reading.text(i - 1) == "nothing"
        if key == EVAL_SET and value == "heldout" and none and "run_eval" not in reading.want:
            reading.put("prepare_dataset.heldout_fraction", 0)
        elif reading.negated(i) or reading.given_up(i):
            reading.without.setdefault(key, []).append(value)
        else:
            reading.put(key, value, at=i)
            if key == EVAL_SET:
                reading.want.setdefault("run_eval", "noun")
            if key == OUTPUT_FILE:
                reading.want.setdefault("export_gguf", "noun")
    data = [i for key, _, i in roles.values if key == SOURCE]
    for i in data:
        if i + 1 in data and not {reading.tokens[i].unit, reading.tokens[i + 1].unit} & {"quoted"}:
            names = [reading.text(i), reading.text(i + 1)]
            question = (
                f"Is `{names[0]} {names[1]}` one file? Put quotes round a name with spaces, or a comma between two"
            )
            reading.choice = question, SOURCE
            reading.values.pop(SOURCE, None)
    if roles.family is None and BASE not in reading.values:
        _lone_size(reading)


def _same_benchmark(reading: Reading) -> None:
    """`run the benchmark on that too`: the set that was measured on before, where none is named."""
    pointed = any(
        token.value == "run_eval" and reading.text(i - 1) == "the" for i, token in enumerate(reading.tokens) if i
    )
    if not pointed or EVAL_SET in reading.values or any(step.tool == "run_eval" for step in reading.last_steps()):
        return
    for ran in reversed(reading.history.ran):
        sets = [step.args["eval_set"] for step in ran.plan.steps if step.tool == "run_eval"]
        if sets:
            reading.put(EVAL_SET, *sets)
            return


def _take_back(reading: Reading) -> None:
    """Forget tools that were ordered and then refused, with all that was said of them."""
    for tool in reading.retracted:
        reading.want.pop(tool, None)
        reading.drop.add(tool)
        for key in [key for key in reading.values if key.startswith(f"{tool}.")]:
            del reading.values[key], reading.places[key]


def _lone_size(reading: Reading) -> None:
    """`the 3B`: a size alone, of the family that was asked about or last trained."""
    sizes = [token for token in reading.tokens if token.kind == "size" and not token.used]
    if len(sizes) != 1:
        return
    families = [reading.waiting.get("frame", {}).get("family") or ""]
    families += [str(name).rsplit("-", 1)[0] for name in reading.last_values(BASE)]
    for family in [f for f in families if f] + [re.sub(r"[\d.]+$", "", f) for f in families if f]:
        members = family_members(family.split("-")[0], str(sizes[0].value))
        if len(members) == 1:
            sizes[0].used = True
            reading.put(BASE, members[0])
            return


def _take_amounts(reading: Reading, amounts: Amounts) -> None:
    for keys, values, i in sorted(amounts.values, key=lambda found: found[2]):
        key = _owner(reading, keys, i)
        if key in reading.values and reading.values[key] != values:
            if reading.words & _CORRECTING:
                del reading.values[key], reading.places[key]
            else:
                reading.twice = key
        reading.put(key, *values, at=i if len(values) == 1 else -1)
    if reading.twice in reading.paired():
        reading.twice = None
    reading.asked = _owner(reading, amounts.unclear[0], 0) if amounts.unclear else None


def _owner(reading: Reading, keys: tuple[str, ...], i: int) -> str:
    """Which of several tools' parameters of one name is meant."""
    if len(keys) == 1:
        return keys[0]
    if keys[0].endswith(".seed"):
        tools = set(reading.want) | ({step.tool for step in reading.last.steps} if reading.last else set())
        return keys[1] if "finetune_unsloth" not in tools and "prepare_dataset" in tools else keys[0]
    tool = governing_tool(reading.tokens, i)
    if set(reading.want) == {"run_eval"} or (tool == "run_eval" and "run_eval" in reading.want):
        return "run_eval.limit"
    ran = {step.tool for step in reading.last.steps if not step.reuse} if reading.last is not None else set()
    if ran == {"run_eval"} and not reading.want:
        return "run_eval.limit"
    if keys[0] == "run_eval.limit" and ("run_eval" in reading.want or reading.last_values(EVAL_SET)):
        return "run_eval.limit"
    return "prepare_dataset.limit"


def _frame(reading: Reading, amounts: Amounts, roles: Roles, others: list[str]) -> Frame:
    loose: list[Any] = list(amounts.relative)
    for i, token in enumerate(reading.tokens):
        if token.kind == "number" and not token.used and reading.text(i + 1) not in _THINGS and token.text != "one":
            loose.append(token.value)
    empty = not (
        reading.values or reading.want or reading.drop or reading.without or loose or roles.family or reading.asked
    )
    text = " ".join(token.text for token in reading.tokens)
    if (no := refusal(reading.tokens, reading.want)) is not None:
        return Frame("refuse", reply=no)
    if empty and is_cancelled(reading.tokens, reading.history):
        return Frame("cancel", reply="Forgotten. Tell me what to do instead")
    again = bool(reading.words & _AGAIN) or {"once", "more"} <= reading.words
    said = reading.values or reading.drop or reading.without or loose or roles.family or reading.asked
    ran = {step.tool for step in reading.last.steps} if reading.last is not None else set()
    if again and ran and not said and set(reading.want) <= ran:  # `again`, `export it again`
        return Frame("repeat", want=tuple(reading.want))
    if empty and reading.last is not None and (reading.words & _UNDOING or {"go", "back"} <= reading.words):
        return Frame("undo")
    if (aside := answer_aside(reading.tokens, text, reading.history, bool(empty), set(reading.want))) is not None and (
        empty or not (reading.values or reading.without or reading.drop or reading.asked)
    ):
        return Frame("chat" if aside[0] else "refuse", reply=aside[1])
    intent: Intent = "change" if reading.last is not None and not _fresh(reading, again) else "new"
    _settle_additions(reading, intent)
    question, about = _unclear(reading, amounts, loose, intent)
    if loose and intent == "new" and not reading.about:
        loose = _placed(reading, loose)
        _unused(reading, loose)
        loose = [value for value in loose if isinstance(value, dict)]
    if elsewhere := reading.words & _ELSEWHERE:
        reading.remarks.append(f"I only write files here: `{sorted(elsewhere)[0]}` is left to you")
    if (when := later_time(reading.tokens)) is not None:
        reading.remarks.append(f"I run once, when you say yes: `{when}` is left to you")
    if others and "finetune_unsloth" in reading.want:
        named = " and ".join(f"`{name}`" for name in others)
        reading.remarks.append(f"No tool has a parameter for {named}, so the trainer's own value stays")
    return Frame(
        intent=intent,
        want=tuple(reading.want),
        drop=tuple(sorted(reading.drop)),
        values=reading.values,
        more=_more(reading, intent),
        paired=reading.paired() if intent == "new" else (),
        every=intent == "change" and bool(reading.words & {"both", "all", "each", "them", "every"}),
        without=reading.without,
        family=roles.family,
        loose=tuple(loose),
        about=about,
        reply=question,
        remarks=tuple(reading.remarks),
    )


def _fresh(reading: Reading, again: bool) -> bool:
    """Whether the message stands for itself although something ran before."""
    if again or reading.words & _REPLACING:
        return False
    has = reading.values.keys()
    verbs = {tool for tool, strength in reading.want.items() if strength != "implied"}
    if "finetune_unsloth" in verbs:
        return BASE in has and bool({SOURCE, DATASET} & has)
    if "prepare_dataset" in verbs:
        return SOURCE in has
    if verbs & {"export_gguf", "export_safetensors"} and (CHECKPOINT in has or (BASE in has and _bases_new(reading))):
        return True
    if "run_eval" in verbs and (GGUF_FILE in has or CHECKPOINT in has):
        known = {step.args.get("output_file") for step in reading.last.steps} if reading.last else set()
        adding = reading.words & {"also", "too", "well"} and EVAL_SET not in has
        return not adding and not set(reading.values.get(GGUF_FILE, [])) & known
    return False


def _bases_new(reading: Reading) -> bool:
    return not set(reading.values.get(BASE, [])) <= set(reading.last_values(BASE))


def _settle_additions(reading: Reading, intent: Intent) -> None:
    """`add 10 warmup steps` adds to a number that was asked for before and sets one that was not."""
    for key, values in reading.values.items():
        for n, value in enumerate(values):
            if isinstance(value, dict) and value.get("plus", 0) > 0 and intent == "new":  # `for another 2 epochs`
                values[n] = value["plus"]
            if isinstance(value, dict) and "add" in value:
                tool, name = key.split(".")
                origins = (
                    [step.origin.get(name) for step in reading.last.steps if step.tool == tool] if reading.last else []
                )
                grows = intent == "change" and (
                    key.endswith(".epochs") or any(o in ("you", "last run") for o in origins)
                )
                values[n] = {"plus": value["add"]} if grows else value["add"]


def _more(reading: Reading, intent: Intent) -> tuple[str, ...]:
    """Which values come on top of the last plan's."""
    if intent != "change":
        return ()
    makes = bool({"make", "give", "need", "want", "get", "produce", "create"} & reading.words)
    made = bool({"make", "turn"} & reading.words) and bool({"it", "that", "them"} & reading.words)
    made |= any(reading.text(i) == "make" and reading.text(i + 1) == "the" for i in range(len(reading.tokens)))
    made |= any(
        (reading.text(i - 2), reading.text(i - 1)) == ("should", "be") and token.kind in ("quant", "set", "bits")
        for i, token in enumerate(reading.tokens)
        if i > 1
    )
    replacing = bool(reading.words & (_REPLACING | {"not"})) or (made and not reading.words & {"also", "too", "well"})
    keys = []
    for key in (QUANTIZATION, EVAL_SET, GGUF_FILE, CHECKPOINT):
        tool = key.split(".")[0]
        asked = reading.want.get(tool) == "verb" or (makes and tool in reading.want)
        adding = asked or (tool in reading.want and bool(reading.words & _ADDING))
        if key in reading.values and adding and not replacing and key not in reading.without:
            keys.append(key)
    return tuple(keys)


def _unclear(reading: Reading, amounts: Amounts, loose: list[Any], intent: Intent) -> tuple[str | None, str | None]:
    """A question about a number: one that is missing, doubled, or belongs to nothing."""
    if amounts.unclear is not None and reading.asked is not None:
        name = reading.asked.split(".")[1]
        what = amounts.unclear[1]
        if " or " in what:
            return f"Which value shall `{name}` have, {what}?", reading.asked
        return f"What value shall `{name}` have? Say a number, such as `{name}=...`", reading.asked
    if reading.choice is not None:
        return reading.choice
    if reading.twice is not None:
        values = " and ".join(str(value) for value in reading.values.pop(reading.twice) if not isinstance(value, dict))
        return f"`{reading.twice.split('.')[1]}` is asked for twice, as {values}; which shall it be?", reading.twice
    if reading.words & {"longer", "shorter"} and not reading.values and not loose:
        return "For how many epochs?", "finetune_unsloth.epochs"
    rate = loose[0] if len(loose) == 1 and isinstance(loose[0], float) and 0 < loose[0] <= _RATE_AT_MOST else None
    trains = intent == "change" and bool(reading.last_values(LEARNING_RATE)) and not reading.values
    if rate is not None and trains and not any(float in field_types(key) for key in _focus(reading)):
        reading.put(LEARNING_RATE, loose.pop())  # `try 5e-5`
    if not loose or reading.about in NUMERIC or intent == "new":
        return None, None
    whole = all(isinstance(value, int | dict) for value in loose)
    numeric = [key for key in _focus(reading) if whole or float in field_types(key)]
    if reading.values or [tool for tool, strength in reading.want.items() if strength == "verb"]:
        _unused(reading, loose)
        return None, None
    if len(numeric) == 1 or (numeric and isinstance(loose[0], dict)):
        reading.put(numeric[-1], *loose)
        loose.clear()
        return None, None
    known = f", such as {' or '.join(f'`{key.split(chr(46))[1]}`' for key in numeric)}" if numeric else ""
    return f"Which parameter do you mean{known}? Name it with its value", None


def _placed(reading: Reading, loose: list[Any]) -> list[Any]:
    """What is left of a training's loose numbers, after a lone `1e-4` was taken for a learning rate."""
    if "finetune_unsloth" not in reading.want:
        return loose
    rates = [value for value in loose if isinstance(value, float) and 0 < value <= _RATE_AT_MOST]
    if len(rates) == 1 and LEARNING_RATE not in reading.values:
        reading.put(LEARNING_RATE, rates[0])
        reading.remarks.append(f"I took `{rates[0]}` for the learning rate")
        loose = [value for value in loose if value != rates[0]]
    return loose


def _unused(reading: Reading, loose: list[Any]) -> None:
    numbers = [f"`{value}`" for value in loose if not isinstance(value, dict)]
    if numbers:
        reading.remarks.append(f"{UNUSED} {' and '.join(numbers)}, which names no parameter of a tool")


def _focus(reading: Reading) -> list[str]:
    """The numbers that the last request spoke of, in its order."""
    if reading.last is None:
        return []
    ran = next((n for n, ran in enumerate(reading.history.ran) if ran.plan is reading.last), 0)
    frame = read(reading.last.request, History(reading.history.ran[max(0, ran - _EARLIER) : ran]))
    return [key for key in frame.values if key in NUMERIC]
