"""Change a recipe by dotted paths: `stages.1.train.steps=100`."""

import ast
from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from polyturn.utils.errors import UserError

type Change = tuple[str, list[str], str]  # the path as typed, what is left of it, the value as typed


def override[R](recipe: R, changes: Iterable[str]) -> R:
    """The recipe with each `path=value` applied, all at once; a value must be of the kind that it replaces.

    Raises:
        UserError: a path leads nowhere, a value is of another kind, or the recipe refuses the whole.
    """
    wanted: list[Change] = []
    for change in changes:
        path, equals, value = change.partition("=")
        if not equals:
            raise UserError(f"A change is written path=value, not {change!r}.")
        wanted.append((path, path.split("."), value))
    return _changed(recipe, wanted)


def _changed(node: Any, changes: list[Change]) -> Any:
    """`node` with changes below it; each part is made anew once, so that it is checked with all of its changes."""
    parts = {whole: path[0] for whole, path, _ in changes}
    for whole, name in parts.items():
        if name not in _names(node):
            raise UserError(f"The recipe has no {whole}: {name!r} is not part of it.")
    new = {name: _new_part(node, name, [c for c in changes if c[1][0] == name]) for name in parts.values()}
    if isinstance(node, tuple):
        return tuple(new.get(str(index), old) for index, old in enumerate(node))
    return replace(node, **new)


def _new_part(node: Any, name: str, changes: list[Change]) -> Any:
    """A part of `node` with all that is said of it: the last value given for the whole, then the changes below it."""
    part = _part(node, name)
    for whole, path, text in changes:
        if len(path) == 1:
            if inner := sorted(_names(part)):
                raise UserError(f"{whole} is changed part by part, below {whole}.{inner[0]} for one, not as a whole.")
            part = _value(text, _kinds(node, name), whole)
    below = [(whole, path[1:], text) for whole, path, text in changes if len(path) > 1]
    return _changed(part, below) if below else part


def _names(node: Any) -> set[str]:
    if isinstance(node, tuple):
        return {str(index) for index in range(len(node))}
    return {f.name for f in fields(node)} if is_dataclass(node) else set()


def _part(node: Any, name: str) -> Any:
    return node[int(name)] if isinstance(node, tuple) else getattr(node, name)


def _kinds(node: Any, name: str) -> tuple[type, ...]:
    """The types that a field takes, or those of what a tuple holds there."""
    hint = type(_part(node, name)) if isinstance(node, tuple) else get_type_hints(type(node))[name]
    return tuple(get_origin(kind) or kind for kind in (get_args(hint) if isinstance(hint, UnionType) else (hint,)))


def _value(text: str, kinds: tuple[type, ...], whole: str) -> Any:
    if str in kinds and not (text == "None" and NoneType in kinds):
        return text
    try:
        new = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        new = text
    if float in kinds and type(new) is int:
        new = float(new)
    if type(new) not in kinds:
        names = " or ".join(kind.__name__ for kind in kinds if kind is not NoneType)
        also = " or None" if NoneType in kinds else ""
        raise UserError(f"{whole} takes a value of type {names}{also}, not {text!r}.")
    return new
