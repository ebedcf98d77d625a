"""Requests in other languages, word by word in the English that the rules read.

This is no translation that anyone would want to read: a glossary for each of six languages turns the words that order
work, name parameters and join them into English ones, keeps names, models and types as they stand, and leaves what it
does not know. The rules need little more, since most of what they read is a word beside its value.

A glossary (`glossaries/*.toml`) has two tables. `words` gives for an English phrase the foreign ones that mean it,
parted by commas; those under `""` mean nothing here. The longest phrase that stands at a place counts. `patterns` are
pairs of a regular expression and its replacement, tried in order before the words; in them `N` stands for a name (a
path, a model, a type), `D` for a number in digits or words.
"""

import functools
import re
import tomllib
import unicodedata
from pathlib import Path
from typing import Any

from .lexicon import vocabulary
from .number_words import number_spans, read_number, small_numbers
from .words import EXTENSIONS, FAMILIES, tokenize, word_set

__all__ = ["LANGUAGES", "in_english", "language_of"]

LANGUAGES = ("de", "es", "fr", "pt", "zh", "hi")

_LATIN = ("de", "es", "fr", "pt", "hi")  # Hindi is typed in Latin letters as well
_FIRST = 0xE000  # names are single characters of Unicode's private area while the words between them are read
_MOST_NAMES = 0xF00
_NAMES = "\ue000-\uefff"
_FIRST_NUMBER = 0xF000  # and so are numbers in words while patterns are tried, which `D` would make long otherwise
_WORDED = "\uf000-\uf7ff"
_LETTER = r"\w\u0900-\u0963\u0966-\u097f"  # Devanagari's vowel signs are no \w
_QUOTED = re.compile(
    r"`[^`\n]+`|\"[^\"\n]+\"|“[^”\n]+”|«[^»\n]+»|「[^」\n]+」|『[^』\n]+』|《[^》\n]+》|(?<!\w)'[^'\n]+'(?!\w)"
)
# Types, names with underscores and models: what `tokenize` takes for no file, and is none of a language's words.
_NAME = re.compile(
    r"(?<![a-z0-9])(?:i?q\d\w{0,6}|b?f(?:p)?(?:16|32))(?![a-z0-9])"
    r"|(?<![a-z0-9_.-])[a-z][a-z0-9.-]{0,60}_[a-z0-9_.-]{0,100}[a-z0-9]"
    rf"|(?<![a-z0-9])(?:{'|'.join(FAMILIES)})(?![a-z])(?:[ :-]?\d+(?:\.\d+)?(?! ?[bm](?![a-z0-9])))?"
    r"(?:[ :-]{0,3}\(?\d+(?:\.\d+)? ?[bm](?![a-z0-9])\)?)?(?:-[a-z][a-z0-9.-]{0,40})?",
    re.IGNORECASE,
)
_HAN = re.compile(r"[\u3400-\u9fff]")
_ORDER = (
    "导出|導出|转|轉|量化|合并|合併|训练|訓練|微调|微調|评估|評估|测试|測試|保存|为|為|上|里|中|到|来|來|去|做|进行|"
    "進行"
)
_STOPS = str.maketrans({"，": ", ", "。": ". ", "；": "; ", "：": ": ", "、": ", ", "！": "! ", "？": "? ", "।": ". "})
_IN_PATH = re.compile(r"/[\u3400-\u9fff\w-]*$")
_WIDE = re.compile("[！-～、。]")
_WIDE_SIGN = re.compile(r"[！-～]|[^\W\D0-9]")
_DEVANAGARI = re.compile(r"[\u0900-\u097f]")
_WORD = re.compile(rf"[{_LETTER}]+")
_DIGITS = r"\d+(?:[.,]\d+)*(?:e[-+]?\d+)?"
_HAN_DIGITS = "[一二两三四五六七八九十百千万]+"
_GROUPED = re.compile(r"(?<![\w.,])[1-9]\d{0,2}(?:[. \u00a0\u202f]\d{3})+(?![\d.,]*\d)")
_DECIMAL = re.compile(r"(?<![\w.,])(?:0,\d+|\d,\d{1,2}(?=e-?\d| ?%| ?[bm](?![a-z])))(?!\d|,\d)", re.IGNORECASE)
_COUNTED = word_set("rank r alpha epochs epoch seed size steps length warmup batch lr rate decay")
# Words of numbers that stand for an article, a sign or something else as often.
_NO_NUMBERS = word_set(
    "a an single ein eine einen einem einer un une una uma no none kein keine keinen keinerlei ningún ninguna aucun "
    "aucune nenhum nenhuma ohne sin sans sem without both beide ambos ambas seul seule só vez once unique único única "
    "einzige einzigen einzelne par paar half halb halbe medio moitié demi metade meio twice thrice couple"
)
_SCALES = ("tausend", "mil", "mille", "हज़ार", "हजार", "सौ", "लाख")
# Words that join English sentences: who writes several of them writes English.
_ENGLISH = word_set(
    "the and with for of to is are it its my our this that then use using please make want on from into as by give me "
    "i would like you can not but at what how"
)
# English words that other languages have as well, or borrow.
_BORROWED = word_set(
    "via value values pure plus plan plans changes change delete car bring undo time ignore execute process processes "
    "another leave format simple normal original final local total minimal code machine service services support "
    "tickets client clients message messages question answers notes article articles documents document page pages "
    "test tests main fine note range grand large long longs port version type types base bases lot lots memes place "
    "point pour second issue completes config conversation etc exports negative preferences prepares procedure "
    "proportion session tunes ben miss net tag halt sort tour chose grace joint divide favor vs ups crack mayor pare "
    "dale ai alias meta grave boss plz sale era pond fort dame boss lance"
)
# Words too small to tell a language by themselves: they part two that are alike.
_SMALL = {
    "pt": word_set("o e os as na do da em um uma"),
    "es": word_set("el la los las y un una en del"),
    "fr": word_set("le la les l d n j c qu du et un une au aux en"),
}


