"""Which number in a request belongs to which parameter, and whether it is a value or a change of one."""

import itertools

from .amount_values import Amounts, bind, number_at, scaled, text_at
from .leftovers import no_number
from .lexicon import NUMERIC
from .words import Token, word_set

__all__ = ["read_amounts"]

_FACTORS = {
    **dict.fromkeys(("double", "twice", "doubled", "doubling"), 2),
    **dict.fromkeys(("triple", "thrice", "tripled", "treble"), 3),
    **dict.fromkeys(("quadruple", "quadrupled"), 4),
    **dict.fromkeys(("half", "halve", "halved", "halving", "halfed"), 0.5),
    "tenth": 0.1,
    "fifth": 0.2,
    "quarter": 0.25,
    "third": 1 / 3,
    "twofold": 2,
    "tenfold": 10,
}
_UP = word_set("increase raise up grow boost bump higher larger bigger greater more longer extend")
_DOWN = word_set("reduce lower decrease cut drop shrink smaller less fewer down shorter divide lessen")
_SMALL_WORDS = word_set(
    "the that this my our a an as many much of number current amount total its existing your high low long size"
)
_LEFT_FILLERS = _SMALL_WORDS | {"full", "whole", "complete", "max", "maximum", "bad", "good", "first", ")"}
_CONNECTORS = word_set(
    "of to at is be for around about exactly only just up a the set was should now from by it as approximately "
    "roughly first max maximum value down equal equals each with most over use using out go get have too also"
)
_VAGUE = word_set("negative high big huge large small tiny many several few some long short enough")
_SETTING = word_set("set change adjust modify tweak")
_MAY_BE_NONE = {
    "finetune_unsloth.weight_decay",
    "finetune_unsloth.warmup_steps",
    "prepare_dataset.heldout_fraction",
}
_LIMITS = {"finetune_unsloth.max_steps", "prepare_dataset.limit", "run_eval.limit"}
_LIFTING = word_set("remove lift away drop without no")
_HELDOUT = ("prepare_dataset.heldout_fraction",)
_APART = word_set("held aside back apart reserve keep holdout out validation testing hold kept split")
_WRONG = {**dict.fromkeys(("high", "large", "big", "many", "much"), -1), **dict.fromkeys(("low", "small", "few"), 1)}
_BEFORE_VALUES = word_set("use try take set with using and rather , ; .") | {"", "\n"}
_ASIDE = word_set("aside apart back")
_PLUS = {"add", "another", "plus", "extra", "additional", "further", "adding"}


def read_amounts(tokens: list[Token]) -> Amounts:
    """Bind the numbers of a request. Numbers and labels that were understood are marked as used."""
    found = Amounts()
    labels = [i for i, token in enumerate(tokens) if token.kind == "label" and token.value[0] in NUMERIC]
    _splits(tokens, found)
    for i in labels:
        _ = _relative(tokens, i, found) or _for_label(tokens, i, found)
    for unit in ("", "unit"):
        for i in labels:
            if tokens[i].unit == unit and not tokens[i].used:
                sides = (_from_left, _from_right) if unit else (_from_right, _from_left)
                _ = sides[0](tokens, i, found) or sides[1](tokens, i, found)
    _shares(tokens, found)
    _shared(tokens, labels, found)
    _both(tokens, labels, found)
    _apart(tokens, labels, found)
    for i in labels:
        if not tokens[i].used and found.unclear is None and (word := no_number(tokens, i)):
            found.unclear = (tokens[i].value, word)
        bound = any({*keys} & {*tokens[i].value} for keys, _, _ in found.values)
        if not tokens[i].used and not bound and found.unclear is None and (verb := _compared(tokens, i)):
            found.unclear = (tokens[i].value, verb)
    for i, token in enumerate(tokens):
        more = text_at(tokens, i + 1) == "more" and text_at(tokens, i + 2) in ("", ".", "!", ",")
        if token.kind == "number" and not token.used and more and text_at(tokens, i - 1) not in ("or", "and"):
            token.used = True  # `bump them by one more`
            found.relative.append({"plus": token.value})
        if token.kind == "word" and token.text in _FACTORS and not token.used and _stands_alone(tokens, i):
            token.used = True
            found.relative.append({"times": _FACTORS[token.text]})
        if token.kind == "number" and not token.used and text_at(tokens, i + 1) == "times":
            if {"through", "over", "see"} & {text_at(tokens, j) for j in range(max(0, i - 4), i)}:
                token.used = True  # `go through the data four times`
                found.values.append((("finetune_unsloth.epochs",), [token.value], i))
            elif _stands_alone(tokens, i + 1):
                token.used = True
                found.relative.append({"times": token.value})
    return found


