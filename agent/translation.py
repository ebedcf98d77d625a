"""Requests in other languages, word by word in the English that the rules read.

This is no translation that anyone would want to read: a glossary for each of six languages turns the words that order
work, name parameters and join them into English ones, keeps names, models and types as they stand, and leaves what it
does not know. The rules need little more, since most of what they read is a word beside its value.

A glossary (`glossaries/*.toml`) has two tables. `words` gives for an English phrase the foreign ones that mean it, parted
by commas; those under `""` mean nothing here. `patterns` are pairs of a regular expression and its replacement, tried in
order before the words; in them `N` stands for a name (a path, a model, a type), `D` for a number in digits or words.
"""

import functools
import re
import tomllib
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from .number_words import number_spans, read_number, small_numbers
from .words import word_set

__all__ = ["LANGUAGES", "in_english", "language_of"]

LANGUAGES = tuple(l for l in ("de", "es", "fr", "pt", "zh", "hi") if (Path(__file__).parent / "glossaries" / f"{l}.toml").exists())

_FIRST = 0xE000  # names are single characters of Unicode's private area while the words between them are read
_NAMES = "\ue000-\uefff"
_LETTER = r"\w\u0900-\u0963\u0966-\u097f"  # Devanagari's vowel signs are no \w
_EXTENSIONS = "jsonl|ndjson|json|csv|tsv|parquet|arrow|txt|gguf|safetensors|ya?ml|md|xlsx?|docx?|pdf|zip|gz|bin"
_NAME = re.compile(
    r"`[^`\n]+`|\"[^\"\n]+\"|“[^”\n]+”|«[^»\n]+»|「[^」\n]+」|『[^』\n]+』|《[^》\n]+》|(?<!\w)'[^'\n]+'(?!\w)"
    r"|[a-z][a-z0-9+.-]*://[^\s`\"'<>,;，。；、]+"
    rf"|(?:[a-z]:\\|[~.]{{0,2}}/|[a-z0-9_.~-])[\w@+%~./\\:=-]*\.(?:{_EXTENSIONS})(?![a-z0-9_])"
    r"|(?:[~.]{0,2}/|[a-z0-9_.~-][\w@+%~.-]*/)[a-z0-9_@+%~./=-]*"
    rf"|[\w@+%~.-]+\.(?:{_EXTENSIONS})(?![a-z0-9_])"
    r"|(?<![a-z0-9])(?:i?q\d\w*|b?f(?:p)?(?:16|32))(?![a-z0-9])|[a-z]*[a-z][a-z0-9.-]*_[a-z0-9_.-]*[a-z0-9]"
    r"|(?<![a-z0-9])(?:gemma|llama|qwen|mistral|phi|smollm)(?:[ :-]?\d+(?:\.\d+)?(?! ?[bm](?![a-z0-9])))?(?:[ :-]*\(?\d+(?:\.\d+)? ?[bm](?![a-z0-9])\)?)?"
    r"(?:-[a-z][a-z0-9.-]*)?",
    re.IGNORECASE,
)
_HAN = re.compile(r"[\u3400-\u9fff]")
_DEVANAGARI = re.compile(r"[\u0900-\u097f]")
_NUMBER = r"\d+(?:[.,]\d+)*(?:e[-+]?\d+)?"
_GROUPED = re.compile(r"(?<![\w.,])[1-9]\d{0,2}(?:[. \u00a0\u202f]\d{3})+(?![\d.,]*\d)")
_DECIMAL = re.compile(r"(?<![\w.,])(?:0,\d+|\d+,\d{1,2})(?!\d|,\d)")
# Words of numbers that stand for an article, a sign or something else as often.
_NO_NUMBERS = word_set(
    "a an single ein eine einen einem einer un une una uma no none kein keine keinen keinerlei ningún ninguna aucun "
    "aucune nenhum nenhuma ohne sin sans sem without both beide ambos ambas seul seule só vez once unique único única "
    "einzige einzigen einzelne par paar half halb halbe medio moitié demi metade meio twice thrice couple"
)
# Words that only English uses: who writes several of them writes English.
_ENGLISH = word_set(
    "the and with for of to is are it its my our this that then use using please make want train on from into as by "
    "export give me i would like you can not but at rank epochs epoch rate learning run evaluate what how"
)


@dataclass(frozen=True)
class _Glossary:
    telling: frozenset[str]
    """Words that occur in this language and not in English."""
    patterns: tuple[tuple[re.Pattern[str], str], ...]
    words: re.Pattern[str]
    meaning: dict[str, str]


@functools.cache
def _glossary(language: str) -> _Glossary:
    from .lexicon import vocabulary

    file = Path(__file__).resolve().parent / "glossaries" / f"{language}.toml"
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    meaning = {
        _folded(phrase): english
        for english, phrases in tables["words"].items()
        for phrase in phrases.split(", ")
        if phrase
    }
    spaced = language != "zh"
    edge = (rf"(?<![{_LETTER}])", rf"(?![{_LETTER}])") if spaced else ("", "")
    longest = sorted(meaning, key=len, reverse=True)
    words = re.compile("|".join(_bounded(phrase, edge) for phrase in longest), re.IGNORECASE)
    patterns = tuple((_pattern(found, language), english) for found, english in tables["patterns"])
    single = {word for phrase in meaning for word in re.split(r"[\s'-]+", phrase)}
    telling = frozenset(word for word in single if word not in vocabulary() and len(word) > 1)
    return _Glossary(telling, patterns, words, meaning)


