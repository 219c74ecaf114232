"""A run of a benchmark in a folder: draw samples, grade them, sum up. Each step goes on where it was stopped.

    DIR/run.json                              what the samples were drawn with
    DIR/samples/MODE-tTEMPERATURE.jsonl       the samples
    DIR/graded/MODE-tTEMPERATURE-GRADER.jsonl a verdict for each
    DIR/results.json                          pass rates, intervals, pass@k (`results.py`); no times, so that two equal
                                              runs write equal bytes
    DIR/turns.json                            where programs broke (`breaks.py`)

Samples may be drawn on one machine and graded on another, which needs no JAX; and on several machines, each with
`--shard i/n` of the samples and a folder of its own, which `merge` puts together.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, astuple, replace
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path
from typing import Any

from polyturn.bench import breaks, results
from polyturn.bench.benchmarks import Benchmark, Grader, Mode
from polyturn.bench.sampler import draw
from polyturn.bench.samples import (
    Key,
    Sample,
    Settings,
    in_order,
    open_run,
    read_foreign,
    read_samples,
    read_settings,
    samples_path,
)
from polyturn.bench.script import Script
from polyturn.engine.types import Sampling
from polyturn.sandbox import Isolation, Limits, Result, ensure_sound
from polyturn.synthesis.completer import Completer
from polyturn.utils.atomic import write_text
from polyturn.utils.errors import UserError
from polyturn.utils.jsonl import Journal
from polyturn.utils.progress import Counter

GRADER_VERSION = 1  # of all graders: raise it with any change of a verdict
GIVEN = "given"  # the mode of samples that another tool drew
KS = (1, 10, 100)

type Say = Callable[[str], None]


# ---- drawing


def draw_run(
    folder: Path,
    benchmark: Benchmark,
    completer: Completer,
    settings: Settings,
    modes: Sequence[Mode],
    temperatures: Sequence[float],
    n: int,
    say: Say,
) -> None:
    """Draw what the folder does not hold yet of `n` samples for each case, in each mode, at each temperature.

    Raises:
        UserError: the folder holds a run with other settings, or the model cannot go on.
    """
    open_run(folder, settings)
    for mode in modes:
        for temperature in temperatures:
            wanted, left_out = work(benchmark, mode, n, settings.shard)
            if left_out:
                say(f"{mode}: {left_out} of {len(benchmark.cases)} problems cannot be asked so; they are left out.")
            salt = f"{settings.seed}/{benchmark.name}/{mode}/{temperature:g}"
            sampling = Sampling(temperature, settings.top_p or 1.0)
            with Journal(samples_path(folder, mode, temperature)) as journal:
                _draw(completer, wanted, sampling, salt, journal, f"{mode} t={temperature:g}")
            _sort(samples_path(folder, mode, temperature), benchmark)


def work(benchmark: Benchmark, mode: Mode, n: int, shard: str) -> tuple[dict[Key, Script], int]:
    """What a shard has to draw, and how many problems the mode cannot ask."""
    part, parts = parse_shard(shard)
    wanted: dict[Key, Script] = {}
    count = left_out = 0
    for task, cases in benchmark.cases.items():
        asked = False
        for case in range(1, cases + 1):
            for turn, script in benchmark.scripts(mode, task, case):
                asked = True
                for sample in range(n):
                    if count % parts == part:
                        wanted[Key(task, case, sample, turn)] = script
                    count += 1
        left_out += not asked
    return wanted, left_out


def parse_shard(shard: str) -> tuple[int, int]:
    """`i/n` as numbers, 0 <= i < n. Raises UserError for anything else."""
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    if match is None or not int(match[1]) < int(match[2]):
        raise UserError(f"The shard is {shard!r}; give i/n, such as 0/4 for the first of four.")
    return int(match[1]), int(match[2])


def _draw(
    completer: Completer, wanted: dict[Key, Script], sampling: Sampling, salt: str, journal: Journal, title: str
) -> None:
    there = {sample.key for sample in read_samples(journal.path)}
    missing = {key: script for key, script in wanted.items() if key not in there}
    done = len(wanted) - len(missing)
    with Counter(f"samples {title}") as counter:
        counter.show(done, len(wanted))

        def write(sample: Sample) -> None:
            nonlocal done
            journal.append(sample.to_json())
            done += 1
            counter.show(done, len(wanted))

        draw(completer, missing.items(), sampling, salt, write)


def _sort(path: Path, benchmark: Benchmark) -> None:
    """Bring the samples into the benchmark's order, so that the file does not depend on how they came to be."""
    ordered = in_order(read_samples(path), benchmark.cases)
    text = "".join(json.dumps(sample.to_json()) + "\n" for sample in ordered)
    if text.encode() != path.read_bytes():
        write_text(path, text)


# ---- grading


