"""All families, by topic. `FAMILIES` is the table that the composer draws from."""

from polyturn.curriculum.families import (
    conditions,
    dicts,
    digits,
    functions,
    list_changes,
    lists,
    number_lists,
    numbers,
    searching,
    sets_tuples,
    strings,
    words,
)
from polyturn.curriculum.family import Family

TOPICS: dict[str, tuple[Family, ...]] = {
    "numbers": numbers.FAMILIES + digits.FAMILIES,
    "conditions": conditions.FAMILIES,
    "strings": strings.FAMILIES + searching.FAMILIES,
    "lists": lists.FAMILIES + number_lists.FAMILIES + list_changes.FAMILIES + words.FAMILIES,
    "dictionaries": dicts.FAMILIES,
    "sets and tuples": sets_tuples.FAMILIES,
    "functions": functions.FAMILIES,
}

FAMILIES: dict[str, Family] = {family.name: family for topic in TOPICS.values() for family in topic}
"""Every family by its name."""