def _bounded(phrase: str, edge: tuple[str, str]) -> str:
    text = re.escape(phrase).replace(r"\ ", r"\s+")
    ascii_ends = phrase[:1].isascii(), phrase[-1:].isascii()  # `epoch` in a Chinese text has edges all the same
    latin = (r"(?<![a-z])", r"(?![a-z])")
    first, last = (edge[n] or (latin[n] if ascii_ends[n] else "") for n in (0, 1))
    return f"{first}{text}{last if not phrase.endswith(chr(39)) else ''}"


def _pattern(text: str, language: str) -> re.Pattern[str]:
    """With `N` for a name and `D` for a number, and edges of words where the language has them."""
    words = "|".join(sorted(small_numbers(language), key=len, reverse=True))
    number = f"(?:{_NUMBER}|[一二两三四五六七八九十百千万]+)" if language == "zh" else f"(?:{_NUMBER}|{words})"
    text = re.sub(r"(?<![A-Za-z\\])[ND](?![A-Za-z])", lambda sign: f"[{_NAMES}]" if sign[0] == "N" else number, text)
    edges = ("", "") if language == "zh" else (rf"(?<![{_LETTER}])", rf"(?![{_LETTER}])")
    return re.compile(f"{edges[0]}(?:{text}){edges[1]}", re.IGNORECASE)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).lower()


def _masked(text: str) -> tuple[str, list[str]]:
    """The text with a single character for each of its names, and the names."""
    names: list[str] = []

    def taken(match: re.Match[str]) -> str:
        name = match[0]
        stop = re.search(r"[.,:!?)]+$", name)
        rest = stop[0] if stop and not re.search(r"[\"`'”»」』》]", name) else ""
        names.append(name[: len(name) - len(rest)])
        return f" {chr(_FIRST + len(names) - 1)} {rest}" if len(names) < 0xFFF else name

    return _NAME.sub(taken, text), names


def language_of(text: str) -> str | None:
    """The language of a request, of those that have a glossary; None for English, and for any other.

    >>> language_of("Trainiere smollm2-135m auf a.jsonl, zwei Epochen"), language_of("train it for two epochs")
    ('de', None)
    """
    masked = _masked(_plain(text))[0]
    if _HAN.search(masked):
        return "zh"
    if _DEVANAGARI.search(masked):
        return "hi"
    from .lexicon import vocabulary

    words = re.findall(rf"[^\W\d_{_NAMES}][{_LETTER}]*", _folded(masked))
    strange = [word for word in words if word not in vocabulary()]
    if not strange:
        return None
    english = len([word for word in words if word in _ENGLISH])
    hits = {language: len([word for word in strange if word in _glossary(language).telling]) for language in LANGUAGES}
    best = max(LANGUAGES, key=lambda language: hits[language])
    return best if hits[best] > english / 2 else None


def _plain(text: str) -> str:
    """One form of what has several: composed letters, digits and marks of half width, plain apostrophes."""
    text = unicodedata.normalize("NFC", text).replace("’", "'")
    plain = "".join(
        unicodedata.normalize("NFKC", char)
        if "\uff01" <= char <= "\uff5e" or (char.isdigit() and not char.isascii() and char.isdecimal())
        else char
        for char in text
    )
    plain = re.sub(r"[\u0966-\u096f]", lambda match: str(unicodedata.digit(match[0])), plain)
    return plain.translate(str.maketrans("。、।；：（）", ".,.;:()"))


def in_english(text: str) -> str:
    """The request with the words that its language's glossary knows in English; English texts as they are.

    >>> in_english("Trainiere smollm2-135m mit a.jsonl, zwei Epochen, Lernrate 0,0002")
    'train smollm2-135m on a.jsonl , 2 epochs, learning rate 0.0002'
    """
    language = language_of(text)
    return text if language is None else _translated(text, language)


@functools.lru_cache(maxsize=64)
def _translated(text: str, language: str) -> str:
    glossary = _glossary(language)
    masked, names = _masked(_plain(text))
    if language != "zh":
        masked = _GROUPED.sub(lambda match: re.sub(r"\D", "", match[0]), masked)
        masked = _DECIMAL.sub(lambda match: match[0].replace(",", "."), masked)
    for found, english in glossary.patterns:
        masked = found.sub(_spaced(english), masked)
    pieces: list[str] = []
    position = 0
    for match in glossary.words.finditer(masked):
        pieces += [_numbers(masked[position : match.start()]), f" {glossary.meaning[_key(match[0])]} "]
        position = match.end()
    masked = "".join([*pieces, _numbers(masked[position:])])
    masked = re.sub(r"(?<=\d) +%", "%", masked)
    text = re.sub(rf"[{_NAMES}]", lambda match: _said(names[ord(match[0]) - _FIRST]), masked)
    return re.sub(r"[^\S\n]+", " ", text).strip()


def _key(found: str) -> str:
    return re.sub(r"\s+", " ", _folded(found))


def _spaced(english: str) -> str:
    return f" {english} "


def _said(name: str) -> str:
    """A name with the quotation marks of English."""
    return f'"{name[1:-1]}"' if name[:1] in "«「『《" else name


def _numbers(text: str) -> str:
    """Numbers in words as digits."""
    spans = [span for span in number_spans(text) if not re.search(r"\d", span) and _folded(span) not in _NO_NUMBERS]
    for span in sorted(spans, key=len, reverse=True):
        edged = span if _HAN.search(span) else rf"(?<![{_LETTER}-]){re.escape(span)}(?![{_LETTER}-])"
        text = re.sub(edged, f" {read_number(span):g} ", text)
    return text