def grade_run(
    folder: Path,
    benchmark: Benchmark,
    graders: Sequence[Grader],
    limits: Limits,
    workers: int,
    isolation: Isolation,
    say: Say,
) -> list[results.Run]:
    """Grade every sample of a folder, and write its results.

    Raises:
        UserError: the samples are of another benchmark or data file, or the sandbox failed on some.
        SandboxError: this host does not give the isolation, or fails the sandbox's self-test.
    """
    settings = read_settings(folder)
    _check_data(folder, settings, benchmark)
    ensure_sound(isolation)
    runs: list[results.Run] = []
    broken: list[dict[str, object]] = []
    for path in sorted((folder / "samples").glob("*.jsonl")):
        mode, temperature = _mode_of(path)
        samples = list(read_samples(path))
        unknown = {s.key.task for s in samples} - set(benchmark.cases)
        if unknown:
            raise UserError(
                f"{path} has samples of {_some(unknown)}, which {benchmark.name}'s data file does not know."
            )
        for grader in graders:
            where = folder / "graded" / f"{path.stem}-{grader}.jsonl"
            graded = _grade(benchmark, grader, samples, where, limits, workers, isolation)
            if not graded:
                continue
            details = _settings(settings, benchmark, graded, limits, isolation)
            runs.append(_summary(benchmark, grader, mode, temperature, samples, graded, settings, details))
            table = breaks.analyse(benchmark.problems, samples, graded)
            broken.append({"mode": mode, "temperature": temperature, "grader": grader, **table})
    if not runs:
        raise UserError(f"{folder} holds no samples; draw some with `polyturn bench run`.")
    results.write_results(folder, runs)
    write_text(folder / "turns.json", json.dumps({"schema": 1, "runs": broken}, indent=1) + "\n")
    return runs


def _grade(
    benchmark: Benchmark,
    grader: Grader,
    samples: Sequence[Sample],
    path: Path,
    limits: Limits,
    workers: int,
    isolation: Isolation,
) -> dict[Key, dict[str, Any]]:
    """The graded record of each sample. Equal programs of a case are run once."""
    conditions = [benchmark.digest, grader, GRADER_VERSION, astuple(limits), isolation.level, isolation.packages]
    digests = {s.key: _digest(s, conditions) for s in samples}
    with Journal(path) as journal, Counter(f"graded {path.stem}") as counter:
        graded: dict[str, dict[str, Any]] = {r["digest"]: r for r in journal.records if "digest" in r}
        missing = {digests[s.key]: s for s in samples if digests[s.key] not in graded}
        counter.show(len(samples) - len(missing), len(samples))
        failed: list[Result] = []
        with closing(benchmark.grade(grader, missing.values(), limits, workers, isolation)) as outcomes:  # pyright: ignore[reportArgumentType]
            for done, (digest, result) in enumerate(zip(missing, outcomes, strict=True), 1):
                if result.verdict == "internal-error":
                    failed.append(result)
                else:
                    graded[digest] = _record(digest, result)
                    journal.append(graded[digest])
                counter.show(len(samples) - len(missing) + done, len(samples))
    if failed:
        reason = failed[0].error.message if failed[0].error else "no reason given"
        raise UserError(
            f"The sandbox failed on {len(failed)} of {len(samples)} programs, which are not scored ({reason}); "
            "run the same command again to grade them."
        )
    return {key: graded[digest] for key, digest in digests.items()}


def _digest(sample: Sample, conditions: list[Any]) -> str:
    text = json.dumps([sample.key.task, sample.key.case, sample.completion, bool(sample.codes), conditions])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _record(digest: str, result: Result) -> dict[str, Any]:
    error = result.error
    return {
        "digest": digest,
        "verdict": result.verdict,
        "error": None if error is None else {"type": error.type, "message": error.message[:500], "line": error.line},
        "layers": list(result.layers),
    }


def _summary(
    benchmark: Benchmark,
    grader: Grader,
    mode: str,
    temperature: float | None,
    samples: Sequence[Sample],
    graded: dict[Key, dict[str, Any]],
    settings: Settings,
    details: dict[str, object],
) -> results.Run:
    expected, n = _expected(benchmark, mode, samples)
    return results.summarise(
        _outcomes(benchmark, samples, graded),
        benchmark=benchmark.name,
        model=settings.model,
        mode=mode,
        grader=grader,
        temperature=temperature,
        n=n,
        ks=KS,
        expected=expected,
        settings=details,
        baseline=benchmark.baseline(grader),
    )


def _outcomes(
    benchmark: Benchmark, samples: Iterable[Sample], graded: dict[Key, dict[str, Any]]
) -> list[results.Outcome]:
    """One outcome a sample; of the oracle's turns, which are sampled apart, all must pass."""
    together: dict[Key, list[str]] = {}
    for sample in samples:
        together.setdefault(sample.key._replace(turn=0), []).append(graded[sample.key]["verdict"])
    return [
        results.Outcome(
            problem=key.task,
            case=key.case,
            sample=key.sample,
            passed=all(verdict == "passed" for verdict in verdicts),
            fair=benchmark.fair(key.task, key.case),
            verdict=next((verdict for verdict in verdicts if verdict != "passed"), "passed"),
        )
        for key, verdicts in together.items()
    ]


