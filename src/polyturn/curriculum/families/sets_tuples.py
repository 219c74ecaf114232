"""Families over sets and tuples of numbers: membership, set algebra, packing and unpacking, conversions.

A set is never printed as it stands, since its order depends on how it was made.
"""

from typing import Any

from polyturn.curriculum import slots
from polyturn.curriculum.families.lists import some
from polyturn.curriculum.family import Family, change, effect, value


def two(a: Any) -> bool:
    return a is not None and len(a) == 2


def three(a: Any) -> bool:
    return a is not None and len(a) > 2


FAMILIES: tuple[Family, ...] = (
    value(
        "set from list",
        "ints tuple",
        "set",
        ("the set of the numbers in {a}", "{a} converted to a set", "a set of the elements of {a}"),
        ("set({a})", "{{x} for {x} in {a}}"),
    ),
    value(
        "sorted set",
        "set",
        "ints",
        (
            "the sorted list of the elements of {a}",
            "the elements of {a} in ascending order as a list",
            "{a} converted to a sorted list",
        ),
        ("sorted({a})",),
    ),
    value(
        "distinct numbers",
        "ints tuple",
        "ints",
        ("the sorted list of the distinct numbers in {a}", "the different numbers of {a} in ascending order"),
        ("sorted(set({a}))",),
    ),
    value(
        "distinct count",
        "ints tuple strs",
        "int",
        ("the number of distinct elements in {a}", "how many different elements {a} has"),
        ("len(set({a}))",),
    ),
    value(
        "distinct words",
        "strs",
        "strs",
        ("the sorted list of the distinct words in {a}", "the different words of {a} in alphabetical order"),
        ("sorted(set({a}))",),
    ),
    value(
        "repeats",
        "ints strs",
        "bool",
        ("{a} contains duplicates", "any element occurs more than once in {a}"),
        ("len(set({a})) < len({a})", "len({a}) != len(set({a}))"),
    ),
    value(
        "union",
        ("set", "set"),
        "set",
        ("the union of {a} and {b}", "the set of all elements of {a} or {b}"),
        ("{a} | {b}", "{a}.union({b})"),
    ),
    value(
        "intersection",
        ("set", "set"),
        "set",
        ("the intersection of {a} and {b}", "the set of elements that {a} and {b} share"),
        ("{a} & {b}", "{a}.intersection({b})"),
    ),
    value(
        "set difference",
        ("set", "set"),
        "set",
        ("the set difference of {a} and {b}", "the set of elements of {a} that are not in {b}"),
        ("{a} - {b}", "{a}.difference({b})"),
    ),
    value(
        "symmetric difference",
        ("set", "set"),
        "set",
        (
            "the symmetric difference of {a} and {b}",
            "the set of elements that are in exactly one of {a} and {b}",
        ),
        ("{a} ^ {b}", "{a}.symmetric_difference({b})"),
    ),
    value(
        "common numbers",
        ("ints", "ints"),
        "ints",
        ("the elements of {a} that are also in {b}", "a list of the numbers in {a} that occur in {b} too"),
        ("[{x} for {x} in {a} if {x} in {b}]",),
        ("{y} = []\nfor {x} in {a}:\n    if {x} in {b}:\n        {y}.append({x})",),
    ),
    value(
        "missing numbers",
        ("ints", "ints"),
        "ints",
        ("the elements of {a} that are not in {b}", "a list of the numbers in {a} that do not occur in {b}"),
        ("[{x} for {x} in {a} if {x} not in {b}]",),
        ("{y} = []\nfor {x} in {a}:\n    if {x} not in {b}:\n        {y}.append({x})",),
    ),
    value(
        "subset",
        ("set", "set"),
        "bool",
        ("{a} is a subset of {b}", "every element of {a} is in {b}"),
        ("{a} <= {b}", "{a}.issubset({b})"),
    ),
    value(
        "disjoint",
        ("set", "set"),
        "bool",
        ("{a} and {b} have no element in common", "{a} and {b} are disjoint"),
        ("{a}.isdisjoint({b})",),
    ),
    change(
        "add to set",
        "set",
        ("Add the element {k} to {a}", "Put the element {k} into {a}"),
        ("{a}.add({k})",),
        slots={"k": slots.number_like},
    ),
    change(
        "remove from set",
        "set",
        ("Remove {k} from {a}", "Take {k} out of {a}"),
        ("{a}.remove({k})", "{a}.discard({k})"),
        slots={"k": slots.element},
    ),
    change(
        "add list to set",
        ("set", "ints"),
        ("Update {a} with the elements of {b}", "Put the elements of {b} into {a}"),
        ("{a}.update({b})", "{a} |= set({b})"),
    ),
    value(
        "pair",
        ("int", "int"),
        "tuple",
        ("the tuple of {a} and {b}", "a tuple with {a} and {b}", "the pair of {a} and {b} as a tuple"),
        ("({a}, {b})",),
    ),
    value(
        "tuple from list",
        "ints",
        "tuple",
        ("{a} converted to a tuple", "{a} as a tuple", "a tuple of the elements of {a}"),
        ("tuple({a})",),
    ),
    value(
        "list from tuple",
        "tuple",
        "ints",
        ("{a} converted to a list", "{a} as a list", "a list of the elements of {a}"),
        ("list({a})", "[*{a}]"),
    ),
    value(
        "reversed tuple",
        "tuple",
        "tuple",
        ("{a} in reverse order", "the reverse of {a}", "a tuple of the elements of {a} from last to first"),
        ("{a}[::-1]", "tuple(reversed({a}))"),
        when=some,
    ),
    value(
        "sorted tuple",
        "tuple",
        "ints",
        ("the sorted list of the elements of {a}", "the elements of {a} in ascending order as a list"),
        ("sorted({a})",),
        when=some,
    ),
    value(
        "first of tuple",
        "tuple",
        "tuple",
        ("the first {k} elements of {a} as a tuple", "a tuple of the first {k} elements of {a}"),
        ("{a}[:{k}]",),
        slots={"k": slots.count},
        when=some,
    ),
    value(
        "longer tuple",
        "tuple",
        "tuple",
        ("{a} with {k} added at the end", "a tuple of the elements of {a} followed by {k}"),
        ("{a} + ({k},)", "(*{a}, {k})"),
        slots={"k": slots.number_like},
    ),
    value(
        "joined tuples",
        ("tuple", "tuple"),
        "tuple",
        ("{a} followed by the elements of {b}", "the concatenation of {a} and {b}"),
        ("{a} + {b}", "(*{a}, *{b})"),
    ),
    value(
        "extremes",
        "ints set",
        "tuple",
        (
            "the tuple of the smallest and the largest number in {a}",
            "a tuple with the minimum and the maximum of {a}",
        ),
        ("(min({a}), max({a}))",),
        when=some,
    ),
    effect(
        "unpack two",
        "tuple",
        ("int", "int"),
        ("Unpack {a} into {y} and {z}", "Unpack the two elements of {a} into the variables {y} and {z}"),
        ("{y}, {z} = {a}",),
        when=two,
    ),
    effect(
        "unpack first",
        "tuple ints",
        ("int", "ints"),
        (
            "Unpack {a} so that {y} is its first element and {z} the list of the others",
            "Unpack the first element of {a} into {y} and the others into the list {z}",
        ),
        ("{y}, *{z} = {a}",),
        when=three,
    ),
    effect(
        "first and last",
        "ints tuple",
        ("int", "int"),
        (
            "Store the first element of {a} in {y} and the last one in {z}",
            "Let {y} be the first and {z} the last element of {a}",
        ),
        ("{y} = {a}[0]\n{z} = {a}[-1]", "{y}, {z} = {a}[0], {a}[-1]"),
        when=some,
    ),
)
