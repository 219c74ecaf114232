"""The table of largest differences that a parity run ends with."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # codegen_cases, which scripts in two environments share

_ROWS = pytest.StashKey[list[tuple[str, float]]]()


@pytest.fixture
def report_difference(request: pytest.FixtureRequest) -> Callable[[str, float], None]:
    """Call with a name and the largest absolute difference of its logits."""
    rows = request.config.stash.setdefault(_ROWS, [])
    return lambda name, difference: rows.append((name, difference))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash.get(_ROWS, [])
    if rows:
        terminalreporter.section("largest difference of logits from transformers, float32")
    for name, difference in rows:
        terminalreporter.line(f"{name:<28} {difference:.1e}")
