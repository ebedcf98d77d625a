"""Numbers as people write them in seven languages, each drawn with its value."""

import functools
import random

from tunesmith.agent.number_words import read_number

__all__ = ["LANGUAGES", "drawn", "out_of_range", "surface"]

LANGUAGES = ("en", "de", "es", "fr", "pt", "zh", "hi")

_ONE = {
    "en": "one two three four five six seven eight nine ten eleven twelve",
    "de": "eine zwei drei vier fünf sechs sieben acht neun zehn elf zwölf",
    "es": "una dos tres cuatro cinco seis siete ocho nueve diez once doce",
    "fr": "une deux trois quatre cinq six sept huit neuf dix onze douze",
    "pt": "uma duas três quatro cinco seis sete oito nove dez onze doze",
    "zh": "一 两 三 四 五 六 七 八 九 十 十一 十二",
    "hi": "एक दो तीन चार पाँच छह सात आठ नौ दस ग्यारह बारह",
}
_LARGE = {
    "en": {16: "sixteen", 32: "thirty-two", 64: "sixty-four", 50: "fifty", 100: "a hundred", 500: "five hundred",
           1000: "a thousand", 2000: "two thousand", 5000: "five thousand", 20: "twenty", 15: "fifteen"},
    "de": {16: "sechzehn", 32: "zweiunddreißig", 64: "vierundsechzig", 50: "fünfzig", 100: "hundert",
           500: "fünfhundert", 1000: "tausend", 2000: "zweitausend", 5000: "fünftausend", 20: "zwanzig"},
    "es": {16: "dieciséis", 50: "cincuenta", 100: "cien", 500: "quinientos", 1000: "mil", 2000: "dos mil",
           32: "treinta y dos", 20: "veinte"},
    "fr": {16: "seize", 50: "cinquante", 100: "cent", 500: "cinq cents", 1000: "mille", 2000: "deux mille",
           32: "trente-deux", 20: "vingt"},
    "pt": {16: "dezesseis", 50: "cinquenta", 100: "cem", 500: "quinhentos", 1000: "mil", 2000: "dois mil",
           32: "trinta e dois", 20: "vinte"},
    "zh": {16: "十六", 32: "三十二", 64: "六十四", 50: "五十", 100: "一百", 500: "五百", 1000: "一千",
           2000: "两千", 20: "二十"},
    "hi": {16: "सोलह", 50: "पचास", 100: "सौ", 500: "पाँच सौ", 1000: "हज़ार", 2000: "दो हज़ार", 20: "बीस"},
}  # fmt: skip
_COMMA = ("de", "es", "fr", "pt")

_DRAWS: dict[str, list[float]] = {
    "finetune_unsloth.epochs": [1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20],
    "finetune_unsloth.learning_rate": [
        1e-3, 2e-3, 5e-4, 2e-4, 2e-4, 1e-4, 1e-4, 5e-5, 5e-5, 2e-5, 2e-5, 1e-5, 3e-4, 3e-5, 8e-5, 1.5e-4, 5e-6, 7e-5,
        2.5e-4, 6e-4, 4e-5, 0.01,
    ],
    "finetune_unsloth.lora_r": [4, 8, 8, 16, 16, 24, 32, 32, 64, 64, 128, 256, 2, 12, 48],
    "finetune_unsloth.lora_alpha": [8, 16, 32, 64, 128, 256, 24],
    "finetune_unsloth.batch_size": [1, 2, 4, 8, 16, 32, 3, 6, 12],
    "finetune_unsloth.max_seq_length": [256, 512, 1024, 2048, 4096, 8192, 768, 384, 1536],
    "finetune_unsloth.max_steps": [10, 20, 50, 100, 200, 500, 60, 1000, 30, 25],
    "finetune_unsloth.warmup_steps": [10, 20, 50, 100, 5, 3, 30, 200],
    "finetune_unsloth.weight_decay": [0.01, 0.05, 0.1, 0.001, 0.02, 0.2],
    "finetune_unsloth.seed": [1, 2, 3, 7, 42, 123, 1234, 99, 2024, 13, 3407],
    "prepare_dataset.limit": [100, 200, 500, 1000, 2000, 5000, 10_000, 50, 1500, 20_000, 300, 2500, 50_000],
    "prepare_dataset.heldout_fraction": [0.05, 0.1, 0.2, 0.15, 0.25, 0.3, 0.02, 0.5],
    "run_eval.limit": [10, 20, 50, 100, 200, 500, 25, 1000, 30, 250],
}  # fmt: skip
_DRAWS["prepare_dataset.seed"] = _DRAWS["finetune_unsloth.seed"]
_WRONG: dict[str, list[str]] = {
    "finetune_unsloth.epochs": ["0", "-3", "-1", "500", "1000", "1.5", "-2", "250"],
    "finetune_unsloth.learning_rate": ["5", "1", "-1e-4", "0", "0.5", "2", "10"],
    "finetune_unsloth.lora_r": ["-8", "5000", "-1", "1024"],
    "finetune_unsloth.batch_size": ["0", "-4", "5000"],
    "finetune_unsloth.weight_decay": ["3", "-0.1"],
    "prepare_dataset.limit": ["0", "-100"],
    "prepare_dataset.heldout_fraction": ["80%", "0.9", "95 %", "70 %"],
    "run_eval.limit": ["0", "-10"],
    "finetune_unsloth.max_seq_length": ["4", "-512", "8"],
}


