"""What is told of two trees that differ."""

import pytest

from polyturn.utils.differing import differing, listed


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        ({"a": {"b": 1, "c": [1, 2]}}, {"a": {"b": 1, "c": [1, 2]}}, []),
        ({"a": {"b": 1, "c": [1, 2]}, "d": 1}, {"a": {"b": 2, "c": [1, 3]}, "d": 1}, ["a.b", "a.c"]),
        ({"a": 1}, {"b": 1}, ["a", "b"]),
        ({"a": {"b": 1}}, {"a": 5}, ["a"]),
        (1, 2, [""]),
    ],
)
def test_the_names_under_which_two_trees_differ(one: object, other: object, names: list[str]) -> None:
    assert sorted(differing(one, other)) == sorted(differing(other, one)) == names


def test_many_names_are_counted() -> None:
    assert listed(["a"]) == "a"
    assert listed(list("abcd")) == "a, b, c, d"
    assert listed(list("abcdefg")) == "a, b, c, d and 3 more"
