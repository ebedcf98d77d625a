"""Numbers as people write them, in digits or in the words of seven languages: English, German, Spanish, French,
Portuguese, Chinese and Hindi.

Unlike `words.tokenize`, which reads an English sentence, this reads one number by itself and knows for which parameter:
`1.000` rows are a thousand, a learning rate of `0,001` is a thousandth.
"""

import functools
import re
import unicodedata

from .lexicon import field_types

__all__ = ["number_spans", "read_number", "small_numbers"]

_UNITS = {
    "en": "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen",
    "de": "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn "
    "siebzehn achtzehn neunzehn",
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis "
    "diecisiete dieciocho diecinueve",
    "fr": "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept "
    "dix-huit dix-neuf",
    "pt": "zero um dois três quatro cinco seis sete oito nove dez onze doze treze quatorze quinze dezesseis "
    "dezessete dezoito dezenove",
    "hi": "शून्य एक दो तीन चार पाँच छह सात आठ नौ दस ग्यारह बारह तेरह चौदह पंद्रह सोलह सत्रह अठारह उन्नीस",
}
_TENS = {
    "en": "twenty thirty forty fifty sixty seventy eighty ninety",
    "de": "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig",
    "es": "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa",
    "fr": "vingt trente quarante cinquante soixante septante huitante nonante",
    "pt": "vinte trinta quarenta cinquenta sessenta setenta oitenta noventa",
    "hi": "बीस तीस चालीस पचास साठ सत्तर अस्सी नब्बे",
}
_MORE = {
    0: "no none kein keine keinen keinerlei ningún ninguna aucun aucune nenhum nenhuma ohne sin sans sem without",
    1: "a an single once ein eine einen einem einer einmal einzige einzigen una una un une unique seule seul uma único "
    "única única só vez einzelne",
    2: "couple twice both zweimal paar beide ambos ambas deux par dos duas दोनों दो",
    3: "thrice dreimal trois tres",
    4: "viermal",
    5: "fünfmal पांच funf fuenf",
    6: "छः छै",
    12: "zwoelf",
    14: "catorze",
    15: "पन्द्रह",
    22: "veintidós",
    21: "veintiuno veintiún",
    23: "veintitrés",
    24: "veinticuatro",
    25: "veinticinco पच्चीस",
    100: "cien ciento cent cem cento",
    200: "doscientos doscientas duzentos duzentas",
    300: "trescientos trescientas trezentos trezentas",
    400: "cuatrocientos cuatrocientas quatrocentos quatrocentas",
    500: "quinientos quinientas quinhentos quinhentas",
    600: "seiscientos seiscientas seiscentos seiscentas",
    700: "setecientos setecientas setecentos setecentas",
    800: "ochocientos ochocientas oitocentos oitocentas",
    900: "novecientos novecientas novecentos novecentas",
}
_SCALES = {
    12: "dozen dutzend docena docenas douzaine douzaines dúzia dúzias",
    100: "hundred hundert cents सौ",
    1000: "thousand tausend mil mille हज़ार हजार",
    100_000: "लाख",
    1_000_000: "million millions millionen millón millones milhão milhões मिलियन",
}
_SHARES = {
    1 / 2: "half hälfte halbe halb mitad medio moitié demi metade meio आधा आधी",
    1 / 3: "third drittel tercio tercera tiers terço तिहाई",
    1 / 4: "quarter viertel cuarto cuarta quart quarto चौथाई",
    1 / 5: "fifth fünftel quinto quinta cinquième पाँचवाँ पांचवां",
    1 / 8: "eighth achtel octavo huitième oitavo",
    1 / 10: "tenth zehntel décimo décima dixième दसवाँ दसवां",
    1 / 20: "twentieth zwanzigstel vigésimo vingtième",
}
_CONJUNCTIONS = {"and", "und", "y", "et", "e", "of", "de", "von"}
_JOINING = {"a", "an", "ein", "eine", "un", "une", "una", "um", "uma"}
_MINUS = {"minus", "negative", "negativ", "menos", "moins", "负", "माइनस", "ऋण", "negativo", "négatif"}
_PERCENT = r"%|percent|per cent|prozent|por ciento|pour cent|por cento|प्रतिशत|फ़ीसदी|फीसदी"
_DIGITS = "零〇一二三四五六七八九"
_HAN_SCALES = {"十": 10, "百": 100, "千": 1000, "万": 10_000, "萬": 10_000}
_DIGITAL = re.compile(
    r"(?P<number>[-+−–]?(?:\d[\d.,'’_]*(?:(?<=\d)[ \u00a0\u202f]\d{3}(?!\d))*|\.\d+)(?:[eE][-+−–]?\d+)?)"
    r"(?:\s?(?:[x×*·]|mal|times|por|fois|vezes)\s?10\s?(?:\^|\*\*)?\s?\(?(?P<power>[-−–]?\d+|[⁻]?[⁰¹²³⁴-⁹]+)\)?)?"
    r"(?:/(?P<below>\d+))?"
    rf"(?:\s?(?P<unit>{_PERCENT}|[kKmM](?![A-Za-z0-9_])|[xX×](?![A-Za-z0-9_])|mil\b|mille\b|tausend\b|thousand\b|万|千|百|हज़ार|हजार|सौ|लाख))?",
    re.IGNORECASE,
)
_UNIT_OF = {"k": 1000, "mil": 1000, "mille": 1000, "tausend": 1000, "thousand": 1000, "हज़ार": 1000, "हजार": 1000}
_UNIT_OF |= {"m": 1_000_000, "万": 10_000, "千": 1000, "百": 100, "सौ": 100, "लाख": 100_000}
_HAN = re.compile(rf"(?:百分之)?[负]?[{_DIGITS}两半十百千万萬]+(?:分之[{_DIGITS}两十]+)?")
_WORD = re.compile(r"[^\W\d_]+(?:[̀-ͯ\u0900-\u097F]+)*(?:-[^\W\d_]+)*", re.UNICODE)


