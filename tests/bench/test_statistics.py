"""Intervals against published and independently computed values."""

import pytest

from polyturn.bench.statistics import wilson


@pytest.mark.parametrize(
    ("passed", "total", "low", "high"),
    [  # Newcombe 1998, table I, method 3 (Wilson without continuity correction)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_published_intervals(passed: int, total: int, low: float, high: float) -> None:
    assert wilson(passed, total) == pytest.approx((low, high), abs=5e-5)


def test_it_is_symmetric_and_within_bounds() -> None:
    for passed in range(31):
        low, high = wilson(passed, 30)
        assert 0 <= low <= passed / 30 <= high <= 1
        assert wilson(30 - passed, 30) == pytest.approx((1 - high, 1 - low))


def test_no_trials_say_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
