"""What a language model may answer to one request: a grammar of frames made for it, in LLGuidance's Lark syntax.

Keys, tools and choices come from the contract and the Input models. Names are runs of words of the request, of the
last plan, of the open question, or of the catalogue; numbers are those that stand in the request, names left out. So
neither can be made up, and a file name that holds orders is a name and nothing else.

A number that its parameter does not take is allowed all the same: it must be refused, with the range, when the plan
is made, and not be exchanged for another number of the request. Only `times` and `divided` have factors of their own,
because `double`, `halve` and `triple` hold no number.

Tools and parameters stand in one order, and a parameter has four values at most: every answer has an end.
"""

import functools
import itertools
import json
import re

from tunesmith.tools.registry import TOOLS

from . import contract
from .frame import Frame
from .frame_prompt import LONGEST, prompt
from .frame_words import TOOLS_AS, keys
from .keys import BASE, CHECKPOINT, DATA_DIR, DATASET, EVAL_SET, GGUF_FILE, SOURCE, TARGETS, TOKENIZER
from .lexicon import NUMERIC, field_types
from .meant_choices import families, meant
from .number_words import number_spans, read_number
from .pipeline import ORDER
from .plan import History
from .replies import ASKS, CHATS, REFUSALS
from .words import tokenize

__all__ = ["FACTORS", "grammar", "names_in", "numbers_in"]

FACTORS = ("2", "3", "4", "5", "10")
"""Numbers of words such as `double`, which hold none."""
_VALUES = 4  # of one parameter
_TURNS = 3  # sections of one tool
_RUN = 6  # words of a name with spaces
_MOST_NAMES = 1_500
_EDGES = "\"'`“”‘’«»„()[]{}<>,;:!?=…。,、;:!?()「」『』।"
_GLUED = re.compile(r"^[^\W\d][\w -]*[=:](?!//)")
_OPENING, _CLOSING = "`\"“„«'「", "`\"”“»'」"
_PLAIN = re.compile(r"[\w./\\:@+~%=&-]+", re.ASCII)
_WORDY = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_LEFT_OUT = {"name", "model", "quant"}
_NAMED = ("NAME", "DATA", "MODEL", "WORD")
_DATA_ENDS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".txt", ".gguf")
_MODELS_END = (".gguf", ".safetensors")
_NOTHING: tuple[str, ...] = ()
_A_RATE = 0.05
_RESERVED = {"default", "?", "none"}


def names_in(text: str) -> list[str]:
    """Every run of words of a text that may be a name, without the marks around it. What stands in quotes, a path and
    an address are names as a whole: their words are none by themselves.

    >>> names_in("`my rows.csv` 用a/b.csv训练 llama 70b")[:5]
    ['my rows.csv', '用a/b.csv训练', 'a/b.csv', '用', '训练']
    """
    names = [token for form in (text, _spaced(text)) for token in tokenize(form) if token.kind == "name"]
    found = {str(token.value): None for token in names}
    for opening, closing in zip(_OPENING, _CLOSING, strict=True):
        pattern = f"{re.escape(opening)}([^{re.escape(opening + closing)}\\n]+){re.escape(closing)}"
        found |= dict.fromkeys(match[1].strip() for match in re.finditer(pattern, text))
    for part in re.split(r"[\n\0]", _without(text, {"name"})):
        words = [(match.start(), match.end()) for match in re.finditer(r"\S+", part)]
        for start, end in words:
            word = part[start:end]
            found |= dict.fromkeys(_trimmed(word))
            if _WORDY.fullmatch(word.strip(_EDGES + ".")):  # `Train split`, `val-split`
                found |= dict.fromkeys(one for one in re.split(r"-|\W", word.casefold()) if one)
            if not word.isascii():
                for match in _PLAIN.finditer(word):
                    found |= dict.fromkeys(_trimmed(match[0]))
        for first, (start, _) in enumerate(words):
            for _, end in words[first + 1 : first + _RUN]:
                found |= dict.fromkeys(_trimmed(part[start:end]))
    return [name for name in found if name.strip() and '"' not in name and "\n" not in name][:_MOST_NAMES]


def _spaced(text: str) -> str:
    """A text with a space wherever Chinese meets Latin letters, digits and signs."""
    return re.sub(r"(?<=[\u3000-\u9fff\uff00-\uffef])(?=[!-~])|(?<=[!-~])(?=[\u3000-\u9fff\uff00-\uffef])", " ", text)


def _without(text: str, kinds: set[str]) -> str:
    """A text with a NUL sign in place of its tokens of some kinds."""
    for token in tokenize(_spaced(text)):
        if token.kind in kinds and token.text:
            text = re.sub(rf"(?<![a-zA-Z\d_]){re.escape(token.text)}(?![a-zA-Z\d_])", "\0", text)
    return text