def read_number(text: str, key: str = "", *, relative: bool = False) -> int | float:
    """The number that a text is, in the unit of the parameter `key` (`tool.parameter`).

    `2k` rows are 2000, a `2k` context is 2048; of a share `20 %`, `20` and `a fifth` are 0.2. `relative` numbers
    (a factor, a difference) have no unit but `%` and `k`.

    Raises:
        ValueError: the text is no number.

    >>> read_number("2e-4"), read_number("0,0002", "finetune_unsloth.learning_rate"), read_number("zweihundertfünfzig")
    (0.0002, 0.0002, 250)
    >>> read_number("1.000", "prepare_dataset.limit"), read_number("10,000"), read_number("五百")
    (1000, 10000, 500)
    >>> read_number("a fifth", "prepare_dataset.heldout_fraction"), read_number("पाँच"), read_number("minus three")
    (0.2, 5, -3)
    """
    written = unicodedata.normalize("NFKC", re.sub(r"[⁻⁰¹²³⁴-⁹]+", lambda m: "^" + m[0], text.strip())).strip("~≈ ")
    written = written.replace("−", "-").replace("–", "-").replace("10^^", "10^").casefold()
    written = "".join(str(unicodedata.digit(sign)) if sign.isdigit() else sign for sign in written)
    match = _DIGITAL.fullmatch(written)
    value, unit = _digital(match, key, relative) if match else _worded(written)
    if unit == "k" and key.endswith("max_seq_length") and not relative:
        value = value / 1000 * 1024
    share = key.endswith(("heldout_fraction", "weight_decay")) and not relative
    if share and value >= 1 and unit != "%" and key.endswith("heldout_fraction"):
        value /= 100
    value = float(f"{value:.12g}")
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def _digital(match: "re.Match[str]", key: str, relative: bool) -> tuple[float, str]:
    whole = bool(key) and float not in field_types(key) and not relative
    unit = (match["unit"] or "").strip()
    value = float(_plain(match["number"], whole=whole and unit in ("", "%")))
    if match["power"]:
        value *= 10.0 ** int(unicodedata.normalize("NFKC", match["power"]).replace("−", "-"))
    if match["below"]:
        if not int(match["below"]):
            raise ValueError("nothing is divided by 0")
        value /= int(match["below"])
    if re.fullmatch(_PERCENT, unit):
        return value / 100, "%"
    return value * _UNIT_OF.get(unit, 1), unit


