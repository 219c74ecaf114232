"""From graded samples to scores, and the file that keeps them.

    run = summarise(outcomes, benchmark="mtpb", ..., expected={"1": 5, "2": 5}, ks=(1, 10))
    write_results(folder, [run])         # folder/results.json
    read_results(folder)

A score is a mean over problems, of means over the cases of a problem, of means over the samples of a case: every
problem counts the same, as in the CodeGen paper. Results hold no time or date, so two equal runs give equal bytes;
rates have 6 digits.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

from polyturn.bench.passk import pass_at_k
from polyturn.bench.samples import WHOLE
from polyturn.bench.statistics import interval
from polyturn.utils.atomic import write_text
from polyturn.utils.errors import UserError

SCHEMA = 1
FILE = "results.json"
DIGITS = 6
SAMPLING = ("seed", "top_p", "max_tokens", "endpoint", "chat", "protocol")  # settings that samples depend on
GRADING = ("grader_version", "limits", "isolation", "packages", "versions")  # settings that verdicts depend on
TOO_LONG = "context"  # the verdict on a sample that the model's context cut off: it is not run, and not passed

type Interval = tuple[float, float]


@dataclass(frozen=True)
class Outcome:
    """One graded sample.

    fair: whether a right program passes the case. verdict: of the sandbox, or TOO_LONG; the sandbox's own failures
    (internal-error) are never an outcome.
    """

    problem: str
    case: int
    sample: int
    passed: bool
    fair: bool = True
    verdict: str = ""


@dataclass(frozen=True)
class Run:
    """The scores of one model on one benchmark, asked in one mode at one temperature, by one grader.

    Rates are from 0 to 1, intervals are of 95 % over problems (`statistics.interval`).

    temperature: None where it is not known. n: samples that each case should have. problems, cases, samples: how many
    the score is over. missing: samples that are not there, which makes the run partial. fair_...: without the cases
    that no right program passes; None where that leaves out nothing, or everything. pass_at: by k; a k for which some
    case has too few samples is not there. scores: the pass rate of each problem. baseline: the pass rate of a constant
    guess on the same cases, fair_baseline on the fair ones of them. settings: all that is needed to repeat the run, as
    JSON values; `digest` is the model's, `data` the data file's, `samples` that of the file of samples, `shard` which
    part of a run's samples these are.
    """

    benchmark: str
    model: str
    mode: str
    grader: str
    temperature: float | None
    n: int
    problems: int
    cases: int
    samples: int
    missing: int
    pass_rate: float
    ci95: Interval
    fair_pass_rate: float | None
    fair_ci95: Interval | None
    pass_at: dict[str, float]
    pass_at_ci95: dict[str, Interval]
    baseline: float | None
    fair_baseline: float | None
    verdicts: dict[str, int]
    scores: dict[str, float]
    fair_scores: dict[str, float]
    settings: dict[str, Any]

    @property
    def partial(self) -> bool:
        """Whether samples are missing."""
        return self.missing > 0

    @property
    def shard(self) -> str | None:
        """Which part of a run this is, i/n; None for a whole one."""
        shard = self.settings.get("shard", WHOLE)
        return None if shard == WHOLE else shard

    @property
    def key(self) -> "RunKey":
        """What tells the run from others."""
        digest, data = self.settings.get("digest"), self.settings.get("data")
        sampling = _digest([self.settings.get(name) for name in SAMPLING])[:8]
        return RunKey(self.benchmark, data, self.model, digest, sampling, self.mode, self.grader, self.temperature)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the samples, the grader and the scores: of what a study of the run is a study of."""
        return _digest([self.settings.get("samples"), self.grader, self.scores])

    @property
    def too_long(self) -> int:
        """Samples for which the model's context was too short."""
        return self.verdicts.get(TOO_LONG, 0)


class RunKey(NamedTuple):
    """Two runs of one key are the same run."""

    benchmark: str
    data: str | None
    model: str
    digest: str | None
    sampling: str
    mode: str
    grader: str
    temperature: float | None

    def __str__(self) -> str:
        heat = "" if self.temperature is None else f" at temperature {self.temperature!r}"
        return f"{self.benchmark} by {self.model}, mode {self.mode}{heat}, grader {self.grader}"


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


# ---- summing up


