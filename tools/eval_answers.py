"""How a written answer is compared with its reference."""

import re
from collections import Counter

__all__ = ["exact_match", "final_answer", "same_final_answer", "token_f1"]

# A run of letters and digits is a word; scripts written without spaces are taken sign by sign.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
_ARTICLES = frozenset({"a", "an", "the"})
_FINAL = re.compile(r"^####[ \t]*(\S.*?)[ \t]*$", re.MULTILINE)
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?|-?\.\d+")


def exact_match(answer: str, reference: str) -> float:
    """1 where both are the same text but for white space around them.

    >>> exact_match(" Paris\\n", "Paris"), exact_match("paris", "Paris")
    (1.0, 0.0)
    """
    return float(answer.strip() == reference.strip())


def token_f1(answer: str, reference: str) -> float:
    """Harmonic mean of precision and recall of the answer's words, from 0 to 1.

    As the evaluation of SQuAD 1.1 (Rajpurkar et al. 2016) has it: lower case, no punctuation, no English articles,
    each word counted as often as it occurs. Unlike there, punctuation separates words instead of vanishing between
    them, so that compact JSON is more than one word.

    >>> token_f1("It is the capital, Paris.", "Paris"), token_f1('{"x":1,"y":2}', '{"x":1,"y":3}')
    (0.4, 0.75)
    """
    said, meant = _words(answer), _words(reference)
    if not said or not meant:
        return float(said == meant)
    common = sum((said & meant).values())
    return 2 * common / (said.total() + meant.total())


def _words(text: str) -> Counter[str]:
    return Counter(word for word in _WORD.findall(text.lower()) if word not in _ARTICLES)


def final_answer(text: str) -> str | None:
    """What a line that begins with #### says at the end of a worked answer, the last one; None without such a line.

    >>> final_answer("16 - 3 - 4 = 9 eggs\\n#### 18")
    '18'
    """
    found = _FINAL.findall(text)
    return found[-1] if found else None


def same_final_answer(answer: str, reference: str) -> float:
    """1 where the answer ends in the reference's final answer, compared as a number where it is one.

    The answer's final one is what follows its last ####, else the last number in it.

    >>> same_final_answer("She makes 9 * 2 = $18.00 a day.", "18"), same_final_answer("#### 1,080", "1080")
    (1.0, 1.0)
    """
    numbers = _NUMBER.findall(answer)
    said = final_answer(answer) or (numbers[-1] if numbers else "")
    return float(_plain(said) == _plain(reference))


def _plain(text: str) -> str | float:
    bare = text.strip().strip("$€£ ").rstrip(".").replace(",", "")
    try:
        return float(bare)
    except ValueError:
        return bare.lower()
