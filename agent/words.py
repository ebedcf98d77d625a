"""Read a sentence as tokens: names, numbers, models and file types found first, words afterwards.

Names (quoted text, addresses, paths, files, hub ids) are taken out before anything is read as a word, so that a
file called `train_5_epochs.csv` orders nothing.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from tunesmith.tools.catalogue import BASE_MODELS, QUANTIZATIONS, find_base_model
from tunesmith.tools.locations import local_path

__all__ = [
    "EXTENSIONS",
    "FAMILIES",
    "Token",
    "Vocabulary",
    "family_members",
    "quantizations_like",
    "tokenize",
    "word_set",
]


def word_set(text: str) -> frozenset[str]:
    """The words of a text, for tables of words."""
    return frozenset(text.split())


@dataclass
class Token:
    """One piece of a sentence.

    `kind` and what `value` then is:

    - `word`: lower-case text; `label`: parameter keys; `tool`: tool name; `choice`: (key, value); `set`: eval set
    - `name`: a path, address, hub id or quoted name, as written
    - `model`: a catalogue name; `family`: a family of them, such as `llama3.2`; `size`: `270m`
    - `number`: int or float, `unit` is `%`, `x`, `k`, `m` or empty; `quant`: a GGUF type as written; `bits`: 4, 8, ...
    - `punct`: a punctuation mark, `\\n` for a new line
    """

    kind: str
    text: str
    value: Any = None
    unit: str = ""
    used: bool = False
    spaced: bool = True  # white space stood before it


@dataclass(frozen=True)
class Vocabulary:
    """Words of requests: all of them, and those of them that order work."""

    words: frozenset[str] = frozenset()
    orders: frozenset[str] = frozenset()


EXTENSIONS = "jsonl|ndjson|json|csv|tsv|parquet|arrow|txt|gguf|safetensors|ya?ml|md|xlsx?|docx?|pdf|zip|gz|bin|pt|pth"
_W = r"\w\u0900-\u0963"  # Devanagari's vowel signs are no \w
_COPY = r"\(\d{1,3}\)"  # `rows(1).jsonl`, as browsers name a second download
FAMILIES = sorted({re.split(r"\d|-", name)[0] for name in BASE_MODELS})
_SIZES = {name.rsplit("-", 1)[1] for name in BASE_MODELS}
_UNITS = r"(?:epoch\w*|epcoh\w*|pass(?:es)?|steps?|rows?|bits?|times|x|%|percent|k|gguf)\b"
_MODEL = (
    rf"(?<![\w/.])(?P<family>{'|'.join(FAMILIES)})"
    rf"(?:[ :_-]{{0,2}}v?(?P<version>\d+(?:\.\d+)?)(?![\d.]*\d)(?! ?[bm]\b)(?! *-?{_UNITS}))?"
    r"(?:[ :_-]{0,2}\(?(?P<size>\d+(?:\.\d+)? ?[bm]\b|mini\b)(?: ?\))?)?"
    r"(?P<suffix>(?:-it\b|[ -]?(?:instruct|chat)\b)?(?:[ -]v0\.\d)?)"
    r"(?!\w|/|[.-]\w(?<!-b))"
)
_QUANT = (
    r"(?<![\w/.-])(?P<quant>i?q\d(?:[ _-]?k)(?:[ _-]?(?:xl|xs|[sml]))?(?!\w)|i?q\d\w*(?:-\d)?|"
    r"(?:bf|fp|f|float|int)(?:4|8|16|32)\b|mxfp4|[it]q\d\w*)"
)
_NUMBER = (
    r"(?<![\w.])(?P<number>[-+−–]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+,\d+(?![\d,]|\.\d)|\d+)?(?:(?<=\d)\.\d+|(?<!\d)\.\d+|(?<=\d)\.(?!\w))?"
    r"(?<=[\d.])(?:\s?(?:[x×*·])\s?10\s?\^\s?(?P<power>[-−]?\d+)|[eE][-+−]?\d+)?)"
    r"(?:\s?(?P<unit>%|percent\b|per\s?cent\b|[x×](?!\w)|k(?!\w)|m(?!\w)))?"
)
_PLAIN = r"[^\s\\`\"'“”<>,;]{0,255}"
_MASTER = re.compile(
    r"(?P<space>[ \t\r]+)|(?P<line>\n\s*(?:[-*•]\s+|\d+[.)]\s+)?)"
    rf"|(?P<escaped>{_PLAIN}(?:\\ {_PLAIN})+)"
    r"|`(?P<tick>[^`\n]+)`|\"(?P<double>[^\"\n]+)\"|“(?P<curly>[^”\n]+)”|(?<!\w)'(?P<single>[^'\n]+)'(?!\w)"
    r"|(?P<url>[a-z][a-z0-9+.-]*://[^\s`\"'<>,;]+)"
    r"|(?P<path>(?:[a-z]:\\[^\s,;]+(?: [^\s,;\\]+\\[^\s,;]+)*)|"
    rf"[~.]{{0,2}}[{_W}@+%~.-]{{0,255}}(?:/[{_W}@+%=~.*-]*)+(?:{_COPY}\.\w+)?)"
    rf"|(?P<file>[{_W}@+%~.-]{{0,255}}[{_W}](?:{_COPY})?\.(?:{EXTENSIONS})(?!\w))"
    rf"|(?P<model>{_MODEL})|(?P<size_only>(?<![\w.])\d+(?:\.\d+)?\s?[bm](?!\w))|{_QUANT}|{_NUMBER}"
    rf"|(?P<chunk>[^\W\d][{_W}]*(?:[-.'’][{_W}]+)*)"
    r"|(?P<digits>\d+\w*)|(?P<punct>[-=]>|.)",
    re.IGNORECASE | re.DOTALL,
)
_NO_PATHS = {"w/", "w/o", "and/or", "n/a", "i/o", "/", "//"}
_UP_TO_NINETEEN = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORD_NUMBERS = {word: number for number, word in enumerate(_UP_TO_NINETEEN.split())}
_WORD_NUMBERS |= {word: 10 * number for number, word in enumerate(_TENS.split(), 2)}
_WORD_NUMBERS |= {"single": 1, "couple": 2}
_TIMES = {"once": 1, "twice": 2, "thrice": 3}
_SCALES = {"dozen": 12, "hundred": 100, "thousand": 1000, "million": 1_000_000, "billion": 1_000_000_000}


def tokenize(text: str, known: Vocabulary = Vocabulary()) -> list[Token]:
    """Split a request into tokens; `known` are the words that `fine-tune` and `export/eval` may be split into.

    >>> [(t.kind, t.value) for t in tokenize("Llama 3.2 1B, 2e-4, 'my file.csv', Q4KM")][::2]
    [('model', 'llama3.2-1b'), ('number', 0.0002), ('name', 'my file.csv'), ('quant', 'Q4KM')]
    """
    text = text.strip()
    for opening, closing in ('""', "''", "“”"):
        if text.startswith(opening) and text.endswith(closing) and text.count(" ") > 3 and text.count(opening) <= 2:
            text = text[1:-1]
    tokens: list[Token] = []
    spaced, position = True, 0
    while position < len(text):
        match = _MASTER.match(text, position)
        if match is None:  # an empty number: cannot happen with `punct`, but never loop
            position += 1
            continue
        kind = match.lastgroup or ""
        end = match.end()
        found = _token(match, kind, known)
        if kind == "space" or end == position:
            position, spaced = max(end, position + 1), True
            continue
        if found and found[-1].kind == "name" and match.group("tick") is None and _unquoted(match):
            trimmed = found[-1].value.rstrip(".,:!?)")
            end -= len(found[-1].value) - len(trimmed)
            found[-1].value = found[-1].text = trimmed
        if found:
            found[0].spaced = spaced
        tokens += found
        position, spaced = end, kind == "line"
    return _word_numbers(_whole_paths(tokens))


def _whole_paths(tokens: list[Token]) -> list[Token]:
    """An absolute path with a space in its last part, `/home/me/my rows.jsonl`, as one name."""
    result: list[Token] = []
    for token in tokens:
        before = result[-1] if result else token
        if (
            before.kind == token.kind == "name"
            and before.unit == token.unit == ""
            and re.match(r"[/~]|[a-z]:\\", before.text, re.IGNORECASE)
            and re.fullmatch(r"[^/\\]+\.(?!gguf)\w+", token.text)
            and "." not in before.text.replace("\\", "/").rsplit("/", 1)[-1]
        ):
            before.text = before.value = f"{before.text} {token.text}"
        else:
            result.append(token)
    return result


def _unquoted(match: re.Match[str]) -> bool:
    return bool(match.group("url") or match.group("path"))


def _token(match: re.Match[str], kind: str, known: Vocabulary) -> list[Token]:
    text = match.group()
    quoted = match.group("tick") or match.group("double") or match.group("curly") or match.group("single")
    if quoted:
        return _quoted(quoted.strip(), known)
    if match.group("escaped"):  # `my\\ rows.jsonl`, as a shell writes it
        return _quoted(text.replace("\\ ", " ").rstrip(" .,:!?)"), known)
    if kind == "line":
        return [Token("punct", "\n")]
    if match.group("path"):
        return _path(text, known)
    if match.group("url") or match.group("file"):
        return [Token("name", text, text)]
    if match.group("model"):
        return [_model(match)]
    if match.group("size_only"):
        size = re.sub(r"\s", "", text.lower())
        if size in _SIZES or size.endswith("b"):
            return [Token("size", text, size)]
        return [Token("number", text, _plain(float(size[:-1]) * 1e6))]
    if match.group("quant"):
        return [Token("quant", text, text)]
    if match.group("number"):
        return [_number(match)]
    if match.group("chunk"):
        return _words(text, known)
    if match.group("digits"):
        return [Token("word", text.lower())]
    return [Token("punct", "→" if text in ("->", "=>") else text)] if text.strip() else []


def _quoted(inner: str, known: Vocabulary) -> list[Token]:
    """Quoted text is one name, unless it is a model, a GGUF type, a number or a word that we know anyway."""
    if not inner:
        return []
    match = _MASTER.fullmatch(inner)
    if match and (match.group("model") or match.group("quant") or match.group("number")):
        return _token(match, match.lastgroup or "", known)
    if inner.lower() in known.words:
        return [Token("word", inner.lower())]
    return [Token("name", inner, inner, unit="quoted")]


def _path(text: str, known: Vocabulary) -> list[Token]:
    """A word with slashes: a path or hub id, or two words of ours such as `export/eval`."""
    bare = text.rstrip(".,:!?)").lower()
    if bare in _NO_PATHS or not bare:
        return [Token("word", {"w/": "with", "w/o": "without"}.get(bare, bare))]
    if re.fullmatch(r"1/[1-9]\d*", bare):  # a fraction: `lr 1/1000`
        return [Token("number", bare, 1 / int(bare[2:]))]
    parts = bare.split("/")
    ours = all(part in known.orders or re.fullmatch(r"\d+|q\d\w*|b?f\d+", part) for part in parts)
    if ours and local_path(bare) is None:
        tokens: list[Token] = []
        for part in parts:
            tokens += [Token("punct", "/")] if tokens else []
            tokens += tokenize(part, known)
        return tokens
    return [Token("name", text, text)]


def family_members(family: str, size: str = "") -> list[str]:
    """Catalogue names that begin as `family` says (`llama`, `llama3`, `llama3.2`), of that size where one is given.

    >>> family_members("llama"), family_members("llama", "8b"), family_members("gemma2")
    (['llama3.2-1b', 'llama3.2-3b', 'llama3.1-8b'], ['llama3.1-8b'], [])
    """
    split = re.fullmatch(r"([a-z]+)([\d.]*)", family)
    if split is None:
        return []
    letters, version = split.groups()
    members = []
    for name in BASE_MODELS:
        head, _, own_size = name.rpartition("-")
        own = re.fullmatch(r"([a-z]+)([\d.]*)", head)
        if own is None or own.group(1) != letters or (size and own_size != size):
            continue
        if not version or own.group(2) == version or own.group(2).startswith(version + "."):
            members.append(name)
    return members


def _model(match: re.Match[str]) -> Token:
    family = match.group("family").lower() + (match.group("version") or "").rstrip(".")
    size = re.sub(r"\s", "", (match.group("size") or "").lower())
    text = match.group()
    known = find_base_model(text)
    members = [known.name] if known else family_members(family, size)
    if len(members) == 1:
        return Token("model", text, members[0])
    return Token("family", text, f"{family}-{size}" if size else family)


def quantizations_like(text: str) -> list[str]:
    """GGUF types that a user's spelling can mean: one, several (`q4`), or none (`q9_z`).

    >>> quantizations_like("Q4 K M"), quantizations_like("q4"), quantizations_like("fp16"), quantizations_like("q9_z")
    (['q4_k_m'], ['q4_k_m', 'q4_k_s', 'q4_0'], ['f16'], [])
    """
    key = re.sub(r"[\s_.-]", "", text.lower())
    key = {"fp16": "f16", "fp32": "f32", "float16": "f16", "float32": "f32", "int8": "q80", "int4": "q4km"}.get(
        key, key
    )
    exact = [name for name in QUANTIZATIONS if name.replace("_", "") == key]
    if exact:
        return exact
    if re.fullmatch(r"q\dk", key):  # llama.cpp's own short form of the medium mixture
        return [name for name in QUANTIZATIONS if name.replace("_", "") == key + "m"]
    return [name for name in QUANTIZATIONS if re.fullmatch(r"q\d", key) and name.startswith(key)]


def _plain(value: float) -> int | float:
    return int(value) if abs(value) < 1e15 and value == int(value) else value


def _number(match: re.Match[str]) -> Token:
    text = re.sub(r"[−–]", "-", match.group("number"))
    power = match.group("power")
    if power is not None:
        text = re.split(r"\s?[x×*·]", text)[0] + "e" + power.replace("−", "-")
    if not re.match(r"[-+]?0,", text):
        text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    text = text.replace(",", ".").rstrip(".")  # `1,5` as one and a half
    unit = (match.group("unit") or "").lower().replace("×", "x")
    value = float(text)
    written_whole = re.fullmatch(r"[-+]?\d+\.?", text) is not None
    return Token(
        "number",
        match.group().strip(),
        _plain(value) if written_whole or abs(value) >= 1 else value,
        "%" if unit.startswith("p") else unit,
    )


def _words(text: str, known: Vocabulary) -> list[Token]:
    if text in "½¼¾⅓⅔⅛":
        return [Token("number", text, unicodedata.numeric(text))]
    word = text.lower().replace("’", "'")
    if word.endswith("n't"):
        return [Token("word", "not")]
    word = re.sub(r"'(s|d|ve|re|ll|m)$", "", word).replace("'", "")
    parts = re.split(r"[-.]", word)
    if (
        len(parts) > 1
        and word not in known.words
        and all(part in known.words or part in _WORD_NUMBERS or part.isdigit() for part in parts)
    ):
        tokens = [Token("number", p, int(p)) if p.isdigit() else Token("word", p) for p in parts]
        for token in tokens[1:]:
            token.spaced = False
        return tokens
    return [Token("word", word, text)]


def _is_hundreds(before: list[Token]) -> bool:
    return bool(before) and before[0].kind == "number" and before[0].text.endswith(("hundred", "thousand"))


def _word_numbers(tokens: list[Token]) -> list[Token]:
    """`two thousand`, `a dozen`, `half a dozen`, `twenty-five`, `minus two`, `270 million parameters` in numbers."""
    result: list[Token] = []
    for i, token in enumerate(tokens):
        word = token.text if token.kind == "word" else ""
        before = result[-1] if result else Token("punct", "")
        if word in _TIMES and i + 1 < len(tokens) and tokens[i + 1].text in ("through", "over"):
            result += [Token("number", word, _TIMES[word]), Token("word", "times")]  # `twice through the data`
            continue
        if word in _SCALES and before.kind == "number" and before.unit in ("", "tens"):
            before.value, before.text, before.unit = _plain(before.value * _SCALES[word]), f"{before.text} {word}", ""
        elif word in _SCALES and [t.text for t in result[-2:]] == ["half", "a"]:
            result[-2:] = [Token("number", f"half a {word}", _SCALES[word] // 2)]
        elif 0 < _WORD_NUMBERS.get(word, 0) < 100 and before.text == "and" and _is_hundreds(result[-2:-1]):
            result.pop()  # `a hundred and fifty`
            result[-1].value, result[-1].text = result[-1].value + _WORD_NUMBERS[word], f"{result[-1].text} {word}"
            result[-1].unit = "tens" if _WORD_NUMBERS[word] in range(20, 100, 10) else ""
        elif word == "percent" and before.kind == "number" and before.unit in ("", "tens"):
            before.unit = "%"
        elif before.unit == "tens" and 0 < _WORD_NUMBERS.get(word, 0) < 10:
            before.value, before.text, before.unit = before.value + _WORD_NUMBERS[word], f"{before.text} {word}", ""
        elif token.kind == "number" and before.text == "(" and [t.value for t in result[-2:-1]] == [token.value]:
            result.pop()  # `two (2) epochs`
        elif token.kind == "punct" and token.text == "-" and not token.spaced:
            continue  # `2-epoch`, `twenty-five`
        elif word in ("parameters", "parameter", "params", "param") and before.kind == "number" and before.value > 1e6:
            value = before.value
            result[-1] = Token("size", before.text, f"{value / 1e9:g}b" if value >= 1e9 else f"{value / 1e6:g}m")
        else:
            if word in _SCALES or word in _WORD_NUMBERS:
                value = _WORD_NUMBERS.get(word, _SCALES.get(word, 0))
                tens = "tens" if value in range(20, 100, 10) else ""
                token = Token("number", word, value, tens, spaced=token.spaced)
            if token.kind == "number" and before.text in ("minus", "negative"):
                token = Token("number", f"{before.text} {token.text}", -token.value, token.unit)
                result.pop()
            result.append(token)
    for token in result:
        token.unit = "" if token.unit == "tens" else token.unit
    return result