@functools.cache
def _tables(language: str) -> dict[str, Any]:
    file = Path(__file__).resolve().parent / "glossaries" / f"{language}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))


@functools.cache
def _telling(language: str) -> frozenset[str]:
    """Words that occur in this language and not in English."""
    words = {*re.split(r"[ ,'-]+", " ".join(_tables(language)["words"].values()))}
    return frozenset(word for word in words - vocabulary() - _BORROWED if len(word) > 1)


@functools.cache
def _phrases(language: str) -> dict[str, list[tuple[str, str]]]:
    """Phrases in lower case with their English, the longest first, by their first word (in Chinese: first sign)."""
    words = _tables(language)["words"]
    found = {_plain(phrase): english for english, phrases in words.items() for phrase in phrases.split(", ") if phrase}
    table: dict[str, list[tuple[str, str]]] = {}
    for phrase in sorted(found, key=len, reverse=True):
        table.setdefault(_begin(phrase, 0, language), []).append((phrase, found[phrase]))
    return table


def _begin(text: str, position: int, language: str) -> str:
    """By what phrases that stand at a place are looked up."""
    word = None if language == "zh" and not text[position].isascii() else _WORD.match(text, position)
    return word[0] if word else text[position]


@functools.cache
def _patterns(language: str) -> list[tuple[re.Pattern[str], str]]:
    signs = {"N": f"[{_NAMES}]", "D": f"(?:{_DIGITS}|{_HAN_DIGITS if language == 'zh' else f'[{_WORDED}]'})"}
    edges = ("", "") if language == "zh" else (rf"(?<![{_LETTER}])", rf"(?![{_LETTER}])")
    small, made = _small_numbers(language), []
    for text, english in _tables(language)["patterns"]:
        text = _WORD.sub(lambda match: _sign(small, match[0]), text)
        meant = re.sub(r"(?<![A-Za-z\\])[ND](?![A-Za-z])", lambda sign: signs[sign[0]], text)
        made.append((re.compile(f"{edges[0]}(?:{meant}){edges[1]}", re.IGNORECASE), f" {english} "))
    return made


