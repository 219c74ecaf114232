"""What several runs say together: the best temperature of each k, differences of modes and of models."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from polyturn.bench.results import GRADING, SAMPLING, Run
from polyturn.bench.statistics import Paired, paired


@dataclass(frozen=True)
class Best:
    """The temperature at which a model does best at k; `runs` are all it was chosen from, `run` is the best."""

    k: int
    run: Run
    runs: tuple[Run, ...]

    @property
    def pass_at(self) -> float:
        """The estimate at that temperature."""
        return self.run.pass_at[str(self.k)]

    @property
    def ci95(self) -> tuple[float, float]:
        """Its interval, which does not know that the temperature was chosen."""
        return self.run.pass_at_ci95[str(self.k)]


@dataclass(frozen=True)
class Comparison:
    """How much better `a` is than `b`, which differ in the mode, or in the model and perhaps in settings.

    settings: the names of settings in which they differ besides.
    """

    of: Literal["mode", "model"]
    a: Run
    b: Run
    paired: Paired
    settings: tuple[str, ...] = ()


def best_temperatures(runs: Iterable[Run]) -> list[Best]:
    """For each model, mode and k the temperature with the highest pass@k, as the CodeGen paper reports it.

    Partial runs are chosen from only where all are partial, since the samples that are there may be the easy ones. Of
    equal temperatures the lowest is taken.
    """
    best: list[Best] = []
    for group in _groups(runs, "temperature"):
        for k in sorted({int(k) for run in group for k in run.pass_at}):
            having = [run for run in group if str(k) in run.pass_at]
            whole = [run for run in having if not run.partial] or having
            order = sorted(whole, key=lambda run: (run.temperature is None, run.temperature or 0.0))
            best.append(Best(k, max(order, key=lambda run: run.pass_at[str(k)]), tuple(order)))
    return best


def compare(runs: Sequence[Run]) -> list[Comparison]:
    """Differences of pass rate on the same problems, all else equal.

    Of modes: `multi`, or the first where it is not there, less each of the others. Of models, or of one model with
    other settings, such as its seed: each of the others less the first that is given.
    """
    pairs: list[tuple[Literal["mode", "model"], Run, Run]] = []
    for group in _groups(runs, "mode"):
        base = next((run for run in group if run.mode == "multi"), group[0])
        pairs.extend(("mode", base, run) for run in group if run is not base)
    for group in _groups(runs, "model", "digest", "sampling"):
        pairs.extend(("model", run, group[0]) for run in group[1:])
    found: list[Comparison] = []
    for of, a, b in pairs:
        result = paired(a.scores, b.scores)
        if result is not None:  # the two have problems in common
            found.append(Comparison(of, a, b, result, differing([a, b])))
    return found


def differing(runs: Sequence[Run]) -> tuple[str, ...]:
    """The names of settings that are not the same in all these runs."""
    first = runs[0].settings
    return tuple(name for name in SAMPLING + GRADING if any(run.settings.get(name) != first.get(name) for run in runs))


def _groups(runs: Iterable[Run], *fields: str) -> list[list[Run]]:
    """Runs that differ in these fields of their keys only, in the order in which they come."""
    groups: defaultdict[tuple[object, ...], list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.key._replace(**dict.fromkeys(fields))].append(run)  # pyright: ignore[reportArgumentType]
    return list(groups.values())