def _trimmed(word: str) -> list[str]:
    """A word without the marks around it, and what follows a key that is glued to it: `data=rows.csv`, `data:rows`."""
    bare = word.strip().lstrip(_EDGES).rstrip(_EDGES + ".").strip()
    value = _GLUED.sub("", bare).lstrip(_EDGES)
    return list(dict.fromkeys([bare, value]))


def numbers_in(text: str) -> list[str]:
    """The numbers of a text as they stand there; what stands inside a file, an address, a model or a type is none.

    >>> numbers_in("train gemma3-270m on for_5_epochs.csv, zwei Epochen, lr 2e-4, q4_k_m")
    ['zwei', '2e-4']
    """
    text = _without(text, _LEFT_OUT).replace("\0", " ; ")
    text = re.sub(r"[.,]\s", " ; ", text)
    unglued = re.sub(r"[=:]", " ", text)  # `rank=eight`
    single = re.sub(r"(?<=[^\W\d])-(?=[^\W\d])", " ", unglued)  # `rank-eight`
    found = [span for form in (text, unglued, single) for span in number_spans(form)]
    return list(dict.fromkeys(spelled for span in found for spelled in (span, span.casefold())))


def grammar(text: str, history: History) -> str:
    """The Lark text of every answer that a request may have, in the light of what ran before."""
    shown = prompt(text, history)
    names = dict.fromkeys(names_in(text[:LONGEST]))  # as the user wrote them
    text = prompt(text, History())  # as the model reads it
    pending = history.pending.pending if history.pending else None
    waiting = Frame.from_json(pending["frame"]) if pending else None
    if waiting is not None:
        names |= dict.fromkeys(_texts([value for values in waiting.values.values() for value in values]))
    if history.last is not None:
        names |= dict.fromkeys(_texts([value for step in history.last.steps for value in step.args.values()]))
    spelled = [_spelled(name) for name in names]
    numbers = [_spelled(number) for number in numbers_in(text)]
    spoken = _without(shown, {"name"})
    lines = [
        f"start: {' | '.join(_starts(history))}",
        *(_terminal(kind, [name for name in spelled if _can_be(kind, name)] or ["?"]) for kind in _NAMED),
        _terminal("NUMBER", numbers or ["?"]),
        _terminal("COUNT", [_spelled(number) for number in numbers_in(text) if not _is_a_rate(number)] or ["?"]),
        _terminal("FACTOR", [*(_spelled(number) for number in numbers_in(text) if read_number(number)), *FACTORS]),
    ]
    tools = [tool for tool in ORDER if tool in contract.load().tools]
    lines.append(f"sections: {' '.join(TOOLS_AS[tool] for tool in tools)}")
    for tool in tools:
        lines += _tool_rules(tool, spoken, spelled, bool(numbers), history.last is not None)
    return "\n".join(lines)


def _can_be(kind: str, name: str) -> bool:
    """Whether a name is of a kind, by what it ends with."""
    bare = name.strip('"').casefold()
    if kind == "WORD":
        return not re.search(r"[./\\]\w", bare)
    return not bare.endswith({"DATA": _MODELS_END, "MODEL": _DATA_ENDS}.get(kind, _NOTHING))


def _kind(key: str) -> str:
    """What names a parameter takes."""
    if key in (SOURCE, DATASET):
        return "DATA"
    if key in (BASE, CHECKPOINT, "export_safetensors.checkpoint_dir", TOKENIZER):
        return "MODEL"
    if key in (EVAL_SET, GGUF_FILE, DATA_DIR) or key.endswith((".output_dir", ".output_file")):
        return "NAME"
    return "WORD"


def _is_a_rate(number: str) -> bool:
    """Whether a number is so small that nobody counts anything by it: a learning rate."""
    return 0 < abs(read_number(number)) < _A_RATE


def _starts(history: History) -> list[str]:
    """The heads that make sense now: nothing is changed before the first plan, nothing answered without a question."""
    alone = (
        [f"ask {name}" for name in ASKS] + [f"refuse {name}" for name in REFUSALS] + [f"chat {name}" for name in CHATS]
    )
    for tool in TOOLS:
        alone += [f"chat about {TOOLS_AS[tool]}"] + [f"chat about {TOOLS_AS[tool]} {word}" for word in keys(tool)]
    heads = ["new"]
    again = ""
    if history.pending is not None:
        heads.append("answer")
        alone.append("cancel")
    if history.last is not None:
        heads += ["change", "change all"]
        alone.append("undo")
        ran = {step.tool for step in history.last.steps}
        again = '"repeat" ' + " ".join(f"{_literal(f' {TOOLS_AS[tool]}')}?" for tool in ORDER if tool in ran)
    full = f"({' | '.join(map(_literal, heads))}) sections"
    return [full, *map(_literal, alone), *([again] if again else [])]


