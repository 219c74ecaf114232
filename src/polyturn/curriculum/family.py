"""A family: one operation of Python, as a row of data, from which turns of a program are composed.

A family holds phrases and code as templates. In a template `{name}` stands for

    {a} {b}      the inputs, variables of the kinds that `takes` lists
    {y} {z}      the variables that receive the results, of the kinds that `gives` lists
    {k} {w} ...  the family's own slots: constants that the intent and the code both hold
    {x} {o} {i} {t} {p} {u} {v}
                 variables of a loop or comprehension: over elements, over another collection's elements, over
                 indices, over the words of a text, over pairs, over keys and values

and braces around anything else stand for themselves, so that a dictionary comprehension needs no escapes.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

PLACE = re.compile(r"\{([a-z])\}")


@dataclass(frozen=True)
class Said:
    """A constant that reads otherwise in the intent than in the code: `third` for the index 2."""

    intent: str
    code: str


Slot = Callable[[Random, Any], Any]
"""Makes a constant, given the first input's value (None where it is not known). It returns a plain value,
written as a literal in intent and code, or a `Said`; None says that there is no fitting constant for that
input."""


@dataclass(frozen=True)
class Family:
    """One operation. Built by `value`, `change`, `effect` or `show`."""

    name: str
    takes: tuple[str, ...]
    """For each input the kinds that it may have, separated by spaces."""
    gives: tuple[str, ...]
    """Kinds of the results; `a` stands for the first input's kind, `a[]` for the kind of its elements."""
    says: tuple[str, ...] = ()
    """Noun phrases for the result ("the sum of {a}"), or, for a truth value, clauses ("{a} is even")."""
    exprs: tuple[str, ...] = ()
    """Expressions that all give the same value; the first is the idiomatic one."""
    blocks: tuple[str, ...] = ()
    """Statements that leave the result in {y}, or that change {a}, or that print."""
    asks: tuple[str, ...] = ()
    """Whole intents, for what no noun phrase states."""
    bodies: tuple[str, ...] = ()
    """Bodies for a function that returns the result, where `return EXPR` is not all there is to it."""
    slots: Mapping[str, Slot] = field(default_factory=dict)
    when: Callable[..., bool] | None = None
    """Called with the inputs' values (None where not known): whether the family can be used on them."""
    changes: bool = False
    """Whether the inputs hold another value afterwards."""
    prints: bool = False
    """Whether the blocks print."""
    named: bool = False
    """Whether the input has to be a variable: a literal in its place would be odd."""


def value(
    name: str,
    takes: str | tuple[str, ...],
    gives: str,
    says: tuple[str, ...],
    exprs: tuple[str, ...],
    blocks: tuple[str, ...] = (),
    **more,
) -> Family:
    """A family with one result, given by an expression, or by statements, or by either."""
    return Family(name, _kinds(takes), (gives,), says, exprs, blocks, **more)


def change(name: str, takes: str | tuple[str, ...], asks: tuple[str, ...], blocks: tuple[str, ...], **more) -> Family:
    """A family that changes its inputs in place."""
    return Family(name, _kinds(takes), (), asks=asks, blocks=blocks, changes=True, **more)


def effect(
    name: str,
    takes: str | tuple[str, ...],
    gives: tuple[str, ...],
    asks: tuple[str, ...],
    blocks: tuple[str, ...],
    **more,
) -> Family:
    """A family of statements with results that no single noun phrase states."""
    return Family(name, _kinds(takes), gives, asks=asks, blocks=blocks, **more)


def show(name: str, takes: str | tuple[str, ...], asks: tuple[str, ...], blocks: tuple[str, ...], **more) -> Family:
    """A family that prints several things."""
    return Family(name, _kinds(takes), (), asks=asks, blocks=blocks, prints=True, **more)


def _kinds(takes: str | tuple[str, ...]) -> tuple[str, ...]:
    return (takes,) if isinstance(takes, str) else takes


def fill(template: str, places: Mapping[str, str]) -> str:
    """`template` with its places filled. Raises KeyError for a place without a filling."""
    return PLACE.sub(lambda match: places[match.group(1)], template)


def places_of(*templates: str) -> set[str]:
    """The letters of all places in `templates`."""
    return {letter for template in templates for letter in PLACE.findall(template)}
