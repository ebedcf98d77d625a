"""A frame as a short line of text: what a language model writes, and what is made of it.

    new; prepare data data/x.jsonl; train base gemma3-270m epochs five; export type q4_k_m
    change; train epochs times 2; no export
    answer; prepare data c.jsonl
    refuse shell

Grammar, words parted by one space each (`; ` parts the sections):

    frame    = "undo" | "cancel" | "repeat" {" " TOOL} | "ask " ASK | "refuse " REFUSAL | "chat " CHAT [" " KEY]
             | HEAD [" all"] {"; " section}
    HEAD     = "new" | "change" | "answer"
    section  = ["also " | "given "] TOOL {" " KEY " " value} | "no " TOOL {" " KEY " " value}
    value    = "default" | "?" | CHOICE | name | number | RELATION " " number
    RELATION = "times" | "divided" | "more" | "less"
    name     = word | '"' words '"'
    number   = "none" | number of the request | '"' number of the request '"'

- TOOL: the values of `TOOLS_AS`; KEY: `keys(tool)`; CHOICE: `choices(key)`; ASK, REFUSAL and CHAT: the keys of ASKS,
  REFUSALS and CHATS (`chat about TOOL KEY` explains a parameter, `chat about TOOL` names a tool's parameters).
- A tool that has a section is wanted; after `given` only its values are known; after `no` it is not wanted, or, with
  values, those of the last plan go. `also` makes further steps beside the last plan's. `all` means every file of it.
- A key that stands twice in its section has two values. Two sections of one tool pair their values by turn.
- A name is a run of words of the prompt as it stands there, in quotes where it holds white space, `;`, or is a word
  of the grammar. A number is copied as it stands in the prompt (`2e-4`, `0.0002`, `five`) and read here: a
  value that nobody gave has no way in. `none` is 0, `default` takes a value back, `?` stands for one that is unclear.
- RELATION and `none` need a numeric key. `more 20%` and `less 20%` change by a share.

`answer` completes the open question; it stands nowhere else.
"""

import re
from typing import Any

from tunesmith.tools.catalogue import find_base_model
from tunesmith.tools.registry import TOOLS

from .frame import Frame, Intent
from .frame_words import LAYERS, TOOLS_AS, choices, key_of, keys
from .keys import BASE, CHECKPOINT, EVAL_SET, GGUF_FILE, QUANTIZATION, TARGETS
from .lexicon import NUMERIC, field_types
from .number_words import read_number
from .pipeline import ORDER
from .replies import ASKS, CHATS, REFUSALS, about_parameter, about_tool, unclear_value
from .words import quantizations_like, tokenize

__all__ = ["read", "value_text", "write"]

_TOOL_OF = {word: tool for tool, word in TOOLS_AS.items()}
_STEP_EACH = (QUANTIZATION, EVAL_SET, GGUF_FILE, CHECKPOINT)
_RELATIONS = ("times", "divided", "more", "less")
_RESERVED = {"default", "?", "none"}
_WORDS = re.compile(r'"[^"\n]*"|[^\s;"]+|;')


def write(frame: Frame) -> str:
    """The text of a frame. A number may stand in it as a string, the way a user wrote it.

    Remarks are left out.

    Raises:
        ValueError: the frame says something that no text says: a number without a parameter, a reply in words of its
            own, a name with a quotation mark or a line break.

    >>> write(Frame(want=("run_eval",), values={"run_eval.eval_set": ["mmlu"], "run_eval.limit": ["fifty"]}))
    'new; eval on mmlu limit fifty'
    """
    if frame.loose:
        raise ValueError(f"the number {frame.loose[0]} belongs to no parameter")
    if frame.intent in ("chat", "refuse", "cancel", "undo", "repeat"):
        return _short_text(frame)
    values = dict(frame.values)
    if frame.reply is not None:
        if frame.about is None:
            return f"ask {_named(ASKS, frame.reply)}"
        values[frame.about] = ["?"]
    if frame.family is not None:
        values[BASE] = [frame.family]
    head = f"{frame.intent} all" if frame.every else frame.intent
    sections: list[str] = []
    for tool in ORDER:
        own = {key: found for key, found in values.items() if key.startswith(f"{tool}.")}
        lead = "given " if tool not in frame.want else "also " if any(key in own for key in frame.more) else ""
        if tool in frame.want or own:
            turns = max((len(own[key]) for key in frame.paired if key in own), default=1)
            for turn in range(turns):
                mine = {key: found[turn : turn + 1] if key in frame.paired else found for key, found in own.items()}
                sections.append(lead + _section(tool, mine, unclear=frame.about))
        if tool in frame.drop:
            sections.append(f"no {TOOLS_AS[tool]}")
        gone = {key: found for key, found in frame.without.items() if key.startswith(f"{tool}.")}
        if gone:
            sections.append("no " + _section(tool, gone))
    return "; ".join([head, *sections])