def _stands_alone(tokens: list[Token], i: int) -> bool:
    return text_at(tokens, i + 1) in ("that", "it", "this", "them", "") or i + 1 == len(tokens)


def _direction(tokens: list[Token], i: int) -> int:
    """+1 or -1 after a verb that raises or lowers, looking left in the sentence, then right; 0 without one."""
    for step in (-1, 1):
        j = i + step
        while 0 <= j < len(tokens) and text_at(tokens, j) not in (".", ";", ",", "\n") and abs(j - i) < 7:
            if (word := text_at(tokens, j)) in _UP | _DOWN | {"multiply", "scale"}:
                return -1 if word in _DOWN else 1
            j += step
    return 0


def _relative(tokens: list[Token], i: int, found: Amounts) -> bool:
    """`double the epochs`, `half as many epochs`, `10x lower lr`, `5 more epochs`, `lr halved`."""
    j, sign = i - 1, 0
    while text_at(tokens, j) in _SMALL_WORDS | _UP | _DOWN | {"additional", "extra", "further"}:
        word = text_at(tokens, j)
        sign = 1 if word in _UP | {"additional", "extra", "further"} else -1 if word in _DOWN else sign
        j -= 1
    word, number = text_at(tokens, j), number_at(tokens, j)
    if word in _FACTORS and not tokens[j].used:
        tokens[j].used = True
        return bind(tokens, i, found, [{"times": _FACTORS[word]}])
    if word == "times" and (count := number_at(tokens, j - 1)):
        count.used = True
        return bind(tokens, i, found, [{"times": 1 / count.value if sign < 0 and count.value else count.value}])
    if number is not None and number.unit == "x":
        number.used = True
        return bind(tokens, i, found, [{"times": 1 / number.value if sign < 0 and number.value else number.value}])
    before = text_at(tokens, j - 1)
    if number is not None and number.unit != "%" and (sign or before in _PLUS or before in ("remove", "subtract")):
        if before in ("at", "than", "to", "up") or (before == "add" and not sign):
            return False  # `at least 3 more`; `add 10 warmup steps` may set a value: compose decides by the last plan
        number.used = True
        amount = -number.value if sign < 0 or before in ("remove", "subtract") else number.value
        return bind(tokens, i, found, [{"plus": amount}])
    after = text_at(tokens, i + 1)
    if after in ("*", "×", "x") and (count := number_at(tokens, i + 2)):  # `lr * 2`
        count.used = True
        return bind(tokens, i, found, [{"times": count.value}])
    if after in _FACTORS and after not in ("half", "third", "quarter", "fifth"):
        tokens[i + 1].used = True
        return bind(tokens, i, found, [{"times": _FACTORS[after]}])
    return False


def _for_label(tokens: list[Token], i: int, found: Amounts) -> bool:
    """`use 32 for the rank`, `3 as the number of epochs`."""
    j = i - 1 - (text_at(tokens, i - 1) in ("the", "a", "my"))
    number = number_at(tokens, j - 1)
    if number is None or text_at(tokens, j) not in ("for", "as") or number_at(tokens, i + 1):
        return False
    if text_at(tokens, j - 2) not in _BEFORE_VALUES:
        return False
    number.used = True
    return bind(tokens, i, found, [scaled(number, tokens[i])])


