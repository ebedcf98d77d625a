"""What a score is worth: 95 % intervals, the paired difference of two models on the same items, and a verdict.

Three kinds of metric, by what one item gives:

- a proportion: 0 or 1 per item (accuracy, exact match)
- a mean: any number per item (token F1, a log-likelihood)
- a perplexity: a sum of log-probabilities and a count of tokens per item; the metric is exp(-sum / count) over all

and, for what lm-eval computes over all items at once (BLEU, F1 of a class), any function of all values. Formulas are
closed and draws are seeded, so the same values always give the same interval.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

__all__ = [
    "FEWEST_CHANGES",
    "Estimate",
    "Verdict",
    "corpus",
    "corpus_difference",
    "mean",
    "mean_difference",
    "paired_verdict",
    "perplexity",
    "perplexity_difference",
    "proportion",
    "proportion_difference",
    "student_t",
]

Verdict = Literal["better", "worse", "cannot tell", "unknown base"]

_Z = NormalDist().inv_cdf(0.975)

_RESAMPLES = 1000

FEWEST_CHANGES = 6
"""Fewer items than this that differ never make a verdict: a two-sided sign test at 5 % can't reject on them
(2 / 2**5 = 0.0625, 2 / 2**6 = 0.031)."""


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval, in the unit of its metric."""

    value: float
    low: float
    high: float


def proportion(values: Sequence[float]) -> Estimate:
    """The share of ones, with Wilson's score interval.

    `values` lie between 0 and 1. For values between the ends (a mean of several 0/1 judgements) the interval is
    too wide, never too narrow, as no variable on [0, 1] varies more than a 0/1 one.

    Source: Wilson 1927, JASA 22; method 3 of Newcombe 1998, Statistics in Medicine 17:857.

    >>> proportion([1] * 81 + [0] * 182)  # Newcombe's example: 0.2553 to 0.3662
    Estimate(value=0.3079..., low=0.2552..., high=0.3662...)
    """
    n, p = len(values), math.fsum(values) / len(values)
    center = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2)) / (1 + _Z**2 / n)
    return Estimate(p, min(p, max(0.0, center - half)), max(p, min(1.0, center + half)))


def proportion_difference(tuned: Sequence[float], base: Sequence[float]) -> Estimate:
    """Share of ones in `tuned` less that in `base`, item by item of the same items.

    Both Wilson intervals are combined with the correlation of the two series, lessened by Newcombe's continuity
    correction. Source: method 10 of Newcombe 1998, Statistics in Medicine 17:2635.
    """
    n = len(tuned)
    t, b = proportion(tuned), proportion(base)
    spread = t.value * (1 - t.value) * b.value * (1 - b.value)
    # n * sum(xy) - sum(x) * sum(y) is Newcombe's `ad - bc`.
    together = n * math.fsum(x * y for x, y in zip(tuned, base, strict=True)) - math.fsum(tuned) * math.fsum(base)
    if together > 0:
        together = max(together - n / 2, 0.0)
    phi = together / (n**2 * math.sqrt(spread)) if spread > 0 else 0.0
    value = t.value - b.value
    below = _combine(t.value - t.low, b.high - b.value, phi)
    above = _combine(t.high - t.value, b.value - b.low, phi)
    return Estimate(value, max(-1.0, value - below), min(1.0, value + above))


def _combine(x: float, y: float, correlation: float) -> float:
    return math.sqrt(max(0.0, x * x - 2 * correlation * x * y + y * y))


def mean(values: Sequence[float], *, low: float = -math.inf, high: float = math.inf) -> Estimate:
    """The mean with Student's t interval, cut to the metric's range `low`..`high`.

    Where all values are equal they tell nothing about their spread: a metric on [0, 1] then gets the interval of
    a proportion, any other (and a single item) none narrower than its whole range.
    """
    average = math.fsum(values) / len(values)
    half = _half_width([value - average for value in values])
    if half == 0 or len(values) == 1:
        if (low, high) == (0, 1):
            return proportion(values)
        half = half if len(values) > 1 else math.inf
    return Estimate(average, max(low, average - half), min(high, average + half))


def mean_difference(tuned: Sequence[float], base: Sequence[float]) -> Estimate:
    """Mean of the item-by-item differences, with Student's t interval."""
    return mean([t - b for t, b in zip(tuned, base, strict=True)])


def perplexity(log_probabilities: Sequence[float], counts: Sequence[int]) -> Estimate:
    """exp(-sum of log-probabilities / sum of counts): the perplexity per token over all items.

    The mean per token is a ratio of two sums over items, so its spread comes from the items' residuals (ratio
    estimator: Cochran 1977, Sampling Techniques, section 2.11), with a t interval, then exp of its ends.
    """
    nats = _ratio([-value for value in log_probabilities], counts)
    return Estimate(_exp(nats.value), _exp(nats.low), _exp(nats.high))