def _masked(text: str) -> tuple[str, list[str]]:
    """The text with a single character for each of its names, and the names as they stand there."""
    names: list[str] = []

    def taken(name: str) -> str:
        if len(names) == _MOST_NAMES:
            return name
        names.append(name)
        return f" {chr(_FIRST + len(names) - 1)} "

    text = re.sub(r"[\ue000-\uf7ff]", " ", text)  # characters of nobody, which stand for names from here on
    text = _parted(_QUOTED.sub(lambda match: taken(match[0]), text).translate(_STOPS))
    pieces: list[str] = []
    position = 0
    for token in tokenize(text):
        start = text.find(token.text, position) if token.kind == "name" else -1
        if start >= 0:
            pieces += [text[position:start], taken(token.text)]
            position = start + len(token.text)
    text = "".join([*pieces, text[position:]])
    return _NAME.sub(lambda match: taken(match[0]), text), names


@functools.cache
def _seams() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """Where Chinese words and names meet without a space: behind a name, or behind the Chinese part of one that an
    order follows; before a name; and before a name in Chinese that a word such as `用` leads to.

    Made when a Chinese text comes: to compile them takes longer than to answer one in English.
    """
    behind = re.compile(
        rf"(?<=[a-z0-9%])(?=[\u3400-\u9fff])(?![\u3400-\u9fff\w-]*\.(?:{EXTENSIONS}))|(?<=/)(?={_ORDER})(?![\u3400-\u9fff\w-]*\.(?:{EXTENSIONS}))"
        rf"|(?<=/)([\u3400-\u9fff]+?)(?={_ORDER})(?![\u3400-\u9fff\w-]*[./])",
        re.IGNORECASE,
    )
    before = re.compile(
        rf"(?<![\u3400-\u9fff/\\_-])([\u3400-\u9fff]+)(?=[a-z_~]|\d(?!\w*\.(?:{EXTENSIONS}))|\.{{0,2}}/[a-z0-9_~])",
        re.IGNORECASE,
    )
    led = re.compile(
        r"((?<![应應通專专信费費])用|请在|請在|(?<![\u3400-\u9fff])[在从從对對]|读取|讀取|把|将|將|拿|基于|基於|根据|根據|下载|下載|准备|準備|处理|處理|"
        r"[存写放输出導换換改]+[到为成入為])"
        rf"(?=[\u3400-\u9fff][\w/-]*\.(?:{EXTENSIONS}))",
        re.IGNORECASE,
    )
    return behind, before, led


def _parted(text: str) -> str:
    """A Chinese text with a space wherever a name begins or ends."""
    if not _HAN.search(text):
        return text
    behind, before, led = _seams()
    text = behind.sub(lambda match: f"{match[1] or ''} ", text)
    text = before.sub(r"\1 ", text)
    return led.sub(lambda match: match[0] if _IN_PATH.search(text[: match.start()]) else f"{match[0]} ", text)


def language_of(text: str) -> str | None:
    """The language of a request, of those that have a glossary; None for English, and for any other.

    >>> language_of("Trainiere smollm2-135m auf a.jsonl, zwei Epochen"), language_of("train it for two epochs")
    ('de', None)
    """
    masked = _plain(_masked(text)[0])
    if _HAN.search(masked):
        return "zh"
    if _DEVANAGARI.search(masked):
        return "hi"
    words = re.findall(rf"[^\W\d_{_NAMES}]+", masked.lower())
    strange = [word for word in words if word not in vocabulary()]
    english = len([word for word in words if word in _ENGLISH])
    if len(strange) <= english / 2:  # no glossary is opened for a strange word in an English sentence
        return None
    hits = {language: len([word for word in strange if word in _telling(language)]) for language in _LATIN}
    best = max(_LATIN, key=lambda language: (hits[language], len(_SMALL.get(language, word_set("")) & set(words))))
    return best if hits[best] > english / 2 else None


def _plain(text: str) -> str:
    """One form of what has several: composed letters, digits and marks of half width, plain apostrophes, and Hindi
    without the dots that many leave out."""
    text = unicodedata.normalize("NFC", text).replace("’", "'")
    plain = _WIDE_SIGN.sub(lambda match: _narrow(match[0]), text)
    plain = plain.replace("\u093c", "").replace("\u0901", "\u0902")
    return re.sub(r"[^\S\n]+", " ", plain.translate(_STOPS))


def _narrow(sign: str) -> str:
    return str(unicodedata.digit(sign)) if sign.isdecimal() else chr(ord(sign) - 0xFEE0)