def summarise(
    outcomes: Iterable[Outcome],
    *,
    benchmark: str,
    model: str,
    mode: str,
    grader: str,
    temperature: float | None,
    n: int,
    ks: Sequence[int],
    expected: Mapping[str, int],
    settings: Mapping[str, Any],
    baseline: float | None = None,
    fair_baseline: float | None = None,
) -> Run:
    """Score graded samples; see `Run`.

    Args:
        outcomes: in any order; they may be fewer than expected.
        expected: how many cases each problem has.
        n: samples that each case should have. More are scored too, and make up for none that are missing elsewhere.
        ks: for which k to estimate pass@k: for each case, then averaged over cases and problems.

    Raises:
        UserError: there is no outcome, one is there twice, or one is of a problem or case that is not expected.
    """
    seen: set[tuple[str, int, int]] = set()
    passed: defaultdict[str, defaultdict[int, list[bool]]] = defaultdict(lambda: defaultdict(list))
    fair: dict[tuple[str, int], bool] = {}
    verdicts: Counter[str] = Counter()
    for outcome in outcomes:
        key = (outcome.problem, outcome.case, outcome.sample)
        if key in seen:
            raise UserError(
                f"Sample {key[2]} of problem {key[0]}, case {key[1]}, was graded twice; remove one of the two."
            )
        seen.add(key)
        passed[outcome.problem][outcome.case].append(outcome.passed)
        fair[key[:2]] = outcome.fair
        verdicts[outcome.verdict] += 1
    if not seen:
        raise UserError(f"There is no sample of {benchmark} to score; draw some with `polyturn bench run`.")
    for problem, cases in passed.items():
        if len(cases) > expected.get(problem, 0):
            raise UserError(
                f"{len(cases)} cases of problem {problem} were graded, but {benchmark} has {expected.get(problem, 0)}; "
                "give the data file that the samples were drawn with."
            )
    ordered = {problem: passed[problem] for problem in expected if problem in passed}
    scores = _scores(ordered, _rate)
    unfair = {key for key, is_fair in fair.items() if not is_fair}
    only_fair = {p: {c: all_ for c, all_ in cases.items() if (p, c) not in unfair} for p, cases in ordered.items()}
    fair_scores = _scores(only_fair, _rate) if unfair else {}
    least = min(len(samples) for cases in ordered.values() for samples in cases.values())
    pass_at = {str(k): _scores(ordered, lambda samples, k=k: _pass_at(samples, k)) for k in sorted(ks) if k <= least}
    there = sum(min(n, len(samples)) for cases in ordered.values() for samples in cases.values())
    return Run(
        benchmark=benchmark,
        model=model,
        mode=mode,
        grader=grader,
        temperature=temperature,
        n=n,
        problems=len(ordered),
        cases=sum(map(len, ordered.values())),
        samples=len(seen),
        missing=n * sum(expected.values()) - there,
        pass_rate=_mean(scores),
        ci95=_interval(scores),
        fair_pass_rate=_mean(fair_scores) if fair_scores else None,
        fair_ci95=_interval(fair_scores) if fair_scores else None,
        pass_at={k: _mean(by_problem) for k, by_problem in pass_at.items()},
        pass_at_ci95={k: _interval(by_problem) for k, by_problem in pass_at.items()},
        baseline=None if baseline is None else round(baseline, DIGITS),
        fair_baseline=round(fair_baseline, DIGITS) if fair_scores and fair_baseline is not None else None,
        verdicts=dict(sorted(verdicts.items())),
        scores=_rounded(scores),
        fair_scores=_rounded(fair_scores),
        settings=dict(settings),
    )


type Cases = Mapping[int, Sequence[bool]]


def _scores(problems: Mapping[str, Cases], of_case: Callable[[Sequence[bool]], float]) -> dict[str, float]:
    """The mean over its cases of each problem that has any."""
    return {name: sum(map(of_case, cases.values())) / len(cases) for name, cases in problems.items() if cases}


def _rate(samples: Sequence[bool]) -> float:
    return sum(samples) / len(samples)


def _pass_at(samples: Sequence[bool], k: int) -> float:
    estimate = pass_at_k(len(samples), sum(samples), k)
    assert estimate is not None, "k is at most the least number of samples"
    return estimate


def _mean(scores: Mapping[str, float]) -> float:
    return round(sum(scores.values()) / len(scores), DIGITS)


def _interval(scores: Mapping[str, float]) -> Interval:
    low, high = interval(list(scores.values()))
    return round(low, DIGITS), round(high, DIGITS)