def _tool_rules(tool: str, spoken: str, names: list[str], numbered: bool, follows: bool) -> list[str]:
    """The rules of one tool's sections, and the terminals of its values."""
    word = TOOLS_AS[tool]
    lines, open_values, sure_values = [], [], []
    for name, key in keys(tool).items():
        rule = key.replace(".", "_").lower()
        value = rule.upper()
        if key in NUMERIC:
            lines.append(f"{value}: {' | '.join(_number_values(key, numbered))}")
            value = f"({value} | {_relations(numbered)})"
        else:
            lines.append(f"{value}: {' | '.join(_text_values(key, spoken))}")
        begin = _literal(f" {name} ")
        lines.append(f"{rule}: {begin} ({value} | {_literal('?')})")
        open_values.append(f"{rule}{{0,{_VALUES}}}")
        if key == BASE:
            value = f"{value}_SURE"
            lines.append(
                _terminal(
                    value,
                    [*meant(key, spoken), *(n for n in names if _can_be("MODEL", n) and not _is_family(n))]
                    or ["default"],
                )
            )
        lines.append(f"{rule}_sure: {begin} {value}")
        sure_values.append(f"{rule}_sure")
    wanted = " | ".join(_literal(f"; {lead}{word}") for lead in ["", *(["also "] if follows else [])])
    return [
        *lines,
        f"{word}_wanted: {wanted}",
        f"{word}_values: {' '.join(open_values)}",
        f"{word}_turns: {' | '.join(_turns(f'{word}_wanted', sure_values))}",
        f"{word}_without: {_literal(f'; no {word}')} {word}_values",
        f"{word}_known: {word}_wanted | {_literal(f'; given {word}')}",
        f"{word}: ({word}_known {word}_values | {word}_turns)? {word}_without{{0,2}}",
    ]


def _turns(begin: str, values: list[str]) -> list[str]:
    """Two sections of a tool or more, with the same one to three parameters in each.

    Three only where the first of the tool's own is among them: what it reads.
    """
    first, *others = values
    together = [[first], *([first, one] for one in others), *(list(pair) for pair in itertools.combinations(others, 2))]
    together += [[first, *pair] for pair in itertools.combinations(others, 2)]
    return [f"({begin} {' '.join(one)}){{2,{_TURNS}}}" for one in together]


def _number_values(key: str, numbered: bool) -> list[str]:
    fixed = ["default", *(["none"] if _may_be_none(key) else [])]
    amount = "NUMBER" if float in field_types(key) else "COUNT"
    return [*map(_literal, fixed), *([amount] if numbered else [])]


def _relations(numbered: bool) -> str:
    by_factor = f"({_literal('times ')} | {_literal('divided ')}) FACTOR"
    return f"{by_factor} | ({_literal('more ')} | {_literal('less ')}) NUMBER" if numbered else by_factor


def _text_values(key: str, spoken: str) -> list[str]:
    # Target modules are a list by themselves, to which nothing is a default.
    fixed = [*meant(key, spoken), *(families() if key == BASE else ()), *(() if key == TARGETS else ("default",))]
    return [*map(_literal, dict.fromkeys(fixed)), *([] if bool in field_types(key) else [_kind(key)])]


def _is_family(name: str) -> bool:
    """Whether a name leaves several base models open."""
    if not any(family in name.casefold() for family in families()):
        return False
    tokens = tokenize(name.strip('"'))
    return len(tokens) == 1 and tokens[0].kind == "family"


@functools.cache
def _may_be_none(key: str) -> bool:
    """Whether a parameter takes 0."""
    tool, name = key.split(".")
    limits = TOOLS[tool].input.model_fields[name].metadata
    lowest = [getattr(rule, "ge", getattr(rule, "gt", None)) for rule in limits]
    return all(low is None or low <= 0 for low in lowest) and not any(hasattr(rule, "gt") for rule in limits)


def _texts(values: list[object]) -> list[str]:
    return [value for value in values if isinstance(value, str) and '"' not in value and "\n" not in value]


def _spelled(name: str) -> str:
    """A name or number as `frame_text.write` writes it."""
    return f'"{name}"' if re.search(r"[\s;]", name) or name in _RESERVED else name


def _terminal(name: str, words: list[str]) -> str:
    return f"{name}: {' | '.join(map(_literal, dict.fromkeys(words)))}"


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
