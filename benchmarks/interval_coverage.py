"""How often do 95 % intervals hold the truth, for as few problems as benchmarks have?

    python benchmarks/interval_coverage.py

Each trial draws the pass rate of every problem from a beta distribution, whose mean is the truth, then n samples of
each problem, and builds an interval for the truth from the shares that passed, in five ways:

- percentile: bootstrap over problems, the middle 95 % of the resampled means;
- expanded: the same with the quantiles moved outwards for few problems (Hesterberg 2015, section 5.3);
- BCa: the same, corrected for bias and skew (Efron 1987);
- Wilson: the interval of a proportion, with as many trials as would give the variance seen (the effective sample size
  of Kish 1965), and fewer by the square of z / t for few problems (Korn and Graubard 1998);
- ours: `polyturn.bench.statistics.interval`.

An interval that leaves out the mean of its own scores is widened to it. Then: how often the interval of `paired` holds
the true difference and how often its test finds the smallest difference that it calls detectable; and how much too
good the best of three temperatures looks where all three are alike. The tables are those of docs/statistics.md; the
last line of output is one JSON object. About half a minute on one core.
"""

import json
import time
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np

from polyturn.bench import statistics
from polyturn.bench.statistics import interval, paired

SEED = 0
TRIALS = 200  # of each combination; 36 combinations for each number of problems
DRAWS = 1000  # of a bootstrap; ours has its own number, lowered to this
PROBLEMS = (5, 10, 30, 115, 164)  # the last two: MTPB and HumanEval
SAMPLES = (1, 5, 40, 200)
RATES = {  # parameters of the beta distribution of a problem's rate
    "any rate alike": (1, 1),
    "half never, half always": (0.05, 0.05),
    "mostly never or always": (0.5, 0.5),
    "all near one half": (5, 5),
    "all near one quarter": (20, 60),
    "1 in 10 solved": (0.1, 0.9),
    "1 in 26 solved": (0.02, 0.5),
    "all low": (0.5, 10),
    "all but solved": (100, 1),
}
WAYS = ("percentile", "expanded", "BCa", "Wilson", "ours")
T975 = {5: 2.776445, 10: 2.262157, 30: 2.045230, 115: 1.980992, 164: 1.974625}  # Student's t, one degree less
NORMAL = NormalDist()