def drawn(draw: random.Random, key: str, language: str) -> tuple[str, float]:
    """A number for a parameter as it stands in the request, and its value."""
    value = draw.choice(_DRAWS[key])
    return surface(draw, value, key, language), value


def out_of_range(draw: random.Random) -> tuple[str, str]:
    """A parameter, and a number that it does not take."""
    key = draw.choice([*_WRONG])
    return key, draw.choice(_WRONG[key])


@functools.cache
def _word(value: float, language: str) -> str | None:
    if value in range(1, 13):
        return _ONE[language].split()[int(value) - 1]
    return _LARGE[language].get(int(value)) if value >= 1 else None


def surface(draw: random.Random, value: float, key: str, language: str) -> str:
    """One of the ways to write a number so that `read_number` gives it back for that parameter.

    >>> surface(random.Random(3), 0.0002, "finetune_unsloth.learning_rate", "en")
    '2e-4'
    """
    for _ in range(20):
        text = _surface(draw, value, key, language)
        try:
            if abs(read_number(text, key) - value) < 1e-9 * max(1.0, value) and "\n" not in text:
                return text
        except ValueError:
            continue
    return f"{value:g}"


def _surface(draw: random.Random, value: float, key: str, language: str) -> str:
    kind = draw.random()
    if key.endswith("heldout_fraction"):
        percent = f"{100 * value:g}"
        spaced = draw.choice([f"{percent}%", f"{percent} %", f"{percent}%"])
        decimal = f"{value:g}".replace(".", "," if language in _COMMA and draw.random() < 0.4 else ".")
        return spaced if kind < 0.7 else decimal
    if value < 1:
        power = f"{value:e}"
        digits, _, exponent = power.partition("e")
        digits = digits.rstrip("0").rstrip(".")
        short = f"{digits}e{int(exponent)}"
        plain = f"{value:.7f}".rstrip("0")
        if language in _COMMA and draw.random() < 0.35:
            plain, short = plain.replace(".", ","), short.replace(".", ",")
        if kind < 0.5:
            return short
        if kind < 0.58:
            return short.replace("e", "E")
        if kind < 0.63:
            return f"{digits}e{int(exponent):03d}"
        if kind < 0.67 and key.endswith("learning_rate"):
            return f"{digits}{draw.choice([' x ', '·', '×', ' * '])}10^{int(exponent)}"
        return plain
    word = _word(value, language)
    if word and kind < (0.3 if value <= 12 else 0.12):
        return word
    whole = int(value)
    if key.endswith("max_seq_length") and whole % 1024 == 0 and kind < 0.3:
        return f"{whole // 1024}{draw.choice('kkK')}" if draw.random() < 0.9 else f"{whole // 1024} k"
    if whole >= 1000 and whole % 100 == 0 and kind < 0.6:
        mark = "." if language in ("de", "es", "pt") else "," if language != "fr" else " "
        thousands = f"{whole / 1000:g}"
        if "." not in thousands and draw.random() < 0.6:
            return thousands + draw.choice(["k", "k", "K"])
        if language == "zh" and whole % 10_000 == 0:
            return f"{whole // 10_000}万"
        return f"{whole:,}".replace(",", mark)
    if language == "hi" and kind < 0.33:
        return "".join(chr(0x966 + int(digit)) for digit in str(whole))
    return str(whole)
