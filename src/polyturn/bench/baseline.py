"""What guessing scores: the program that prints one constant for all cases of a problem, the best one.

A benchmark whose answers are mostly yes or no is half passed by a guess; a score means something above that.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

from polyturn.bench import errata, original, strict
from polyturn.bench.mtpb import Problem, Problems

_ACCEPTS: dict[str, Callable[[object, object], bool]] = {"original": original.accepts, "strict": strict.accepts}


@dataclass(frozen=True)
class Baseline:
    """Pass rates from 0 to 1: the mean over a problem's cases, over problems. fair_pass_rate: over fair cases only."""

    pass_rate: float
    fair_pass_rate: float


def constant_guess(
    problems: Problems, grader: Literal["original", "strict"], only: Collection[tuple[str, int]] | None = None
) -> Baseline:
    """The pass rate of the best constant guess under a grader's comparison.

    A problem's guess is whichever of its expected values passes most of the cases that count. only: those to guess,
    each the id of its problem and its number; all by default.
    """
    applies = errata.is_mtpb(problems)
    accepts = _ACCEPTS[grader]
    everything, fair = [], []
    for problem in problems.problems:
        cases = [case for case in range(1, problem.cases + 1) if only is None or (problem.id, case) in only]
        if not cases:
            continue
        everything.append(_best(problem, cases, accepts))
        kept = [case for case in cases if not (applies and errata.unfair(problem.id, case))]
        if kept:
            fair.append(_best(problem, kept, accepts))
    return Baseline(sum(everything) / len(everything), sum(fair) / len(fair) if fair else 0.0)


def _best(problem: Problem, cases: list[int], accepts: Callable[[object, object], bool]) -> float:
    golds = [problem.gold(case) for case in cases]
    return max(sum(accepts(guess, gold) for gold in golds) for guess in golds) / len(golds)