def perplexity_difference(
    tuned: Sequence[float], base: Sequence[float], tuned_counts: Sequence[int], base_counts: Sequence[int]
) -> Estimate:
    """Perplexity of tuned less that of base.

    The interval is that of the ratio of the two, taken times the base's perplexity: perplexities spread over
    orders of magnitude, ratios of them don't, and it leaves out 0 exactly where the ratio's leaves out 1.
    """
    n = len(tuned)
    rate_t = -math.fsum(tuned) / sum(tuned_counts)
    rate_b = -math.fsum(base) / sum(base_counts)
    average_t, average_b = sum(tuned_counts) / n, sum(base_counts) / n
    residuals = [
        (-lt - rate_t * ct) / average_t - (-lb - rate_b * cb) / average_b
        for lt, lb, ct, cb in zip(tuned, base, tuned_counts, base_counts, strict=True)
    ]
    delta, half = rate_t - rate_b, _half_width(residuals) if n > 1 else math.inf
    scale = _exp(rate_b)
    return Estimate(
        _exp(rate_t) - scale, scale * math.expm1(max(delta - half, -700.0)), scale * (_exp(delta + half) - 1)
    )


def corpus(values: Sequence[Any], aggregate: Callable[[list[Any]], float]) -> Estimate:
    """A metric over all items, with the percentile interval of a bootstrap.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
    """
    drawn = sorted(aggregate([values[i] for i in picks]) for picks in _resamples(len(values)))
    return _percentiles(aggregate(list(values)), drawn)


def corpus_difference(tuned: Sequence[Any], base: Sequence[Any], aggregate: Callable[[list[Any]], float]) -> Estimate:
    """Tuned less base of a metric over all items, both drawn anew from the same items each time."""
    drawn = sorted(
        aggregate([tuned[i] for i in picks]) - aggregate([base[i] for i in picks]) for picks in _resamples(len(tuned))
    )
    return _percentiles(aggregate(list(tuned)) - aggregate(list(base)), drawn)


def _resamples(n: int) -> list[list[int]]:
    generator = random.Random(0)
    return [generator.choices(range(n), k=n) for _ in range(_RESAMPLES)]


def _percentiles(value: float, drawn: Sequence[float]) -> Estimate:
    tail = round(0.025 * len(drawn))
    return Estimate(value, min(value, drawn[tail]), max(value, drawn[-1 - tail]))


def paired_verdict(
    difference: Estimate, tuned: Sequence[Any], base: Sequence[Any], *, higher_is_better: bool
) -> Verdict:
    """What the difference shows: better, worse, or cannot tell.

    It can tell where the interval leaves out 0 and at least `FEWEST_CHANGES` items differ. `tuned` and `base`
    are the values per item.
    """
    changed = sum(t != b for t, b in zip(tuned, base, strict=True))
    if changed < FEWEST_CHANGES or difference.low <= 0 <= difference.high:
        return "cannot tell"
    return "better" if (difference.value > 0) == higher_is_better else "worse"


def student_t(degrees: int) -> float:
    """The 97.5 % point of Student's t with that many degrees of freedom.

    Exact for 1 and 2 degrees; from 3 on the expansion around the normal (Abramowitz and Stegun 26.7.5), off by at
    most 0.2 % at 3 degrees and less with every further one.

    >>> [round(student_t(degrees), 2) for degrees in (1, 2, 5, 29)]
    [12.71, 4.3, 2.57, 2.05]
    """
    if degrees == 1:
        return math.tan(math.pi * 0.475)
    if degrees == 2:
        return 0.95 * math.sqrt(2 / (1 - 0.95**2))
    z = _Z
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / degrees ** (power + 1) for power, term in enumerate(terms))


def _half_width(residuals: Sequence[float]) -> float:
    """Half the 95 % interval of a mean whose items lie `residuals` away from it; 0 for a single item."""
    n = len(residuals)
    if n == 1:
        return 0.0
    return student_t(n - 1) * math.sqrt(math.fsum(value * value for value in residuals) / (n - 1) / n)


def _ratio(values: Sequence[float], counts: Sequence[int]) -> Estimate:
    n, rate = len(values), math.fsum(values) / sum(counts)
    average = sum(counts) / n
    half = _half_width([(x - rate * c) / average for x, c in zip(values, counts, strict=True)]) if n > 1 else math.inf
    return Estimate(rate, max(0.0, rate - half), rate + half)


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))
