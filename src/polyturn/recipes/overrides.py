"""Change a recipe by dotted paths: `stages.1.train.steps=100`."""

import ast
from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from typing import Any

from polyturn.utils.errors import UserError


def override[R](recipe: R, changes: Iterable[str]) -> R:
    """The recipe with each `path=value` applied; the value must be of the kind that it replaces.

    Raises:
        UserError: a path leads nowhere, or a value is of another kind.
    """
    for change in changes:
        path, equals, value = change.partition("=")
        if not equals:
            raise UserError(f"A change is written path=value, not {change!r}.")
        recipe = _changed(recipe, path.split("."), value, path)
    return recipe


def _changed(node: Any, path: list[str], text: str, whole: str) -> Any:
    if not path:
        return _value(text, node, whole)
    name, rest = path[0], path[1:]
    if is_dataclass(node) and name in {f.name for f in fields(node)}:
        return replace(node, **{name: _changed(getattr(node, name), rest, text, whole)})  # pyright: ignore[reportArgumentType]
    if isinstance(node, tuple) and name.isdecimal() and int(name) < len(node):
        index = int(name)
        return (*node[:index], _changed(node[index], rest, text, whole), *node[index + 1 :])
    raise UserError(f"The recipe has no {whole}: {name!r} is not part of it.")


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
