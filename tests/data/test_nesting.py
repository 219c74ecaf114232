"""What nests deeply parses, or does not, however deep the caller is."""

import ast
import json
from collections.abc import Callable

import pytest

from polyturn.data.filters import parses
from polyturn.data.nesting import with_room


def deeply(levels: int, work: Callable[[], object]) -> object:
    return deeply(levels - 1, work) if levels else work()


def deepest(fits: Callable[[int], bool]) -> int:
    low, high = 1, 20_000
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def test_the_caller_does_not_matter() -> None:
    fits = lambda terms: parses("x = " + "+".join(["1"] * terms))  # noqa: E731
    most = deepest(fits)
    for levels in (0, 50, 300):
        assert deeply(levels, lambda: fits(most))
        assert not deeply(levels, lambda: fits(most + 1))


def test_errors_and_results_come_through() -> None:
    assert isinstance(with_room(lambda: ast.parse("x = 1")), ast.Module)
    with pytest.raises(SyntaxError):
        with_room(lambda: ast.parse("x ="))
    with pytest.raises(RecursionError):
        with_room(lambda: json.loads("[" * 10**6))
