"""Numbers with the uncertainty that belongs to them.

The unit is the problem. Samples of one problem resemble each other, so they never count as independent trials: what a
score says about other problems of the kind is limited by how many problems there are, whatever the number of samples.

Intervals are by bootstrap over problems, in Rubin's smooth form (1981, "The Bayesian bootstrap"): instead of drawing
problems with replacement, each draw weighs them by a flat Dirichlet distribution. The plain percentile bootstrap fails
where it is needed most. For few problems it is too narrow, and where all scores are 0 it says that the rate is 0 for
certain. So half a problem is put at each end of the range. With one sample of each problem this is Jeffreys' interval
of a proportion (Brown, Cai and DasGupta 2001 recommend it, and Wilson's, for few trials); with 115 problems it is some
3 % wider than the plain bootstrap. `benchmarks/interval_coverage.py` measures how often each kind of interval holds the
truth; docs/statistics.md has its table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import sqrt

import numpy as np

Z95 = 1.959963984540054  # two-sided 95 % of a normal
Z80 = 0.8416212335729143  # 80 % of the normal lie below it
DRAWS = 10_000  # puts the ends of an interval within 1 % of its width
SEED = 0
EXACT = 12  # up to 4,096 ways to choose the signs are all tried


def wilson(passed: int, total: int, z: float = Z95) -> tuple[float, float]:
    """The Wilson score interval of a proportion: sound for few trials and near 0 or 1, unlike the normal one.

    (Wilson 1927; Brown, Cai and DasGupta 2001 recommend it for n up to 40 and find it sound beyond.)
    """
    if total == 0:
        return 0.0, 1.0
    p = passed / total
    middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    # at the ends the formula gives 0 and 1 but for rounding
    return (0.0 if passed == 0 else middle - half), (1.0 if passed == total else middle + half)


def interval(scores: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean score over problems like these.

    Args:
        scores: one for each problem, each from 0 to 1: a pass rate, or a pass@k. Their order does not matter.

    Returns:
        The two ends. The same scores give the same interval; no scores give (0, 1).
    """
    return _ends(_means(scores, 0.0, 1.0), scores) if len(scores) else (0.0, 1.0)


@dataclass(frozen=True)
class Paired:
    """How much better a is than b on the same problems.

    problems: how many both have. difference: the mean of a minus b. ci95: its interval. p_value: of the sign-flip
    permutation test, two-sided. smallest_detectable: the true difference that the test finds at the 5 % level in about
    4 of 5 such comparisons (fewer, if there are fewer than 30 problems); None below 6 problems, where it finds none.
    """

    problems: int
    difference: float
    ci95: tuple[float, float]
    p_value: float
    smallest_detectable: float | None


def paired(a: Mapping[str, float], b: Mapping[str, float]) -> Paired | None:
    """Compare scores from 0 to 1 by problem, over the problems that both have; None where there are none.

    The test asks how often a difference as large comes about if it does not matter which of the two is called a. With
    m problems that differ, its p-value is never below 2 / 2^m.
    """
    shared = sorted(a.keys() & b.keys())
    if not shared:
        return None
    differences = np.array([a[problem] - b[problem] for problem in shared])
    means = _means(differences, -1.0, 1.0)
    reachable = 2 / 2 ** len(shared) <= 0.05
    return Paired(
        problems=len(shared),
        difference=float(differences.mean()),
        ci95=_ends(means, differences),
        p_value=_sign_flip(differences),
        smallest_detectable=min(1.0, (Z95 + Z80) * float(means.std())) if reachable else None,
    )


def _means(values: Sequence[float] | np.ndarray, least: float, most: float) -> np.ndarray:
    """Means of `values` under random weights, float64 [DRAWS]; half a value more at `least` and at `most`.

    The weight of equal values is drawn at once: flat Dirichlet weights are gamma variables over their sum, and the sum
    of m of them has shape m.
    """
    distinct, counts = np.unique([least, most, *values], return_counts=True)
    if distinct[0] < least or distinct[-1] > most:
        raise ValueError(f"scores from {distinct[0]} to {distinct[-1]} are not within [{least}, {most}]")
    shape = counts.astype(np.float64)
    shape[[0, -1]] -= 0.5
    weights = np.random.default_rng(SEED).standard_gamma(shape, (DRAWS, len(shape)))
    return (weights * distinct).sum(axis=1) / weights.sum(axis=1)  # no `@`: its rounding differs between machines


def _ends(means: np.ndarray, values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """The middle 95 % of `means`, widened to hold the mean of `values`, which may be at the end of the range."""
    low, high = np.quantile(means, [0.025, 0.975])
    mean = np.mean(values)
    return float(min(low, mean)), float(max(high, mean))


def _sign_flip(differences: np.ndarray) -> float:
    """Two-sided p-value of the mean difference under random signs (Fisher 1935, section 21).

    Few signs are all tried. Of many, DRAWS are, and the signs as they are count as one more, so that p is never 0
    (Phipson and Smyth 2010).
    """
    sizes = np.abs(differences[differences != 0])
    if len(sizes) <= EXACT:
        signs = np.array(list(product((-1.0, 1.0), repeat=len(sizes)))).reshape(2 ** len(sizes), len(sizes))
    else:
        signs = 2.0 * np.random.default_rng(SEED).integers(0, 2, (DRAWS, len(sizes))) - 1.0
    reached = int(
        np.sum(np.abs((signs * sizes).sum(axis=1)) >= abs(differences.sum()) - 1e-9)
    )  # equal sums but for rounding
    return reached / len(signs) if len(sizes) <= EXACT else (reached + 1) / (DRAWS + 1)