def _from_right(tokens: list[Token], i: int, found: Amounts) -> bool:
    """`rank 8`, `epochs = 3`, `lr from 1e-4 to 5e-5`, `lr by 10x`, `lr by a factor of 3`, `lr in half`."""
    words: list[str] = []
    j = i + 1
    while j < len(tokens) and j - i < 7:
        word = text_at(tokens, j)
        if word in _FACTORS and words and not tokens[j].used:
            tokens[j].used = True
            factor = _FACTORS[word]
            if tokens[i].value[0].endswith("heldout_fraction"):
                return bind(tokens, i, found, [factor])
            if factor < 1 and "by" in words:
                factor = 1 - factor if _direction(tokens, i) < 0 else 1 + factor
            return bind(tokens, i, found, [{"times": factor}])
        if tokens[j].kind == "label" and tokens[j].unit and number_at(tokens, j + 1) is None:
            break
        if word == "," and text_at(tokens, j + 1) in ("say", "like", "maybe", "perhaps"):
            j += 1  # `a lower learning rate, say 5e-5`
        elif word not in _CONNECTORS | {"=", ":", "|", "(", "factor", "in", "→", ">", "-", "~", "≈"}:
            break
        words.append(word)
        j += 1
    number = number_at(tokens, j)
    if number is None:
        return False
    if tokens[j - 1].text == "from" and text_at(tokens, j + 1) in ("to", "→") and number_at(tokens, j + 2):
        number.used = True
        return _take(tokens, i, j + 2, found)
    if not words and tokens[i].unit and _labels_next(tokens, j):
        return False
    following = text_at(tokens, j + 1)
    times = number.unit == "x" or following in ("times", "fold", "x") or "factor" in words
    if times or ("by" in words and number.value):
        wrong = next((_WRONG[text_at(tokens, k + 1)] for k in range(j + 1, j + 4) if _is_wrong(tokens, k)), 0)
        sign = wrong or _direction(tokens, i) or (-1 if following in _DOWN else 1)
        number.used = True
        if number.unit == "%":
            return bind(tokens, i, found, [{"times": 1 + sign * number.value / 100}])
        if times or any(text_at(tokens, k) in ("divide", "multiply") for k in range(max(0, i - 4), i)):
            return bind(tokens, i, found, [{"times": 1 / number.value if sign < 0 else number.value}])
        return bind(tokens, i, found, [{"plus": sign * number.value}])
    return _take(tokens, i, j, found)


def _is_wrong(tokens: list[Token], i: int) -> bool:
    """`too high`: what is to be changed the other way."""
    return text_at(tokens, i) == "too" and text_at(tokens, i + 1) in _WRONG


def _from_left(tokens: list[Token], i: int, found: Amounts) -> bool:
    """`2 epochs`, `a 2e-4 learning rate`, `1, 2 and 4 epochs`, `add 5 epochs`."""
    j = i - 1
    while (
        text_at(tokens, j) in _LEFT_FILLERS
        or (j >= 0 and tokens[j].kind == "choice")
        or text_at(tokens, j) == "training"
    ):
        j -= 1
    number = number_at(tokens, j)
    if number is None:
        if text_at(tokens, i - 1) in ("a", "an", "one") and tokens[i].text in ("epoch", "pass"):
            return bind(tokens, i, found, [1])
        return False
    if number.unit == "%" and tokens[i].value[0].endswith(".limit"):  # `5 % of the rows`
        return False
    if text_at(tokens, j - 1) in ("every", "each"):  # `save every 10 steps` is no limit
        tokens[i].used = True
        return True
    first = j
    while (
        (earlier := number_at(tokens, first - 2))
        and text_at(tokens, first - 1) in (",", "and", "or", "/", "&", "to")
        and isinstance(earlier.value, int) == isinstance(number.value, int)
        and earlier.unit == number.unit
    ):
        first -= 2
    if number_at(tokens, first - 1) and not tokens[first].spaced:
        found.unclear = (tokens[i].value, f"{tokens[first - 1].text} or {number.text}")
        return True
    if any(text_at(tokens, k) in ("or", "to") for k in range(first, j)) and text_at(tokens, first - 1) != "from":
        found.unclear = (tokens[i].value, f"{tokens[first].text} or {number.text}")
        return True
    if text_at(tokens, first - 1) == "from":
        tokens[first].used, first = True, j
    numbers = [token for token in tokens[first : j + 1] if token.kind == "number"]
    for token in numbers:
        token.used = True
    if text_at(tokens, i + 1) in ("more", "less", "fewer") and len(numbers) == 1:
        sign = 1 if text_at(tokens, i + 1) == "more" else -1
        return bind(tokens, i, found, [{"plus": sign * number.value}])
    if [text_at(tokens, i + 1), text_at(tokens, i + 2)] == ["on", "top"] and len(numbers) == 1:
        return bind(tokens, i, found, [{"plus": number.value}])
    if text_at(tokens, first - 1) == "add" and len(numbers) == 1:
        return bind(tokens, i, found, [{"add": scaled(number, tokens[i])}])
    return bind(tokens, i, found, [scaled(token, tokens[i]) for token in numbers])