def _short_text(frame: Frame) -> str:
    if frame.intent == "repeat":
        return " ".join(["repeat", *(TOOLS_AS[tool] for tool in ORDER if tool in frame.want)])
    if frame.intent in ("undo", "cancel"):
        return frame.intent
    if frame.intent == "refuse":
        return f"refuse {_named(REFUSALS, frame.reply)}"
    for tool in TOOLS:
        if frame.reply == about_tool(tool):
            return f"chat about {TOOLS_AS[tool]}"
        for word, key in keys(tool).items():
            if frame.reply == about_parameter(key):
                return f"chat about {TOOLS_AS[tool]} {word}"
    return f"chat {_named(CHATS, frame.reply)}"


def _named(replies: dict[str, str], reply: str | None) -> str:
    for name, text in replies.items():
        if text == reply:
            return name
    raise ValueError(f"no word stands for the reply {reply!r}")


def _section(tool: str, values: dict[str, list[Any]], unclear: str | None = None) -> str:
    words = [TOOLS_AS[tool]]
    for key in keys(tool).values():
        for value in values.get(key, []):
            words += [key_of(key), "?" if key == unclear and value == "?" else value_text(key, value)]
    return " ".join(words)


def value_text(key: str, value: Any) -> str:
    """One value as a section has it. Raises ValueError for a name that no line can hold."""
    if isinstance(value, dict):
        if value.get("default"):
            return "default"
        name, amount = next(iter(value.items()))
        if name == "plus" and isinstance(amount, int | float) and amount < 0:
            return f"less {-amount!r}"
        return f"{'more' if name == 'plus' else name} {_quoted(str(amount))}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return f" {key_of(key)} ".join(_layers(list(value)))
    if isinstance(value, int | float):
        return repr(value)
    return _quoted(str(value)) if str(value) not in _RESERVED or key in NUMERIC else f'"{value}"'


def _layers(value: list[str]) -> list[str]:
    return next(([word] for word, layers in LAYERS.items() if layers == value), [_quoted(name) for name in value])


def _quoted(text: str) -> str:
    if '"' in text or "\n" in text or not text.strip():
        raise ValueError(f"no line can hold the name {text!r}")
    return f'"{text}"' if re.search(r"[\s;]", text) else text


def read(text: str) -> Frame:
    """The frame that a text stands for: the inverse of `write`, with numbers as numbers.

    Raises:
        ValueError: the text breaks the grammar, names what is unknown, or has no number where one belongs.

    >>> read("change; train epochs times 2; no export").values
    {'finetune_unsloth.epochs': [{'times': 2}]}
    """
    words = _WORDS.findall(text)
    if not words or re.sub(r"\s", "", text) != re.sub(r"\s", "", "".join(words)):
        raise ValueError(f"{text!r} is no frame")
    head, *rest = _split(words)
    if head[0] in ("undo", "cancel", "repeat", "ask", "refuse", "chat"):
        if rest:
            raise ValueError(f"`{head[0]}` has no sections")
        return _read_short(head)
    if head[0] not in ("new", "change", "answer") or head[1:] not in ([], ["all"]):
        raise ValueError(f"{' '.join(head)!r} begins no frame")
    return _read_sections(head, rest)