def bca(means: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The bias-corrected and accelerated interval; a point where all scores are equal."""
    away = scores - scores.mean()
    squares = float(np.sum(away**2))
    skew = float(np.sum(away**3)) / (6 * squares**1.5) if squares else 0.0
    ties = np.abs(means - scores.mean()) < 1e-12
    below = float(np.mean((means < scores.mean()) & ~ties) + ties.mean() / 2)
    bias = NORMAL.inv_cdf(min(max(below, 1 / DRAWS), 1 - 1 / DRAWS))
    moved = [bias + z for z in (-statistics.Z95, statistics.Z95)]
    return np.quantile(means, [NORMAL.cdf(bias + m / (1 - skew * m)) for m in moved])


def wilson(scores: np.ndarray) -> tuple[float, float]:
    """Wilson's interval with the effective number of trials."""
    problems, mean = len(scores), float(scores.mean())
    variance = float(scores.var(ddof=1)) / problems
    trials = (mean * (1 - mean) / variance if variance else problems) * (statistics.Z95 / T975[problems]) ** 2
    square = statistics.Z95**2
    middle = (mean + square / (2 * trials)) / (1 + square / trials)
    half = np.sqrt(max(mean * (1 - mean), 0) * square / trials + (square / (2 * trials)) ** 2) / (1 + square / trials)
    return middle - half, middle + half


def intervals(scores: np.ndarray, weights: np.ndarray) -> dict[str, Sequence[float] | np.ndarray]:
    """The interval of each way; weights: how often each problem is drawn, over the number of problems, [DRAWS, N]."""
    problems = len(scores)
    means = weights @ scores
    outer = NORMAL.cdf(-((problems / (problems - 1)) ** 0.5) * T975[problems])
    return {
        "percentile": np.quantile(means, [0.025, 0.975]),
        "expanded": np.quantile(means, [outer, 1 - outer]),
        "BCa": bca(means, scores),
        "Wilson": wilson(scores),
        "ours": interval(scores.tolist()),
    }


def coverage(random: np.random.Generator) -> list[dict[str, object]]:
    """For each number of problems and way: coverage on average and at worst, and the mean width."""
    rows: list[dict[str, object]] = []
    for problems in PROBLEMS:
        held: dict[str, list[float]] = {way: [] for way in WAYS}
        width: dict[str, list[float]] = {way: [] for way in WAYS}
        weights = random.multinomial(problems, np.full(problems, 1 / problems), DRAWS) / problems
        for a, b in RATES.values():
            for samples in SAMPLES:
                found: dict[str, list[tuple[bool, float]]] = {way: [] for way in WAYS}
                for _ in range(TRIALS):
                    scores = random.binomial(samples, random.beta(a, b, problems)) / samples
                    for way, (low, high) in intervals(scores, weights).items():
                        low, high = min(low, scores.mean()), max(high, scores.mean())
                        found[way].append((bool(low <= a / (a + b) <= high), high - low))
                for way in WAYS:
                    hit, wide = np.mean(found[way], axis=0)
                    held[way].append(float(hit))
                    width[way].append(float(wide))
        for way in WAYS:
            rows.append(
                {
                    "problems": problems,
                    "interval": way,
                    "coverage": np.mean(held[way]),
                    "worst": min(held[way]),
                    "width": np.mean(width[way]),
                }
            )
    return rows


# ---- paired comparison


PAIRS: dict[str, Callable[[np.random.Generator, np.ndarray], np.ndarray]] = {
    "equal": lambda random, rates: rates,
    "3 % of the problems newly solved": lambda random, rates: np.where(random.random(rates.shape) < 0.03, 1.0, rates),
    "a fifth of the problems drawn anew": lambda random, rates: np.where(
        random.random(rates.shape) < 0.2, random.beta(0.5, 0.5, rates.shape), rates
    ),
    "other model altogether": lambda random, rates: random.beta(0.5, 0.5, rates.shape),
}
EFFECTS = {"equal": 0.0, "3 % of the problems newly solved": 0.03 * 0.5}


def named(scores: np.ndarray) -> dict[str, float]:
    """Scores by problem, as `paired` takes them."""
    return {str(number): float(score) for number, score in enumerate(scores)}


def pairs(random: np.random.Generator) -> list[dict[str, object]]:
    """Coverage of the interval of a difference, and the power of its test at what it calls detectable."""
    rows: list[dict[str, object]] = []
    for problems in PROBLEMS:
        for samples in (1, 5, 40):
            held = []
            for name, other in PAIRS.items():
                for _ in range(TRIALS // 2):
                    rates = random.beta(0.5, 0.5, problems)
                    a = random.binomial(samples, other(random, rates)) / samples
                    found = paired(named(a), named(random.binomial(samples, rates) / samples))
                    assert found is not None
                    low, high = found.ci95
                    held.append(low <= EFFECTS.get(name, 0.0) <= high)
            size, power = detectable(random, problems, samples)
            rows.append(
                {
                    "problems": problems,
                    "samples": samples,
                    "coverage": np.mean(held),
                    "smallest_detectable": size,
                    "power": power,
                }
            )
    return rows


def detectable(random: np.random.Generator, problems: int, samples: int) -> tuple[float | None, float | None]:
    """The smallest detectable difference, and how often the test finds a true difference of that size.

    A fifth of the problems have other rates for a, and all rates of a are moved towards 1. The size depends on the
    difference that is there, so it is sought by turns.
    """
    size: float | None = 0.3
    power = None
    for trials in (40, 40, 40, TRIALS):
        if size is None:
            return None, None
        shift = min(1.0, size / 0.5)  # of the way to 1, from rates of mean 0.5
        sizes, found = [], 0
        for _ in range(trials):
            rates = random.beta(0.5, 0.5, problems)
            anew = np.where(random.random(problems) < 0.2, random.beta(0.5, 0.5, problems), rates)
            a = random.binomial(samples, anew + (1 - anew) * shift) / samples
            result = paired(named(a), named(random.binomial(samples, rates) / samples))
            assert result is not None
            sizes.append(result.smallest_detectable)
            found += result.p_value <= 0.05
        power = found / trials
        size = None if None in sizes else float(np.mean(sizes))
    return size, power


def selection(random: np.random.Generator) -> list[dict[str, object]]:
    """How much the best of three temperatures that are all alike is above the truth, in points of a hundred."""
    rows: list[dict[str, object]] = []
    for problems in (30, 115, 164):
        for samples in (1, 5, 40, 200):
            rates = random.beta(0.3, 0.7, (1000, 1, problems))
            passed = random.binomial(samples, np.broadcast_to(rates, (1000, 3, problems))) / samples
            best = passed.mean(axis=2).max(axis=1)
            bias = 100 * float(np.mean(best - rates.mean(axis=2)[:, 0]))
            rows.append({"problems": problems, "samples": samples, "bias": bias})
    return rows


# ---- printing


def table(rows: list[dict[str, object]], formats: dict[str, str]) -> str:
    """A Markdown table of the columns in `formats`."""
    lines = ["| " + " | ".join(formats) + " |", "|" + " ---: |" * len(formats)]
    for row in rows:
        cells = ["none" if row[name] is None else format(row[name], form) for name, form in formats.items()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    statistics.DRAWS = DRAWS
    began = time.monotonic()
    random = np.random.default_rng(SEED)
    covered = coverage(random)
    print(table(covered, {"problems": "", "interval": "", "coverage": ".3f", "worst": ".3f", "width": ".3f"}), "\n")
    compared = pairs(random)
    forms = {"problems": "", "samples": "", "coverage": ".3f", "smallest_detectable": ".3f", "power": ".2f"}
    print(table(compared, forms), "\n")
    chosen = selection(random)
    print(table(chosen, {"problems": "", "samples": "", "bias": ".2f"}), "\n")
    seconds = round(time.monotonic() - began, 1)
    whole = {"coverage": covered, "paired": compared, "best of three temperatures": chosen}
    rounded = {
        name: [{k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()} for row in rows]
        for name, rows in whole.items()
    }
    print(json.dumps({**rounded, "trials": TRIALS, "draws": DRAWS, "seed": SEED, "seconds": seconds}))


if __name__ == "__main__":
    main()
