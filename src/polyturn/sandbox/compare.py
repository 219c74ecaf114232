"""Whether a program's value is the expected one."""

from __future__ import annotations

import sys
from typing import Any

from .values import UNKNOWN, Opaque, snapshot

_UNORDERED = 64  # members of sets or dicts matched one against another, once exact matches are set aside


def same_value(got: object, expected: object) -> bool:
    """Whether two plain values are the same, by kind and by content.

    A tuple equals a list with equal items; floats are equal within 1e-6 relative (1e-12 absolute, for results
    that should be 0; NaN equals NaN), inside containers too; an integer equals a float only exactly; a bool
    equals only a bool; text equals only text; the order of sets and dicts does not matter. `expected` may
    hold numpy values.
    """
    return _same(got, snapshot(expected, sys.maxsize))


def _same(got: Any, expected: Any) -> bool:
    a, b = type(got), type(expected)
    if a is float and b is float:
        return _close(got, expected)
    if a in (int, float) and b in (int, float):
        return got == expected
    if a is complex and b is complex:
        return _close(got.real, expected.real) and _close(got.imag, expected.imag)
    if a in (list, tuple) and b in (list, tuple):
        return len(got) == len(expected) and all(map(_same, got, expected))
    if a in (set, frozenset) and b in (set, frozenset):
        return _same_members([(x, None) for x in got], [(x, None) for x in expected])
    if a is dict and b is dict:
        return _same_members(list(got.items()), list(expected.items()))
    if a is Opaque and b is Opaque and got.repr in UNKNOWN:
        return False
    return a is b and got == expected


def _close(a: float, b: float) -> bool:
    if a == b or (a != a and b != b):
        return True
    return abs(a - b) <= max(1e-6 * max(abs(a), abs(b)), 1e-12) < float("inf")


def _same_members(got: list[tuple[object, object]], expected: list[tuple[object, object]]) -> bool:
    """Whether two unordered collections of (key, value) match one to one.

    Equal keys are found by their hash; what is left (floats that are close, say) is matched each against
    each, and only up to _UNORDERED members, so that no program can make the comparison slow.
    """
    if len(got) != len(expected):
        return False
    wanted = {key: (key, value) for key, value in expected}
    left: list[tuple[object, object]] = []
    for key, value in got:
        pair = wanted.get(key)
        if pair is None or not _same(key, pair[0]):
            left.append((key, value))
        elif _same(value, pair[1]):
            del wanted[key]
        else:
            return False
    if len(left) > _UNORDERED:
        return False
    for key, value in left:
        matches = [k for k, pair in wanted.items() if _same(key, pair[0]) and _same(value, pair[1])]
        if not matches:
            return False
        del wanted[matches[0]]
    return True