def _take(tokens: list[Token], label: int, j: int, found: Amounts) -> bool:
    """A value after its label, with those that follow in a list: `ranks 8, 16 and 32`."""
    taken = [j]
    while (
        text_at(tokens, taken[-1] + 1) in (",", "and", "/", "&", "or")
        and (further := number_at(tokens, taken[-1] + 2))
        and isinstance(further.value, int) == isinstance(tokens[j].value, int)
    ):
        taken.append(taken[-1] + 2)
    if (
        text_at(tokens, taken[-1] + 1) == ","
        and text_at(tokens, taken[-1] + 2) == "and"
        and number_at(tokens, taken[-1] + 3)
    ):
        taken.append(taken[-1] + 3)
    while len(taken) > 1 and _labels_next(tokens, taken[-1]):
        taken.pop()
    if any(text_at(tokens, k) == "or" for k in range(j, taken[-1])):
        found.unclear = (tokens[label].value, " or ".join(tokens[k].text for k in taken))
        return True
    for k in taken:
        tokens[k].used = True
    values = [scaled(tokens[k], tokens[label]) for k in taken]
    unit = tokens[taken[-1] + 1] if taken[-1] + 1 < len(tokens) else None
    limits = tokens[label].text == "limit" and unit is not None and unit.unit == "unit"
    if unit and unit.kind == "label" and unit.unit and (limits or set(unit.value) == set(tokens[label].value)):
        # `limit it to 50 questions`, `limit training to 50 steps`
        tokens[label].used = True
        return bind(tokens, taken[-1] + 1, found, values)
    return bind(tokens, label, found, values)


def _labels_next(tokens: list[Token], j: int) -> bool:
    """Whether the number at `j` stands before a label of its own, or is something other than a value."""
    k = j + 1
    while text_at(tokens, k) in _LEFT_FILLERS | {"more"}:
        k += 1
    if tokens[j].unit in ("x", "%") or (k < len(tokens) and tokens[k].kind == "bits"):
        return True
    return k < len(tokens) and tokens[k].kind == "label" and tokens[k].value[0] in NUMERIC and not tokens[k].used


def _apart(tokens: list[Token], labels: list[int], found: Amounts) -> None:
    """`no warmup`, `the default rank`, `the lr is too high, use 2e-4`: a label without a number beside it."""
    for i in labels:
        if tokens[i].used:
            continue
        bare = not tokens[i].unit and tokens[i].value[0] in _MAY_BE_NONE
        behind = i + 1 + (text_at(tokens, i + 1) in ("=", ":", "of", "is"))
        if bare and (
            text_at(tokens, i - 1) in ("no", "without", "zero") or text_at(tokens, behind) in ("none", "off", "no")
        ):
            bind(tokens, i, found, [0])
        elif tokens[i].value[0] in _LIMITS and _is_lifted(tokens, i):
            bind(tokens, i, found, [{"default": True}])  # `take away the step limit`
        elif any(text_at(tokens, k) in ("default", "defaults", "standard") for k in range(i - 1, i + 5)):
            bind(tokens, i, found, [{"default": True}])
    for j in range(1, len(tokens)):
        if text_at(tokens, j - 1) == "first" and (number := number_at(tokens, j)):  # `the first 10 only`
            number.used = True
            limit = ("prepare_dataset.limit", "run_eval.limit")
            found.values.append((limit, [scaled(number, Token("label", "", limit))], j))
    open_labels = [i for i in labels if not tokens[i].used]
    numbers = [j for j, token in enumerate(tokens) if token.kind == "number" and not token.used]
    if (
        len(open_labels) == 1
        and len(numbers) == 1
        and text_at(tokens, numbers[0] - 1) in ("use", "to", "try", "take", "it")
    ):
        tokens[numbers[0]].used = True
        bind(tokens, open_labels[0], found, [scaled(tokens[numbers[0]], tokens[open_labels[0]])])


def _is_lifted(tokens: list[Token], i: int) -> bool:
    """`take away the step limit`, with nothing between but articles."""
    j = i - 1
    while text_at(tokens, j) in ("the", "that", "this", "any", "my"):
        j -= 1
    return text_at(tokens, j) in _LIFTING


def _shared(tokens: list[Token], labels: list[int], found: Amounts) -> None:
    """`set the rank and alpha to 32`: a label without a number takes that of the next."""
    for i in labels:
        k = i + 2 + (text_at(tokens, i + 2) == "the")
        values = next((values for _, values, position in found.values if position == k and k in labels), None)
        if not tokens[i].used and not tokens[i].unit and values and text_at(tokens, i + 1) in ("and", "&", "/"):
            bind(tokens, i, found, list(values))


