"""Change a recipe by dotted paths: `stages.1.train.steps=100`."""

import ast
from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from typing import Any

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
    for whole, path, text in changes:
        if not path:
            node = _value(text, node, whole)
    below = [change for change in changes if change[1]]
    if not below:
        return node
    parts = {whole: path[0] for whole, path, _ in below}
    for whole, name in parts.items():
        if name not in _names(node):
            raise UserError(f"The recipe has no {whole}: {name!r} is not part of it.")
    new = {
        name: _changed(_part(node, name), [(w, path[1:], text) for w, path, text in below if path[0] == name])
        for name in dict.fromkeys(parts.values())
    }
    if isinstance(node, tuple):
        return tuple(new.get(str(index), old) for index, old in enumerate(node))
    return replace(node, **new)


def _names(node: Any) -> set[str]:
    if isinstance(node, tuple):
        return {str(index) for index in range(len(node))}
    return {f.name for f in fields(node)} if is_dataclass(node) else set()


def _part(node: Any, name: str) -> Any:
    return node[int(name)] if isinstance(node, tuple) else getattr(node, name)


def _value(text: str, old: Any, whole: str) -> Any:
    if isinstance(old, str):
        return text
    try:
        new = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        raise UserError(f"{whole} takes a value like {old!r}, not {text!r}.") from None
    if isinstance(old, float) and type(new) is int:
        new = float(new)
    if old is not None and type(new) is not type(old):
        raise UserError(f"{whole} takes a value like {old!r}, not {text!r}.")
    return new
