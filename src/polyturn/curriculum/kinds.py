"""The kinds of values that variables of the curriculum hold, and how each is spoken of.

A kind is named by a short word: `int`, `float`, `bool`, `str`, `ints`, `floats`, `strs` (lists), `dict`
(word to number), `tuple` and `set` (of numbers), `pairs` (list of tuples, never written as a literal). A
function's kind is `A->B` or `A,B->C` over these; one that not every value suits has `=>` instead.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from polyturn.curriculum import values


@dataclass(frozen=True)
class Kind:
    """How values of one kind are made and called."""

    sample: Callable[[Random], Any] | None
    """Makes a value to be written as a literal."""
    nouns: tuple[str, ...]
    """What it is called in an intent, with its article."""
    element: str | None = None
    """The kind of its elements."""
    loop: tuple[str, ...] = ("item", "x", "element")
    """Names for a variable that runs over its elements; the first is the usual one."""
    inline: bool = False
    """Whether a literal may stand where a variable does (a negative number may not: `-3 ** 2`)."""
    printable: bool = True
    """Whether it prints the same however it was made (a set does not)."""


NUMBERS = ("x", "n", "num", "number")
WORDS = ("word", "w", "s", "item")

KINDS: dict[str, Kind] = {
    "int": Kind(values.integer, ("a number", "an integer"), loop=("digit", "d", "ch")),
    "float": Kind(values.decimal, ("a number", "a decimal number")),
    "bool": Kind(values.truth, ("a boolean",)),
    "str": Kind(values.text, ("a string", "a text"), "str", ("c", "ch", "char", "letter"), inline=True),
    "ints": Kind(values.integers, ("a list", "a list of numbers"), "int", NUMBERS, inline=True),
    "floats": Kind(values.decimals, ("a list", "a list of numbers"), "float", NUMBERS, inline=True),
    "strs": Kind(values.words, ("a list", "a list of strings", "a list of words"), "str", WORDS, inline=True),
    "dict": Kind(values.mapping, ("a dictionary",), "str", ("key", "k", "name"), inline=True),
    "tuple": Kind(values.number_tuple, ("a tuple", "a tuple of numbers"), "int", NUMBERS, inline=True),
    "set": Kind(values.number_set, ("a set", "a set of numbers"), "int", NUMBERS, inline=True, printable=False),
    "pairs": Kind(None, ("a list", "a list of pairs"), None, ("pair", "p", "item")),
}
"""Every kind but those of functions."""

LITERAL_KINDS = tuple(kind for kind, about in KINDS.items() if about.sample)


def is_function(kind: str) -> bool:
    return ">" in kind


def printable(kind: str) -> bool:
    return not is_function(kind) and KINDS[kind].printable
