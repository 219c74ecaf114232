"""Grades the samples of a run's folder and sums them up: verdicts, `results.json`, `turns.json`.

A verdict is kept under a digest of the program and of all that it depends on: the data, the grader, limits, isolation,
versions of Python and of the packages that programs may import. What was graded under other conditions is graded anew.
"""

import hashlib
import json
import platform
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from polyturn.bench import breaks, results
from polyturn.bench.benchmarks import Benchmark, Grader
from polyturn.bench.graded import drop_damaged, to_record
from polyturn.bench.runner import Say, mode_of, sort_samples
from polyturn.bench.samples import Key, Sample, Settings, locked, read_settings
from polyturn.sandbox import Isolation, Limits, Result, ensure_sound
from polyturn.sandbox.packages import package_paths
from polyturn.utils.atomic import write_text
from polyturn.utils.errors import UserError
from polyturn.utils.jsonl import Journal
from polyturn.utils.progress import Counter

GRADER_VERSION = 1  # of all graders: raise it with any change of a verdict
KS = (1, 10, 100)
TURNS = "turns.json"

type Graded = dict[Key, dict[str, Any]]


@dataclass(frozen=True)
class Conditions:
    """How programs are run. workers: how many at a time."""

    limits: Limits
    workers: int
    isolation: Isolation

    def versions(self) -> dict[str, str]:
        """Of Python and of what programs may import. SandboxError for a package that is not installed."""
        package_paths(self.isolation.packages)
        names = sorted(self.isolation.packages)
        return {"python": platform.python_version(), **{name: version(name) for name in names}}


def grade_run(
    folder: Path, benchmark: Benchmark, graders: Collection[Grader], conditions: Conditions, say: Say
) -> list[results.Run]:
    """Grade every sample of a folder, and write its results.

    Results of other graders stay as they are if the samples are still the same.

    Raises:
        UserError: the samples are of another benchmark or data file, or there is nothing to score.
        SandboxError: this host does not give the isolation, or fails the sandbox's self-test.
    """
    settings = read_settings(folder)
    _check_data(folder, settings, benchmark)
    conditions.versions()
    ensure_sound(conditions.isolation)
    with locked(folder):
        before = _before(folder)
        runs: list[results.Run] = []
        broken: list[dict[str, Any]] = []
        for path in sorted((folder / "samples").glob("*.jsonl")):
            samples = sort_samples(path, benchmark)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            for grader in benchmark.graders:
                if grader in graders:
                    scored = _score(folder, path, digest, benchmark, grader, samples, settings, conditions, say)
                else:
                    scored = before.get((*mode_of(path), grader))
                    if scored and not _still_holds(scored[0], digest):
                        scored = None
                if scored:
                    runs.append(scored[0])
                    broken.append(scored[1])
        if not runs:
            raise UserError(f"{folder} holds no samples that can be scored; draw some with `polyturn bench run`.")
        results.write_results(folder, runs)
        write_text(folder / TURNS, json.dumps({"schema": 1, "runs": broken}, indent=1) + "\n")
    return runs


def grade_references(benchmark: Benchmark, grader: Grader, conditions: Conditions) -> list[tuple[Sample, Result]]:
    """The results of the data file's own solutions, in its order. Raises SandboxError like `grade_run`."""
    ensure_sound(conditions.isolation)
    samples = benchmark.references()
    grading = benchmark.grade(grader, samples, conditions.limits, conditions.workers, conditions.isolation)
    with Counter(f"references graded {grader}") as counter:
        found: list[tuple[Sample, Result]] = []
        for sample, result in zip(samples, grading, strict=True):
            found.append((sample, result))
            counter.show(len(found), len(samples))
    return found


def _check_data(folder: Path, settings: Settings, benchmark: Benchmark) -> None:
    if settings.benchmark != benchmark.name:
        raise UserError(f"{folder} holds samples of {settings.benchmark}, not of {benchmark.name}.")
    if settings.data != benchmark.digest:
        raise UserError(
            f"{folder} was drawn with a data file of digest {settings.data[:16]}, and this one has "
            f"{benchmark.digest[:16]}; give the file that the samples were drawn with."
        )


# ---- what was graded before


def _before(folder: Path) -> dict[tuple[str, float | None, str], tuple[results.Run, dict[str, Any]]]:
    """Results that a folder holds, with their tables of breaks. None that cannot be read: those are made anew."""
    try:
        runs = results.read_results(folder)
        tables = json.loads((folder / TURNS).read_bytes())["runs"]
        by_name = {(table["mode"], table["temperature"], table["grader"]): table for table in tables}
    except (UserError, OSError, ValueError, KeyError, TypeError):
        return {}
    named = [((run.mode, run.temperature, run.grader), run) for run in runs]
    return {name: (run, by_name[name]) for name, run in named if name in by_name}


def _still_holds(run: results.Run, samples: str) -> bool:
    return run.settings.get("samples") == samples and run.settings.get("grader_version") == GRADER_VERSION


# ---- one file of samples, one grader


