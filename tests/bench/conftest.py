"""What tests of the graders share: the modules beside them, which scripts use too; and recorded programs, graded."""

import sys
from pathlib import Path

import pytest

from polyturn.bench.original import grade_original
from polyturn.sandbox import Limits, Result

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def original_results() -> list[Result]:
    """How `original` grades the programs that the released grader's verdicts are recorded for."""
    from grader_cases import LIMIT_S, recorded

    jobs = [(source, gold) for source, gold, _ in recorded()]
    return list(grade_original(jobs, Limits(memory_mb=512), workers=2, alarm_s=LIMIT_S))