def _plain(digits: str, *, whole: bool) -> str:
    """Digits with a point before decimals and nothing else between them."""
    number, sign, power = re.sub(r"['’_ \u00a0\u202f]", "", digits).partition("e")
    dots, commas = number.count("."), number.count(",")
    number = number.rstrip(".,")
    if dots and commas:  # the last of the two marks the decimals
        decimal = max(".,", key=number.rfind)
        number = number.replace("," if decimal == "." else ".", "").replace(decimal, ".")
    elif dots > 1 or (whole and re.fullmatch(r"[-+]?[1-9]\d{0,2}\.\d{3}", number)):
        number = number.replace(".", "")
    elif commas > 1 or (commas and re.fullmatch(r"[-+]?[1-9]\d{0,2},\d{3}", number)):
        number = number.replace(",", "")
    return number.replace(",", ".") + sign + power


def small_numbers(language: str) -> tuple[str, ...]:
    """The words for 0 to 19 and the tens of a language (`de`, `es`, `fr`, `pt` or `hi`); of any other, none."""
    return (*_UNITS.get(language, "").split(), *_TENS.get(language, "").split())


@functools.cache
def _words() -> dict[str, float]:
    found: dict[str, float] = {}
    for table, start, step in ((_TENS, 20, 10), (_UNITS, 0, 1)):
        for names in table.values():
            found |= {name: start + step * n for n, name in enumerate(names.split())}
    for number, names in _MORE.items():
        found |= dict.fromkeys(names.split(), number)
    return found | _german()


def _german() -> dict[str, float]:
    """`zweihundertfünfzig`: German writes a number below a thousand as one word."""
    units, tens = _UNITS["de"].split(), _TENS["de"].split()
    below = {name: n for n, name in enumerate(units)}
    for n, ten in enumerate(tens, 2):
        below[ten] = 10 * n
        below |= {f"{'ein' if u == 1 else units[u]}und{ten}": 10 * n + u for u in range(1, 10)}
    found: dict[str, float] = dict(below)
    for hundreds in range(1, 10):
        for lead in {units[hundreds] if hundreds > 1 else "ein", "" if hundreds == 1 else units[hundreds]}:
            found[f"{lead}hundert"] = 100 * hundreds
            found |= {f"{lead}hundert{name}": 100 * hundreds + value for name, value in below.items() if value}
    thousands = {f"{'ein' if n == 1 else units[n]}tausend": 1000 * n for n in range(1, 20)}
    found |= thousands
    found |= {f"{name}{rest}": value + 500 for name, value in thousands.items() for rest in ("fünfhundert",)}
    return {name.replace("ß", "ss"): value for name, value in found.items()} | found


@functools.cache
def _tables() -> tuple[dict[str, int], dict[str, float]]:
    scales = {name: scale for scale, names in _SCALES.items() for name in names.split()}
    shares = {name: share for share, names in _SHARES.items() for name in names.split()}
    return scales, shares