def _rounded(scores: Mapping[str, float]) -> dict[str, float]:
    return {problem: round(score, DIGITS) for problem, score in scores.items()}


# ---- the file


def write_results(folder: str | Path, runs: Iterable[Run]) -> Path:
    """Write `results.json` in a folder, whole or not at all, the runs in the order of their keys.

    Raises:
        UserError: a run is there twice, or the place cannot be written.
    """
    ordered = sorted(runs, key=lambda run: tuple((part is not None, part) for part in run.key))
    for run, following in pairwise(ordered):
        if run.key == following.key:
            raise UserError(f"There are two runs of {run.key}; give each a folder of its own.")
    path = Path(folder) / FILE
    write_text(path, json.dumps({"schema": SCHEMA, "runs": [asdict(run) for run in ordered]}, indent=1) + "\n")
    return path


def read_results(folder: str | Path) -> tuple[Run, ...]:
    """The runs that a folder's `results.json` holds. Fields of a later version that this one does not know are skipped.

    Raises:
        UserError: there is no such file, it is of another schema, or it is damaged.
    """
    path = Path(folder) / FILE
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(
            f"Cannot read {path} ({error.strerror}); give a folder that `polyturn bench grade` has written to."
        ) from None
    except (ValueError, RecursionError):
        raise _damaged(path, "it is not JSON") from None
    if not isinstance(content, dict) or "schema" not in content:
        raise _damaged(path, "it has no schema")
    if content["schema"] != SCHEMA:
        raise UserError(
            f"{path} has schema {content['schema']!r} and this version reads {SCHEMA}; "
            "read it with the version of Polyturn that wrote it, or grade the samples again with this one."
        )
    records = content.get("runs")
    if not isinstance(records, list):
        raise _damaged(path, "it has no list of runs")
    return tuple(_run(record, path, number) for number, record in enumerate(records, 1))


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(f"{path} is damaged ({reason}); grade the samples again with `polyturn bench grade`.")


_TYPES: dict[str, tuple[type, ...]] = {
    "temperature": (int, float, NoneType),
    "pass_rate": (int, float),
    "baseline": (int, float, NoneType),
    "fair_baseline": (int, float, NoneType),
    "fair_pass_rate": (int, float, NoneType),
    **dict.fromkeys(("benchmark", "model", "mode", "grader"), (str,)),
    **dict.fromkeys(("n", "problems", "cases", "samples", "missing"), (int,)),
    **dict.fromkeys(("pass_at", "pass_at_ci95", "verdicts", "scores", "fair_scores", "settings"), (dict,)),
    "ci95": (list,),
    "fair_ci95": (list, NoneType),
}


def _run(record: object, path: Path, number: int) -> Run:
    """A run from its JSON, every field of its type."""
    if not isinstance(record, dict):
        raise _damaged(path, f"run {number} is not an object")
    values: dict[str, Any] = {}
    for name in (field.name for field in fields(Run)):
        if name not in record or type(record[name]) not in _TYPES[name]:
            raise _damaged(path, f"{name} of run {number} is {'of another type' if name in record else 'not there'}")
        values[name] = record[name]
    rates = [values["pass_rate"], values["fair_pass_rate"], values["baseline"], values["fair_baseline"]]
    rates += [rate for name in ("pass_at", "scores", "fair_scores") for rate in values[name].values()]
    intervals = [values["ci95"], values["fair_ci95"], *values["pass_at_ci95"].values()]
    if not all(rate is None or _is_rate(rate) for rate in rates):
        raise _damaged(path, f"run {number} has a rate that is not from 0 to 1")
    if not all(ends is None or _is_interval(ends) for ends in intervals):
        raise _damaged(path, f"run {number} has an interval that is none")
    if values["pass_at"].keys() != values["pass_at_ci95"].keys():
        raise _damaged(path, f"pass_at and pass_at_ci95 of run {number} differ in k")
    values["ci95"] = tuple(values["ci95"])
    values["fair_ci95"] = values["fair_ci95"] and tuple(values["fair_ci95"])
    values["pass_at_ci95"] = {k: tuple(ends) for k, ends in values["pass_at_ci95"].items()}
    return Run(**values)


def _is_rate(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1  # pyright: ignore[reportOperatorIssue]


def _is_interval(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_rate, value)) and value[0] <= value[1]