@functools.lru_cache(maxsize=64)  # rules, understanding, prompt and grammar ask for the same message
def in_english(text: str) -> str:
    """The request with the words that its language's glossary knows in English; English texts as they are.

    >>> in_english("Trainiere smollm2-135m mit a.jsonl, zwei Epochen, Lernrate 0,0002")
    'train smollm2-135m on a.jsonl, 2 epochs, learning rate 0.0002'
    """
    language = language_of(text)
    if language is None:
        return _plain(text) if _WIDE.search(text) else text
    return _translated(text, language)


def _translated(text: str, language: str) -> str:
    masked, names = _masked(text)
    masked = _plain(masked)
    if language != "zh":
        masked = _GROUPED.sub(lambda match: _ungrouped(match, language), masked)
        masked = _DECIMAL.sub(lambda match: match[0].replace(",", "."), masked)
    small = _small_numbers(language)
    masked = _WORD.sub(lambda match: _sign(small, match[0]), masked)
    for found, english in _patterns(language):
        masked = found.sub(english, masked)
    masked = re.sub(f"[{_WORDED}]", lambda match: small[ord(match[0]) - _FIRST_NUMBER], masked)
    masked = _worded(re.sub(r"[^\S\n]+", " ", masked), language)
    masked = re.sub(r"(?<=\d) +%", "%", masked)
    text = re.sub(rf"[{_NAMES}]", lambda match: _said(names[ord(match[0]) - _FIRST]), masked)
    return re.sub(r" +(?=[,.;:!?](?: |$))", "", re.sub(r"[^\S\n]+", " ", text)).strip()


@functools.cache
def _small_numbers(language: str) -> tuple[str, ...]:
    return tuple(map(_plain, small_numbers(language)))


def _sign(small: tuple[str, ...], word: str) -> str:
    return chr(_FIRST_NUMBER + small.index(word.lower())) if word.lower() in small else word


def _ungrouped(match: re.Match[str], language: str) -> str:
    """`1.000` as 1000; `rang 16 200 étapes` are two numbers, since the first has a word of its own before it."""
    if " " in match[0]:
        before = re.search(rf"([{_LETTER}]+)[\s:=]*$", match.string[: match.start()].lower())
        word = before[1] if before else ""
        english = dict(_phrases(language).get(word, ())).get(word, word)
        if {*english.split()} & _COUNTED:
            return match[0]
    return re.sub(r"\D", "", match[0])


def _worded(text: str, language: str) -> str:
    """The text with its known phrases in English, and the numbers between them in digits."""
    phrases = _phrases(language)
    small = "".join(low if len(low := char.lower()) == 1 else char for char in text)
    pieces: list[str] = []
    position = between = 0
    while position < len(text):
        begin = _begin(small, position, language)
        found = next((one for one in phrases.get(begin, ()) if _stands(one[0], small, position, language)), None)
        if found is None:
            position += len(begin)
            continue
        pieces += [_numbers(text[between:position]), f" {found[1]} "]
        position = between = position + len(found[0])
    return "".join([*pieces, _numbers(text[between:])])


def _stands(phrase: str, text: str, position: int, language: str) -> bool:
    """Whether a phrase stands at a place, and not as a part of a longer word."""
    end = position + len(phrase)
    if not text.startswith(phrase, position):
        return False
    open_end = phrase.endswith("'") or (language == "zh" and not phrase[-1].isascii())
    return open_end or end == len(text) or not _WORD.match(text, end) or not _WORD.match(phrase[-1])


def _said(name: str) -> str:
    """A name with the quotation marks of English."""
    return f'"{name[1:-1]}"' if name[:1] in "«「『《" else name


def _numbers(text: str) -> str:
    """Numbers in words as digits."""
    text = re.sub(rf"\d+ (?:{'|'.join(_SCALES)})(?![{_LETTER}])", lambda match: f"{read_number(match[0]):d}", text)
    spans = [span for span in number_spans(text) if not re.search(r"\d", span) and span.lower() not in _NO_NUMBERS]
    for span in sorted(spans, key=len, reverse=True):
        edged = span if _HAN.search(span) else rf"(?<![{_LETTER}-]){re.escape(span)}(?![{_LETTER}-])"
        text = re.sub(edged, f" {read_number(span):.12g} ", text)
    return text