def _worded(text: str) -> tuple[float, str]:
    if _HAN.fullmatch(text):
        return _han(text)
    scales, shares = _tables()
    unit = "%" if re.search(rf"(?:{_PERCENT})$", text) else ""
    pieces = re.sub(rf"\s?(?:{_PERCENT})$", "", text).replace("quatre-vingt", "huitante").replace("-", " ").split()
    pieces = [re.sub(r"^huitantes$", "huitante", piece) for piece in pieces]
    sign = -1 if pieces[:1] and pieces[0] in _MINUS else 1
    pieces = pieces[1:] if sign < 0 else pieces
    if not pieces or {pieces[0], pieces[-1]} & _CONJUNCTIONS:
        raise ValueError(f"{text!r} is no number")
    total, current, seen = 0.0, 0.0, False
    for n, piece in enumerate(pieces):
        scaled = bool(set(pieces[n + 1 :]) & scales.keys())
        if piece in shares and not scaled and n + 1 < len(pieces):
            raise ValueError(f"{text!r} is no number")
        if piece in shares:  # `half a dozen`, `a fifth`
            current = (current or 1) * shares[piece]
        elif piece in scales and (seen or piece not in _words()):
            current = (current or 1) * scales[piece]
            if scales[piece] >= 1000:
                total, current = total + current, 0.0
        elif piece in _words() and not (piece in _JOINING and len(pieces) > 1):
            current += _words()[piece]
        elif re.fullmatch(r"\d+", piece):
            current += int(piece)
        elif piece in _JOINING | _CONJUNCTIONS:
            continue
        else:
            raise ValueError(f"{text!r} is no number")
        seen = True
    if not seen:
        raise ValueError(f"{text!r} is no number")
    value = sign * (total + current)
    return (value / 100 if unit else value), unit


def _han(text: str) -> tuple[float, str]:
    """
    >>> _han("两千"), _han("百分之十"), _han("五分之一")
    ((2000.0, ''), (0.1, '%'), (0.2, ''))
    """
    if text.startswith("百分之"):
        return _han(text[3:])[0] / 100, "%"
    if "分之" in text:
        below, above = text.split("分之")
        if not _han(below)[0]:
            raise ValueError("nothing is divided by 0")
        return _han(above)[0] / _han(below)[0], ""
    sign, text = (-1, text[1:]) if text.startswith("负") else (1, text)
    if not text:
        raise ValueError("a sign is no number")
    if text == "半":
        return 0.5 * sign, ""
    total, section, digit = 0.0, 0.0, 0.0
    for mark in text:
        if mark in _HAN_SCALES:
            scale = _HAN_SCALES[mark]
            if scale == 10_000:
                total, section, digit = total + ((section + digit) or 1) * scale, 0.0, 0.0
            else:
                section, digit = section + (digit or 1) * scale, 0.0
        elif mark == "半":
            digit = 0.5
        else:
            digit = digit * 10 + (2 if mark == "两" else max(0, _DIGITS.index(mark) - 1))
    return sign * (total + section + digit), ""


def number_spans(text: str) -> list[str]:
    """Every piece of a text that reads as a number, as it stands there, in its order, longer ones first.

    >>> number_spans("three epochs, lr 2e-4 und 250 Zeilen")
    ['three', '2e-4', '250']
    """
    found: list[tuple[int, int, str]] = []
    for match in _DIGITAL.finditer(text):
        number = match["number"].rstrip(".,_'")
        spans = dict.fromkeys((match[0].rstrip(" .,_'"), number, number.lstrip("-+−–"), *number.split()))
        found += [(match.start(), -len(span), span) for span in spans]
    found += [(match.start(), 0, match[0]) for match in _HAN.finditer(text)]
    words = [(m.start(), m.end()) for m in re.finditer(r"[^\s.,;:!?()\"“”=/|*+।，、；：。！？（）\d]+", text)]
    parts = re.finditer(r"(?<=-)(?=([^\W\d_]+(?:-[^\W\d_]+)*))|(?<![\w-])(?=([^\W\d_]+)-)", text)
    found += [(match.start(), 0, match[1] or match[2]) for match in parts]  # `rank-eight`, `zehn-mal`
    for first, (start, end) in enumerate(words):
        if not _may_begin(text[start:end]):
            continue
        runs = [text[start:end] for _, end in words[first : first + 6]]
        found += [(start, -len(run), run) for run in runs]
    return list(dict.fromkeys(span for *_, span in sorted(found) if _is_number(span)))


def _may_begin(word: str) -> bool:
    """Whether a number in words can begin with this one; most words of a request can't, and need no closer look."""
    scales, shares = _tables()
    pieces = {word.casefold(), word.casefold().partition("-")[0]}
    return any(piece in _words() or piece in scales or piece in shares or piece in _MINUS for piece in pieces)


def _is_number(span: str) -> bool:
    try:
        read_number(span)
    except ValueError:
        return False
    return True
