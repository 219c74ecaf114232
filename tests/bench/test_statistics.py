"""Intervals against published and independently computed values."""

from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from polyturn.bench.statistics import interval, paired, wilson


@pytest.mark.parametrize(
    ("passed", "total", "low", "high"),
    [  # Newcombe 1998, table I, method 3 (Wilson without continuity correction)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_published_intervals(passed: int, total: int, low: float, high: float) -> None:
    assert wilson(passed, total) == pytest.approx((low, high), abs=5e-5)


def test_it_is_symmetric_and_within_bounds() -> None:
    for passed in range(31):
        low, high = wilson(passed, 30)
        assert 0 <= low <= passed / 30 <= high <= 1
        assert wilson(30 - passed, 30) == pytest.approx((1 - high, 1 - low))


def test_no_trials_say_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


# ---- bootstrap over problems


@pytest.mark.parametrize(("passed", "total"), [(0, 5), (1, 10), (3, 10), (29, 30), (40, 115), (164, 164)])
def test_one_sample_a_problem_gives_the_interval_of_jeffreys(passed: int, total: int) -> None:
    low, high = interval([1.0] * passed + [0.0] * (total - passed))
    exact = scipy.stats.beta.ppf([0.025, 0.975], passed + 0.5, total - passed + 0.5)
    error = 0.02 * (exact[1] - exact[0])  # of the draws
    assert low == pytest.approx(exact[0] if passed else 0.0, abs=error)
    assert high == pytest.approx(exact[1] if passed < total else 1.0, abs=error)


SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@given(SCORES, st.randoms())
def test_the_interval_holds_the_mean_and_knows_no_order(scores: list[float], random: Random) -> None:
    low, high = interval(scores)
    assert 0 <= low <= np.mean(scores) <= high <= 1
    assert low < high  # no number of problems makes certain
    random.shuffle(scores)
    assert interval(scores) == pytest.approx((low, high), abs=1e-12)


def test_the_interval_of_many_problems_is_the_normal_one() -> None:
    scores = np.random.default_rng(1).beta(2, 3, 1000)
    half = 1.96 * scores.std() / len(scores) ** 0.5
    assert interval(scores.tolist()) == pytest.approx((scores.mean() - half, scores.mean() + half), abs=0.05 * half)


@pytest.mark.parametrize("problems", [5, 30])
def test_the_interval_holds_the_truth_as_often_as_it_says(problems: int) -> None:
    random = np.random.default_rng(0)
    truth, held, trials = 0.1, 0, 300
    for _ in range(trials):  # rates of problems as of a weak model: most near 0, few high
        scores = random.binomial(5, random.beta(0.1, 0.9, problems)) / 5
        low, high = interval(scores.tolist())
        held += low <= truth <= high
    assert held / trials > 0.92  # the percentile bootstrap: 0.6 for 5 problems


def test_nothing_known_and_nothing_allowed() -> None:
    assert interval([]) == (0.0, 1.0)
    with pytest.raises(ValueError, match="not within"):
        interval([0.5, 1.5])


# ---- paired comparison


def named(scores: Sequence[float]) -> dict[str, float]:
    return {str(number): score for number, score in enumerate(scores)}


def test_only_shared_problems_are_compared() -> None:
    found = paired({"1": 1.0, "2": 0.5, "x": 0.0}, {"2": 0.0, "1": 0.5, "y": 1.0})
    assert found is not None
    assert (found.problems, found.difference) == (2, 0.5)
    assert paired({"1": 1.0}, {"2": 1.0}) is None


def test_it_is_antisymmetric() -> None:
    random = np.random.default_rng(0)
    a, b = named(random.random(40).tolist()), named(random.random(40).tolist())
    one, other = paired(a, b), paired(b, a)
    assert one is not None
    assert other is not None
    assert one.difference == pytest.approx(-other.difference)
    assert one.p_value == pytest.approx(other.p_value)
    assert one.ci95 == pytest.approx((-other.ci95[1], -other.ci95[0]), abs=0.005)
    assert one.ci95[0] < one.difference < one.ci95[1]


@pytest.mark.parametrize("problems", [4, 8, 11, 14])
def test_the_p_value_is_that_of_the_permutation_test(problems: int) -> None:
    random = np.random.default_rng(problems)
    a, b = random.integers(0, 6, problems) / 5 * 0.8 + 0.2, random.integers(0, 6, problems) / 5
    reference = scipy.stats.permutation_test(
        (a - b,), np.mean, permutation_type="samples", n_resamples=100_000, alternative="two-sided"
    )
    found = paired(named(a.tolist()), named(b.tolist()))
    assert found is not None
    assert found.p_value == pytest.approx(reference.pvalue, abs=1e-9 if problems <= 11 else 0.015)


def test_scores_that_are_equal_show_no_difference_but_leave_room_for_one() -> None:
    same = named([0.0, 0.5, 1.0] * 30)
    found = paired(same, same)
    assert found is not None
    assert (found.difference, found.p_value) == (0.0, 1.0)
    assert found.ci95[0] < 0 < found.ci95[1]
    assert found.smallest_detectable is not None
    assert 0 < found.smallest_detectable < 0.05


def test_the_smallest_detectable_difference_is_found_about_four_times_in_five() -> None:
    random = np.random.default_rng(0)
    problems, found, sizes, trials = 60, 0, [], 100
    effect = 0.106  # what `smallest_detectable` is on average in these comparisons, as the last line checks
    for _ in range(trials):
        rates = random.random(problems) * (1 - effect)
        a, b = random.binomial(5, rates + effect) / 5, random.binomial(5, rates) / 5
        result = paired(named(a.tolist()), named(b.tolist()))
        assert result is not None
        assert result.smallest_detectable is not None
        found += result.p_value <= 0.05
        sizes.append(result.smallest_detectable)
    assert np.mean(sizes) == pytest.approx(effect, abs=0.01)
    assert 0.7 < found / trials < 0.95


def test_five_problems_cannot_show_a_difference_at_the_level() -> None:
    a, b = named([1.0] * 5), named([0.0] * 5)
    few = paired(a, b)
    six = paired(a | {"6": 1.0}, b | {"6": 0.0})
    assert few is not None
    assert six is not None
    assert few.p_value > 0.05
    assert few.smallest_detectable is None
    assert six.p_value < 0.05
    assert six.smallest_detectable is not None