def _expected(benchmark: Benchmark, mode: str, samples: Sequence[Sample]) -> tuple[dict[str, int], int]:
    """The cases of each problem that the mode can ask, and how many samples each should have."""
    n = max((s.key.sample for s in samples), default=-1) + 1
    if mode != "oracle":
        return dict(benchmark.cases), n
    return {task: cases for task, cases in benchmark.cases.items() if benchmark.scripts("oracle", task, 1)}, n


def _settings(
    settings: Settings,
    benchmark: Benchmark,
    graded: dict[Key, dict[str, Any]],
    limits: Limits,
    isolation: Isolation,
) -> dict[str, object]:
    """All that is needed to repeat a score."""
    layers = sorted({layer for record in graded.values() for layer in record["layers"]})
    return {
        **{name: value for name, value in asdict(settings).items() if name not in ("benchmark", "model", "shard")},
        "grader_version": GRADER_VERSION,
        "limits": asdict(limits),
        "isolation": isolation.level,
        "packages": list(isolation.packages),
        "layers": layers,
        "versions": {name: version(name) for name in ("polyturn", "numpy")},
    }


def _check_data(folder: Path, settings: Settings, benchmark: Benchmark) -> None:
    if settings.benchmark != benchmark.name:
        raise UserError(f"{folder} holds samples of {settings.benchmark}, not of {benchmark.name}.")
    if settings.data != benchmark.digest:
        raise UserError(
            f"{folder} was drawn with a data file of digest {settings.data[:16]}, and this one has "
            f"{benchmark.digest[:16]}; give the file that the samples were drawn with."
        )


def _check_known(path: Path, samples: Iterable[Sample], benchmark: Benchmark) -> None:
    """Raise UserError where samples are of tasks or cases that the benchmark does not have."""
    unknown = {s.key.task for s in samples if not 1 <= s.key.case <= benchmark.cases.get(s.key.task, 0)}
    if unknown:
        raise UserError(
            f"{path} has samples of {_some(unknown)}, which the data file of {benchmark.name} does not know; "
            "give the file that they were drawn for."
        )


def _mode_of(path: Path) -> tuple[str, float | None]:
    """Mode and temperature of a samples file, from its name; no temperature for samples of another tool."""
    match = re.fullmatch(r"(\w+)-t(.+)", path.stem)
    if path.stem == GIVEN:
        return GIVEN, None
    if match is None:
        raise UserError(f"{path} is not named as a run names its samples; remove it from the folder.")
    return match[1], float(match[2])


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:3]) + (f" and {len(ordered) - 3} others" if len(ordered) > 3 else "")


# ---- samples from elsewhere


def take_samples(path: Path, folder: Path, benchmark: Benchmark) -> None:
    """Put a samples file of another tool into a folder, ready to be graded.

    Raises:
        UserError: the file is damaged or has unknown ids, or the folder holds another run.
    """
    samples = list(read_foreign(path))
    _check_known(path, samples, benchmark)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    open_run(folder, Settings(benchmark.name, benchmark.digest, path.name, digest, None, None, None, None))
    text = "".join(json.dumps(s.to_json()) + "\n" for s in in_order(samples, benchmark.cases))
    write_text(folder / "samples" / f"{GIVEN}.jsonl", text)


def merge(parts: Sequence[Path], folder: Path) -> None:
    """Put the shards of one run together in a new folder; they are graded anew, or not at all if they were graded.

    Raises:
        UserError: they are not shards of one run, or not all of them, or a sample is there twice.
    """
    settings = [read_settings(part) for part in parts]
    whole = {replace(s, shard="0/1", drawn_with=settings[0].drawn_with) for s in settings}
    if len(whole) != 1:
        names = [name for name in asdict(settings[0]) if len({asdict(s)[name] for s in whole}) > 1]
        raise UserError(f"The folders are not shards of one run: they differ in {', '.join(names)}.")
    have = sorted(parse_shard(s.shard) for s in settings)
    wanted = [(part, have[0][1]) for part in range(have[0][1])]
    if have != wanted:
        missing = sorted(set(wanted) - set(have))
        which = ", ".join(f"{part}/{of}" for part, of in missing)
        raise UserError(f"These are not the shards of one run, each once; missing: {which or 'none'}.")
    open_run(folder, whole.pop())
    for name in ("samples", "graded"):
        for stem in sorted({path.name for part in parts for path in (part / name).glob("*.jsonl")}):
            files = [_whole_lines(part / name / stem) for part in sorted(parts, key=_part)]
            # shards take samples in turn, so this is the order of the whole
            lines = [line for row in zip_longest(*files) for line in row if line is not None]
            write_text(folder / name / stem, "".join(f"{line}\n" for line in dict.fromkeys(lines)))


def _part(folder: Path) -> int:
    return parse_shard(read_settings(folder).shard)[0]


def _whole_lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    with Journal(path):  # takes off what a kill left of a last line, and waits for nobody
        return path.read_text(encoding="utf-8").rstrip("\n").split("\n")