def _both(tokens: list[Token], labels: list[int], found: Amounts) -> None:
    """`double the rank and the batch size`: a label that follows one that is changed in proportion."""
    for i in labels:
        k = i - 2 - (text_at(tokens, i - 1) in ("the", "my"))
        change = next((values for _, values, position in found.values if position == k and k in labels), None)
        ends = text_at(tokens, i + 1) in ("", ".", ",", ";", "!", "please", "too", "\n", "then")
        related = ends and change is not None and isinstance(change[0], dict) and "times" in change[0]
        settled = any(token.kind == "number" and not token.used for token in tokens[i:])
        if related and not settled and not tokens[i].used and text_at(tokens, k + 1) in ("and", "&"):
            bind(tokens, i, found, list(change or []))


def _splits(tokens: list[Token], found: Amounts) -> None:
    """`80/20 split`: the smaller share is held out."""
    for j in range(len(tokens) - 2):
        one, other = number_at(tokens, j), number_at(tokens, j + 2)
        if one and other and text_at(tokens, j + 1) == "/" and one.value + other.value == 100:
            one.used = other.used = True
            found.values.append((_HELDOUT, [min(one.value, other.value) / 100], j))
    shares = [j for j, token in enumerate(tokens) if token.kind == "number" and token.unit == "%" and not token.used]
    for j, k in itertools.pairwise(shares):  # `90 % for training and 10 % for evaluation`
        if tokens[j].value + tokens[k].value == 100:
            tokens[j].used = tokens[k].used = True
            smaller = min(j, k, key=lambda n: tokens[n].value)
            found.values.append((_HELDOUT, [tokens[smaller].value / 100], smaller))


def _shares(tokens: list[Token], found: Amounts) -> None:
    """`with 5 percent held out`, `keep a fifth back for evaluation`: a share near a word for keeping apart."""
    for keys, _, position in found.values:
        if keys == _HELDOUT:
            _purpose(tokens, position)
    for j, token in enumerate(tokens):
        share = token.value / 100 if token.kind == "number" and token.unit == "%" else None
        apart = text_at(tokens, j + 1) in _ASIDE or (text_at(tokens, j + 1), text_at(tokens, j + 2)) == ("held", "out")
        if share is None and token.kind == "number" and 0 < token.value < 1 and apart:
            share = token.value  # `set 0.2 aside`
        if share is None and token.kind == "word" and _FACTORS.get(token.text, 1) < 1 and text_at(tokens, j - 1) == "a":
            share = _FACTORS[token.text]
        if share is None or token.used:
            continue
        near = [tokens[k] for k in range(max(0, j - 5), min(len(tokens), j + 6)) if k != j]
        if any(
            t.text in _APART
            or t.value in ("heldout", "run_eval")
            or (t.kind == "label" and "prepare_dataset.heldout_fraction" in t.value)
            for t in near
        ):
            token.used = True
            _purpose(tokens, j)
            found.values.append((_HELDOUT, [share], j))


def _purpose(tokens: list[Token], i: int) -> None:
    """`20 % for testing` orders no test: the words near a share that say what it is for order nothing."""
    for step in (-1, 1):
        k = i
        while 0 <= k < len(tokens) and abs(k - i) < 8 and text_at(tokens, k) not in (",", ".", ";", "and", "then"):
            if tokens[k].value in ("heldout", "run_eval"):
                tokens[k].kind, tokens[k].used = "filler", True
            k += step


def _compared(tokens: list[Token], i: int) -> str:
    """The word that asks for an amount and names none: `more epochs`, `a lower learning rate`, `a high rank`."""
    low_rate = tokens[i].value[0].endswith("learning_rate") and text_at(tokens, i - 1) == "low"  # `low rank` is LoRA
    if low_rate or (text_at(tokens, i - 1) in _VAGUE and tokens[i].value[0].startswith("finetune")):
        return tokens[i - 1].text
    for j in range(i - 1, max(-1, i - 4), -1):
        if (word := text_at(tokens, j)) in (_UP | _DOWN | _SETTING) - {"up", "cut", "drop", "down"}:
            return word
        if word not in _SMALL_WORDS:
            break
    return ""
