"""Runs that tests make: draw samples of a made-up benchmark in a folder, grade them, look at the files."""

from collections.abc import Sequence
from pathlib import Path

from made import Listed

from polyturn.bench import runner
from polyturn.bench.benchmarks import Benchmark, Mode
from polyturn.bench.grading import Conditions, grade_run
from polyturn.bench.results import Run
from polyturn.bench.samples import Settings
from polyturn.sandbox import Isolation, Limits

FULL = Isolation()
QUICK = Limits(cpu_s=1.0, memory_mb=256)
CONDITIONS = Conditions(QUICK, 2, FULL)
said: list[str] = []  # by the latest commands


def settings(benchmark: Benchmark, shard: str = "0/1") -> Settings:
    """Of a run with the listed model."""
    return Settings(benchmark.name, benchmark.digest, Listed.name, Listed.digest, None, 0.95, None, 0, shard=shard)


def draw(
    folder: Path,
    benchmark: Benchmark,
    model: Listed,
    modes: Sequence[Mode] = ("multi",),
    n: int = 4,
    shard: str = "0/1",
    temperatures: Sequence[float] = (0.2,),
) -> None:
    """Draw samples."""
    runner.draw_run(folder, benchmark, model, settings(benchmark, shard), modes, temperatures, n, said.append)


def grade(folder: Path, benchmark: Benchmark, *graders: str) -> dict[tuple[str, str], Run]:
    """Grade them: the results by mode and grader."""
    runs = grade_run(folder, benchmark, graders, CONDITIONS, said.append)  # pyright: ignore[reportArgumentType]
    return {(run.mode, run.grader): run for run in runs}


def files(folder: Path) -> dict[str, bytes]:
    """What must not depend on how a run went."""
    paths = [*(folder / "samples").glob("*.jsonl"), folder / "results.json", folder / "turns.json"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}
