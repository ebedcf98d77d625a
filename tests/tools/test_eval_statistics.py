"""Intervals against published examples and against scipy; verdicts that don't claim too much."""

import math
import random

import pytest
from tunesmith.tools.eval_statistics import (
    FEWEST_CHANGES,
    corpus,
    corpus_difference,
    mean,
    mean_difference,
    paired_verdict,
    perplexity,
    perplexity_difference,
    proportion,
    proportion_difference,
    student_t,
)


def _pairs(both: int, tuned_only: int, base_only: int, neither: int) -> tuple[list[float], list[float]]:
    tuned = [1.0] * (both + tuned_only) + [0.0] * (base_only + neither)
    base = [1.0] * both + [0.0] * tuned_only + [1.0] * base_only + [0.0] * neither
    return tuned, base


@pytest.mark.parametrize(("hits", "n"), [(81, 263), (15, 148), (0, 20), (1, 29), (29, 29)])
def test_a_proportion_has_the_interval_that_scipy_gives(hits: int, n: int) -> None:
    from scipy.stats import binomtest

    expected = binomtest(hits, n).proportion_ci(method="wilson")
    found = proportion([1.0] * hits + [0.0] * (n - hits))
    assert found.value == hits / n
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        # Bentur et al. 2009 as worked out by Fagerland, Lydersen and Laake 2014: Newcombe's square-and-add interval.
        ((1, 1, 7, 12), (-0.507, -0.026)),
        # Altman et al., Statistics with Confidence, table 6.2.
        ((14, 5, 0, 22), (0.011, 0.226)),
    ],
)
def test_a_paired_difference_has_the_published_interval(
    table: tuple[int, int, int, int], expected: tuple[float, float]
) -> None:
    tuned, base = _pairs(*table)
    found = proportion_difference(tuned, base)
    assert found.value == pytest.approx((table[1] - table[2]) / sum(table))
    assert (found.low, found.high) == pytest.approx(expected, abs=5e-4)


def test_swapping_the_models_mirrors_the_difference() -> None:
    tuned, base = _pairs(9, 8, 2, 11)
    one, other = proportion_difference(tuned, base), proportion_difference(base, tuned)
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 10, 29, 499])
def test_student_t_is_that_of_scipy(degrees: int) -> None:
    from scipy.stats import t

    assert student_t(degrees) == pytest.approx(t.ppf(0.975, degrees), rel=2e-3)


def test_a_mean_has_the_t_interval_of_scipy() -> None:
    from scipy.stats import ttest_1samp, ttest_rel

    generator = random.Random(1)
    one, other = ([generator.random() for _ in range(25)] for _ in range(2))
    expected = ttest_1samp(one, 0).confidence_interval()
    found = mean(one, low=0.0, high=1.0)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-5)
    paired = ttest_rel(one, other).confidence_interval()
    gap = mean_difference(one, other)
    assert (gap.low, gap.high) == pytest.approx((paired.low, paired.high), rel=1e-4)


def test_a_mean_of_equal_scores_is_not_certain() -> None:
    found = mean([1.0] * 10, low=0.0, high=1.0)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(proportion([1.0] * 10).low)
    assert found.low < 0.75


def test_perplexity_is_taken_over_all_tokens_and_not_over_items() -> None:
    sums, counts = [-10.0, -40.0, -6.0], [5, 10, 6]
    found = perplexity(sums, counts)
    assert found.value == pytest.approx(math.exp(56 / 21))
    assert 1 <= found.low < found.value < found.high


def test_one_text_bounds_no_perplexity() -> None:
    found = perplexity([-10.0], [5])
    assert found.low == 1.0
    assert found.high > 1e300


def test_a_perplexity_that_falls_for_every_item_is_a_difference() -> None:
    base, counts = [-20.0 - i for i in range(12)], [5] * 12
    tuned = [-1.0 - 0.1 * i for i in range(12)]
    gap = perplexity_difference(tuned, base, counts, counts)
    assert gap.value == pytest.approx(perplexity(tuned, counts).value - perplexity(base, counts).value)
    assert gap.low < gap.value < gap.high < 0
    assert paired_verdict(gap, tuned, base, higher_is_better=False) == "better"
    assert paired_verdict(gap, tuned, base, higher_is_better=True) == "worse"


def test_five_changed_items_make_no_verdict_and_six_do() -> None:
    for changed, verdict in ((FEWEST_CHANGES - 1, "cannot tell"), (FEWEST_CHANGES, "better")):
        tuned, base = _pairs(0, changed, 0, 20)
        gap = proportion_difference(tuned, base)
        assert gap.low > 0
        assert paired_verdict(gap, tuned, base, higher_is_better=True) == verdict


def test_as_many_gained_as_lost_cannot_tell() -> None:
    tuned, base = _pairs(5, 7, 7, 5)
    assert paired_verdict(proportion_difference(tuned, base), tuned, base, higher_is_better=True) == "cannot tell"


def test_the_same_answers_differ_by_nothing() -> None:
    tuned, base = _pairs(12, 0, 0, 8)
    gap = proportion_difference(tuned, base)
    assert gap.value == 0
    assert gap.low <= 0 <= gap.high


def test_a_bootstrap_repeats_itself_and_holds_its_value() -> None:
    values = [random.Random(i).random() for i in range(40)]

    def aggregate(drawn: list[float]) -> float:
        return sorted(drawn)[len(drawn) // 2]

    found = corpus(values, aggregate)
    assert found == corpus(values, aggregate)
    assert found.low <= found.value <= found.high
    gap = corpus_difference(values, [value - 0.5 for value in values], aggregate)
    assert (gap.low, gap.value, gap.high) == pytest.approx((0.5, 0.5, 0.5))


def test_the_interval_of_a_difference_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = random.Random(7)
    covered = 0
    for _ in range(400):
        base = [float(generator.random() < 0.3) for _ in range(40)]
        tuned = [value if generator.random() < 0.5 else float(generator.random() < 0.5) for value in base]
        gap = proportion_difference(tuned, base)  # in truth 0.5 * 0.5 + 0.5 * 0.3 - 0.3 = 0.1
        covered += gap.low <= 0.1 <= gap.high
    assert covered >= 0.92 * 400
