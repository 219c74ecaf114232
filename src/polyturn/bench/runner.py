"""A run of a benchmark in a folder: draw samples, grade them, sum up. Each step goes on where it was stopped.

    DIR/run.json                              what the samples were drawn with
    DIR/samples/MODE-tTEMPERATURE.jsonl       the samples
    DIR/graded/MODE-tTEMPERATURE-GRADER.jsonl a verdict for each
    DIR/results.json                          pass rates, intervals, pass@k (`results.py`); no times, so that two equal
                                              runs write equal bytes
    DIR/turns.json                            where programs broke (`breaks.py`)

This file draws, `grading.py` grades, and `shards.py` puts together what was drawn on several machines. Grading needs
no JAX.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from polyturn.bench.benchmarks import Benchmark, Mode
from polyturn.bench.sampler import draw
from polyturn.bench.samples import (
    Key,
    Sample,
    Settings,
    check_run,
    in_order,
    locked,
    open_run,
    read_foreign,
    samples_path,
    whole_samples,
)
from polyturn.bench.script import Script
from polyturn.bench.shards import parse_shard, shard_of
from polyturn.engine.types import Sampling
from polyturn.synthesis.completer import Completer
from polyturn.utils.atomic import write_text
from polyturn.utils.errors import UserError
from polyturn.utils.jsonl import Journal
from polyturn.utils.progress import Counter

GIVEN = "given"  # the mode of samples that another tool drew

type Say = Callable[[str], None]


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

    At temperature 0 all samples would be alike, so one is drawn.

    Raises:
        UserError: a setting is out of its range, the folder holds a run with other settings or unknown samples, or the
            model cannot go on.
    """
    if settings.top_p is None:
        raise UserError("Samples that another tool drew cannot be added to; choose a new folder.")
    samplings = [Sampling(temperature, settings.top_p) for temperature in temperatures]
    parse_shard(settings.shard)
    check_run(folder, settings)
    with locked(folder):
        open_run(folder, settings)
        for mode in modes:
            for sampling in samplings:
                _draw(folder, benchmark, completer, settings, mode, sampling, n, say)


def work(benchmark: Benchmark, mode: Mode, n: int, shard: str) -> tuple[dict[Key, Script], int]:
    """What a shard has to draw, and how many problems the mode cannot ask."""
    part, parts = parse_shard(shard)
    wanted: dict[Key, Script] = {}
    left_out = 0
    for task, cases in benchmark.cases.items():
        asked = False
        for case in range(1, cases + 1):
            for turn, script in benchmark.scripts(mode, task, case):
                asked = True
                keys = (Key(task, case, sample, turn) for sample in range(n))
                wanted |= {key: script for key in keys if shard_of(key, parts) == part}
        left_out += not asked
    return wanted, left_out


def _draw(
    folder: Path,
    benchmark: Benchmark,
    completer: Completer,
    settings: Settings,
    mode: Mode,
    sampling: Sampling,
    n: int,
    say: Say,
) -> None:
    heat = sampling.temperature
    if heat == 0 and n > 1:
        say(f"{mode}: at temperature 0 all samples are alike, so one is drawn and not {n}.")
    wanted, left_out = work(benchmark, mode, n if heat else 1, settings.shard)
    if left_out:
        end = "nothing is drawn" if left_out == len(benchmark.cases) else "they are left out"
        say(f"{mode}: {left_out} of {len(benchmark.cases)} problems have no reference code, which it needs; {end}.")
    path = samples_path(folder, mode, heat)
    there = {sample.key for sample in stored_samples(path, benchmark)}
    missing = {key: script for key, script in wanted.items() if key not in there}
    done = len(wanted) - len(missing)
    with Journal(path) as journal, Counter(f"samples {mode} t={heat!r}") as counter:
        counter.show(done, len(wanted))

        def write(sample: Sample) -> None:
            nonlocal done
            journal.append(sample.to_json())
            done += 1
            counter.show(done, len(wanted))

        salt = f"{settings.seed}/{benchmark.name}/{mode}/{heat!r}"
        draw(completer, missing.items(), sampling, salt, write)
    sort_samples(path, benchmark)


# ---- what is there


def mode_of(path: Path) -> tuple[str, float | None]:
    """Mode and temperature of a samples file, from its name; no temperature for samples of another tool."""
    if path.stem == GIVEN:
        return GIVEN, None
    match = re.fullmatch(r"(\w+)-t(.+)", path.stem)
    try:
        if match is not None:
            return match[1], float(match[2])
    except ValueError:
        pass
    raise UserError(f"{path} is not named as a run names its samples; remove it from the folder.")


def stored_samples(path: Path, benchmark: Benchmark) -> list[Sample]:
    """The samples of a run's file, in order; what a kill left of a last line is taken off.

    Raises:
        UserError: the file is damaged, or has samples of tasks, cases or turns that the benchmark does not have.
    """
    mode, _ = mode_of(path)
    samples = whole_samples(path)
    check_known(path, samples, benchmark, mode)
    return in_order(samples, benchmark.cases)


def sort_samples(path: Path, benchmark: Benchmark) -> list[Sample]:
    """`stored_samples`, written back in their order, so that the file does not depend on how they came to be."""
    samples = stored_samples(path, benchmark)
    text = _lines(samples)
    if text.encode() != path.read_bytes():
        write_text(path, text)
    return samples


def _lines(samples: Iterable[Sample]) -> str:
    return "".join(json.dumps(sample.to_json()) + "\n" for sample in samples)


def check_known(path: Path, samples: Iterable[Sample], benchmark: Benchmark, mode: str) -> None:
    """Raise UserError where samples are of tasks, cases or turns that the benchmark does not have."""
    unknown = {_named(sample.key) for sample in samples if not _known(sample, benchmark, mode)}
    if unknown:
        raise UserError(
            f"{path} has samples of {_some(unknown)}, which the data file of {benchmark.name} does not know in this "
            "mode; give the file that they were drawn for, or remove those lines."
        )


def _known(sample: Sample, benchmark: Benchmark, mode: str) -> bool:
    key = sample.key
    if not 1 <= key.case <= benchmark.cases.get(key.task, 0) or key.sample < 0:
        return False
    turns = len(benchmark.problems[key.task].prompts) if key.task in benchmark.problems else 1
    if mode == "multi" and len(sample.codes) != turns:
        return False
    return 1 <= key.turn <= turns if mode == "oracle" else key.turn == 0


def _named(key: Key) -> str:
    return f"{key.task} (case {key.case}" + (f", turn {key.turn})" if key.turn else ")")


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:3]) + (f" and {len(ordered) - 3} others" if len(ordered) > 3 else "")


# ---- samples from elsewhere


def take_samples(path: Path, folder: Path, benchmark: Benchmark) -> None:
    """Put a samples file of another tool into a folder, ready to be graded.

    Raises:
        UserError: the file is empty, damaged, or has unknown ids, or the folder holds another run.
    """
    samples = list(read_foreign(path))
    if not samples:
        raise UserError(f"{path} holds no samples; give a file with a task_id and a completion in each line.")
    check_known(path, samples, benchmark, GIVEN)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    settings = Settings(benchmark.name, benchmark.digest, path.name, digest, None, None, None, None)
    check_run(folder, settings)
    with locked(folder):
        open_run(folder, settings)
        write_text(samples_path(folder, GIVEN, None), _lines(in_order(samples, benchmark.cases)))