def _split(words: list[str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for word in words:
        if word == ";":
            parts.append([])
        else:
            parts[-1].append(word)
    if not all(parts):
        raise ValueError("a section is empty")
    return parts


def _tool(word: str) -> str:
    if word not in _TOOL_OF:
        raise ValueError(f"{word!r} is no tool; tools are {', '.join(_TOOL_OF)}")
    return _TOOL_OF[word]


def _read_short(words: list[str]) -> Frame:
    kind, *names = words
    if kind == "repeat":
        return Frame("repeat", want=tuple(tool for tool in ORDER if tool in {_tool(word) for word in names}))
    if kind in ("undo", "cancel"):
        if names:
            raise ValueError(f"`{kind}` stands alone")
        return Frame("undo") if kind == "undo" else Frame("cancel", reply="Forgotten. Tell me what to do instead")
    if kind == "chat" and names[:1] == ["about"] and len(names) in (2, 3):
        tool = _tool(names[1])
        if len(names) == 2:
            return Frame("chat", reply=about_tool(tool))
        return Frame("chat", reply=about_parameter(_key(tool, names[2])))
    replies = {"ask": ASKS, "refuse": REFUSALS, "chat": CHATS}[kind]
    if len(names) != 1 or names[0] not in replies:
        raise ValueError(f"`{kind}` is followed by one of {', '.join(replies)}")
    if kind == "ask":
        return Frame("new", reply=replies[names[0]])
    return Frame("refuse" if kind == "refuse" else "chat", reply=replies[names[0]])


def _key(tool: str, word: str) -> str:
    if word not in keys(tool):
        raise ValueError(f"`{TOOLS_AS[tool]}` has no parameter {word!r}; it has {', '.join(keys(tool))}")
    return keys(tool)[word]


class _Sections:
    """What the sections of one text add up to."""

    def __init__(self) -> None:
        self.want: dict[str, list[dict[str, list[Any]]]] = {}  # tool -> values of each of its sections
        self.given: dict[str, list[Any]] = {}
        self.without: dict[str, list[Any]] = {}
        self.drop: list[str] = []
        self.more: list[str] = []
        self.about: str | None = None
        self.family: str | None = None

    def take(self, words: list[str]) -> None:
        lead = words[0] if words[0] in ("also", "given", "no") else ""
        words = words[1:] if lead else words
        if not words:
            raise ValueError(f"`{lead}` is followed by a tool")
        tool = _tool(words[0])
        values = self._values(tool, words[1:])
        if lead == "no":
            if values:
                self.without |= values
            else:
                self.drop.append(tool)
            return
        if lead == "given":
            self.given |= values
            return
        self.want.setdefault(tool, []).append(values)
        if lead == "also":
            self.more += [key for key in _STEP_EACH if key in values]

    def _values(self, tool: str, words: list[str]) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        position = 0
        while position < len(words):
            key = _key(tool, words[position])
            related = key in NUMERIC and words[position + 1 : position + 2] in [[word] for word in _RELATIONS]
            amount = words[position + 1 : position + 2 + related]
            if len(amount) != 1 + related:
                raise ValueError(f"`{words[position]}` has no value")
            position += 2 + related
            if amount == ["?"]:
                self.about = key
                continue
            value = _relation(amount, key) if related else _value(amount[0], key)
            if key == BASE and isinstance(value, _Family):
                self.family = str(value)
            elif key == TARGETS and isinstance(value, list):
                found.setdefault(key, [[]])[0] += value
            else:
                found.setdefault(key, []).append(str(value) if isinstance(value, _Family) else value)
        return found


def _read_sections(head: list[str], rest: list[list[str]]) -> Frame:
    sections = _Sections()
    for words in rest:
        sections.take(words)
    values: dict[str, list[Any]] = {}
    paired: list[str] = []
    for tool in ORDER:
        turns = sections.want.get(tool, [])
        if len(turns) > 1 and len({tuple(turn) for turn in turns}) > 1:
            raise ValueError(f"sections of `{TOOLS_AS[tool]}` that name different parameters have no turns")
        for key in turns[0] if turns else ():
            differ = any(turn[key] != turns[0][key] for turn in turns)
            values[key] = [value for turn in turns for value in turn[key]] if differ else turns[0][key]
            paired += [key] if differ else []
        for key, found in sections.given.items():
            if key.startswith(f"{tool}."):
                values[key] = [*values.get(key, []), *found]
    return Frame(
        intent=_intent(head[0]),
        want=tuple(tool for tool in ORDER if tool in sections.want),
        drop=tuple(sorted(sections.drop)),
        values=values,
        more=tuple(dict.fromkeys(key for key in _STEP_EACH if key in sections.more)),
        paired=tuple(paired),
        every=head[1:] == ["all"],
        without=sections.without,
        family=sections.family,
        about=sections.about,
        reply=unclear_value(sections.about) if sections.about else None,
    )


def _intent(word: str) -> Intent:
    return "answer" if word == "answer" else "change" if word == "change" else "new"


class _Family(str):
    """A base model's family: `llama3.2`."""

    __slots__ = ()


def _relation(words: list[str], key: str) -> dict[str, Any]:
    word, amount = words[0], _bare(words[1])
    share = amount.rstrip().endswith("%")
    number = read_number(amount, key, relative=True)
    if word in ("times", "divided"):
        if word == "divided" and not number:
            raise ValueError("nothing is divided by 0")
        return {"times": 1 / number if word == "divided" else number}
    signed = number if word == "more" else -number
    return {"times": 1 + signed} if share else {"plus": signed}


def _bare(word: str) -> str:
    return word[1:-1] if word.startswith('"') else word


def _value(word: str, key: str) -> Any:
    if word == "default":
        return {"default": True}
    if key in NUMERIC:
        return 0 if word == "none" else read_number(_bare(word), key)
    bare = _bare(word)
    if not bare.strip():
        raise ValueError(f"`{key_of(key)}` has an empty value")
    if word in choices(key) and bool in field_types(key):
        return word == "yes"
    if key == TARGETS:
        return list(LAYERS.get(word, [bare]))
    if key == QUANTIZATION and len(names := quantizations_like(bare)) == 1:
        return names[0]
    return _model(bare) if key == BASE else bare


def _model(name: str) -> str:
    """A catalogue model or family by any of its spellings; everything else as it is."""
    if (entry := find_base_model(name)) is not None:
        return entry.name
    tokens = tokenize(name)
    if len(tokens) == 1 and tokens[0].kind == "family":
        return _Family(tokens[0].value)
    return str(tokens[0].value) if len(tokens) == 1 and tokens[0].kind == "model" else name