def _score(
    folder: Path,
    path: Path,
    digest: str,
    benchmark: Benchmark,
    grader: Grader,
    samples: Sequence[Sample],
    settings: Settings,
    conditions: Conditions,
    say: Say,
) -> tuple[results.Run, dict[str, Any]] | None:
    """The scores and the table of breaks; None where no sample is whole."""
    mode, temperature = mode_of(path)
    place = folder / "graded" / f"{path.stem}-{grader}.jsonl"
    graded = _grade(benchmark, grader, samples, place, conditions, say)
    outcomes = _outcomes(benchmark, mode, samples, graded)
    if not outcomes:
        if samples:
            say(f"{path.stem}, {grader}: no sample is whole yet, so there is nothing to score.")
        return None
    guess = benchmark.baseline(grader, {(outcome.problem, outcome.case) for outcome in outcomes})
    expected, n = _expected(benchmark, mode, samples)
    run = results.summarise(
        outcomes,
        benchmark=benchmark.name,
        model=settings.model,
        mode=mode,
        grader=grader,
        temperature=temperature,
        n=n,
        ks=KS,
        expected=expected,
        settings=_settings(settings, benchmark, grader, digest, graded, conditions),
        baseline=guess and guess.pass_rate,
        fair_baseline=guess and guess.fair_pass_rate,
    )
    table = breaks.analyse(benchmark.problems, [s for s in samples if s.key in graded], graded)
    return run, {"mode": mode, "temperature": temperature, "grader": grader, **table}


def _grade(
    benchmark: Benchmark, grader: Grader, samples: Sequence[Sample], path: Path, conditions: Conditions, say: Say
) -> Graded:
    """The graded record of each sample, less those that the sandbox failed on. Equal programs of a case run once."""
    held = [
        *(benchmark.digest, grader, GRADER_VERSION, benchmark.limits(grader, conditions.limits)),
        *(conditions.isolation.level, conditions.isolation.allow_weaker, conditions.versions()),
    ]
    digests = {s.key: _digest(s, held) for s in samples if not s.too_long}
    drop_damaged(path, say)
    with Journal(path) as journal, Counter(f"graded {path.stem}") as counter:
        known: dict[str, dict[str, Any]] = {record["digest"]: record for record in journal.records}
        missing = {digests[s.key]: s for s in samples if s.key in digests and digests[s.key] not in known}
        failed: dict[str, str] = {}
        for _ in range(2):  # what the sandbox failed on is tried once more
            todo = {digest: s for digest, s in missing.items() if digest not in known}
            failed.clear()
            grading = benchmark.grade(
                grader, todo.values(), conditions.limits, conditions.workers, conditions.isolation
            )
            with closing(grading) as outcomes:  # pyright: ignore[reportArgumentType]
                for done, (digest, result) in enumerate(zip(todo, outcomes, strict=True), 1):
                    if result.verdict == "internal-error":
                        failed[digest] = result.error.message if result.error else "no reason given"
                    else:
                        known[digest] = to_record(digest, result)
                        journal.append(known[digest])
                    counter.show(len(missing) - len(todo) + done, len(missing))
            if not failed:
                break
    if failed:
        say(
            f"WARNING: {path.stem}: the sandbox failed twice on {len(failed)} programs, which count as missing "
            f"({next(iter(failed.values()))}); run the same command again to grade them."
        )
    graded = {key: known[digest] for key, digest in digests.items() if digest in known}
    return graded | {s.key: {"verdict": results.TOO_LONG, "error": None} for s in samples if s.too_long}


def _digest(sample: Sample, held: list[Any]) -> str:
    text = json.dumps([sample.key.task, sample.key.case, sample.completion, bool(sample.codes), held])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _outcomes(
    benchmark: Benchmark, mode: str, samples: Iterable[Sample], graded: Mapping[Key, Mapping[str, Any]]
) -> list[results.Outcome]:
    """One outcome a sample. Of the oracle's turns, which are sampled apart, all must be there, and all must pass."""
    together: dict[Key, list[str]] = {}
    for sample in samples:
        if sample.key in graded:
            together.setdefault(sample.key._replace(turn=0), []).append(graded[sample.key]["verdict"])
    return [
        results.Outcome(
            problem=key.task,
            case=key.case,
            sample=key.sample,
            passed=all(verdict == "passed" for verdict in verdicts),
            fair=benchmark.fair(key.task, key.case),
            verdict=_worst(verdicts),
        )
        for key, verdicts in together.items()
        if mode != "oracle" or len(verdicts) == len(benchmark.problems[key.task].prompts)
    ]


def _worst(verdicts: Sequence[str]) -> str:
    """The verdict on a sample of several programs: a context too short is told before all else."""
    if results.TOO_LONG in verdicts:
        return results.TOO_LONG
    return next((verdict for verdict in verdicts if verdict != "passed"), "passed")


def _expected(benchmark: Benchmark, mode: str, samples: Sequence[Sample]) -> tuple[dict[str, int], int]:
    """The cases of each problem that the mode can ask, and how many samples each should have."""
    n = max((s.key.sample for s in samples), default=-1) + 1
    if mode != "oracle":
        return dict(benchmark.cases), n
    return {task: cases for task, cases in benchmark.cases.items() if benchmark.scripts("oracle", task, 1)}, n


def _settings(
    settings: Settings, benchmark: Benchmark, grader: Grader, samples: str, graded: Graded, conditions: Conditions
) -> dict[str, object]:
    """All that is needed to repeat a score."""
    layers = [set(record["layers"]) for record in graded.values() if "layers" in record]
    isolation = conditions.isolation
    return {
        **{name: value for name, value in asdict(settings).items() if name not in ("benchmark", "model")},
        "samples": samples,
        "grader_version": GRADER_VERSION,
        "errata_version": benchmark.errata_version,
        "limits": benchmark.limits(grader, conditions.limits),
        "isolation": isolation.level,
        "allow_weaker": isolation.allow_weaker,
        "packages": list(isolation.packages),
        "layers": sorted(set.intersection(*layers)) if layers else [],
        "versions": {name: version(name) for name in ("polyturn", "numpy")} | conditions.versions(),
    }
