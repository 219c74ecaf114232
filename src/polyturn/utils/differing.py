"""In what two trees of plain data differ."""

from typing import Any


def differing(one: Any, other: Any) -> list[str]:
    """The dotted names under which two trees of dictionaries differ, as `filter.licences`; "" for the trees themselves.

    What is no dictionary is compared whole. A name that one of them lacks is one whose value is None.
    """
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return [] if one == other else [""]
    found = [(name, below) for name in one | other for below in differing(one.get(name), other.get(name))]
    return [f"{name}.{below}" if below else name for name, below in found]


def listed(names: list[str], most: int = 4) -> str:
    """Names for a sentence, those beyond the first few as a number."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
