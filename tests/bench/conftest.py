"""What these tests share: the modules beside them, which scripts use too; a benchmark; recorded programs, graded."""

import sys
from functools import cache
from pathlib import Path

import pytest

from polyturn.bench.benchmarks import Benchmark, read_benchmark
from polyturn.bench.original import grade_original
from polyturn.sandbox import Limits, Result, ensure_sound

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def original_results() -> list[Result]:
    """How `original` grades the programs that the released grader's verdicts are recorded for."""
    from grader_cases import LIMIT_S, recorded

    jobs = [(source, gold) for source, gold, _ in recorded()]
    return list(grade_original(jobs, Limits(memory_mb=512), workers=2, alarm_s=LIMIT_S))


@pytest.fixture
def mtpb(tmp_path: Path) -> Benchmark:
    """Two multi-turn problems."""
    from made import problems_file

    return read_benchmark("mtpb", problems_file(tmp_path))


@pytest.fixture
def nothing_said() -> None:
    from small_runs import said

    said.clear()


_sound = cache(ensure_sound)


@pytest.fixture
def one_self_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each isolation; it takes longer than most of these tests."""
    monkeypatch.setattr("polyturn.bench.grading.ensure_sound", _sound)
