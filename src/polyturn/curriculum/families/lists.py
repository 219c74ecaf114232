"""Families over lists of any kind: elements, slices, order, changes in place."""

from typing import Any

from polyturn.curriculum import slots
from polyturn.curriculum.family import Family, change, effect, show, value

ANY_LIST = "ints floats strs"
SEQUENCE = "ints floats strs tuple"


def some(a: Any) -> bool:
    return a is None or len(a) > 1


def several(a: Any) -> bool:
    return a is None or len(a) > 2


FAMILIES: tuple[Family, ...] = (
    value(
        "length",
        "ints floats strs tuple set pairs",
        "int",
        (
            "the length of {a}",
            "the number of elements in {a}",
            "how many elements {a} has",
            "the size of {a}",
        ),
        ("len({a})",),
    ),
    value(
        "first element",
        SEQUENCE,
        "a[]",
        ("the first element of {a}", "the element that {a} starts with"),
        ("{a}[0]",),
    ),
    value(
        "last element",
        SEQUENCE,
        "a[]",
        ("the last element of {a}", "the final element of {a}", "the element at the end of {a}"),
        ("{a}[-1]", "{a}[len({a}) - 1]"),
    ),
    value(
        "element at index",
        SEQUENCE,
        "a[]",
        (
            "the element of {a} at index {k}",
            "the element at index {k} in {a}",
            "the item of {a} with index {k}",
        ),
        ("{a}[{k}]",),
        slots={"k": slots.index},
    ),
    value(
        "ordinal element",
        SEQUENCE,
        "a[]",
        ("the {k} element of {a}", "the {k} item in {a}"),
        ("{a}[{k}]",),
        slots={"k": slots.ordinal},
    ),
    value(
        "first elements",
        ANY_LIST,
        "a",
        ("the first {k} elements of {a}", "a list of the first {k} items in {a}"),
        ("{a}[:{k}]", "{a}[0:{k}]"),
        slots={"k": slots.count},
        when=some,
    ),
    value(
        "last elements",
        ANY_LIST,
        "a",
        ("the last {k} elements of {a}", "a list of the last {k} items in {a}"),
        ("{a}[-{k}:]",),
        slots={"k": slots.count},
        when=some,
    ),
    value(
        "without first",
        ANY_LIST,
        "a",
        (
            "{a} without its first element",
            "all elements of {a} but the first",
            "everything in {a} after the first element",
        ),
        ("{a}[1:]",),
        when=some,
    ),
    value(
        "without last",
        ANY_LIST,
        "a",
        (
            "{a} without its last element",
            "all elements of {a} but the last",
            "everything in {a} before the last element",
        ),
        ("{a}[:-1]",),
        when=some,
    ),
    value(
        "every second",
        ANY_LIST,
        "a",
        ("every second element of {a} from the first on", "the elements of {a} at even indices as a list"),
        ("{a}[::2]", "[{a}[{i}] for {i} in range(0, len({a}), 2)]"),
        when=several,
    ),
    value(
        "slice",
        ANY_LIST,
        "a",
        (
            "the elements of {a} from index {j} up to but not including index {k}",
            "the slice of {a} from index {j} to index {k} (exclusive)",
        ),
        ("{a}[{j}:{k}]",),
        slots={"j": slots.between(0, 1), "k": slots.between(2, 4)},
        when=several,
    ),
    value(
        "reversed list",
        ANY_LIST,
        "a",
        ("the reverse of {a}", "{a} in reverse order", "the elements of {a} from last to first"),
        ("{a}[::-1]", "list(reversed({a}))"),
        when=some,
    ),
    value(
        "sorted list",
        "ints floats",
        "a",
        (
            "{a} sorted in ascending order",
            "the elements of {a} in ascending order",
            "a sorted copy of {a}",
            "{a} sorted from smallest to largest",
        ),
        ("sorted({a})",),
        when=some,
    ),
    value(
        "sorted descending",
        "ints floats",
        "a",
        (
            "{a} sorted in descending order",
            "the elements of {a} from largest to smallest",
            "the elements of {a} in descending order",
        ),
        ("sorted({a}, reverse=True)", "sorted({a})[::-1]"),
        when=some,
    ),
    value(
        "copied list",
        ANY_LIST,
        "a",
        ("a copy of {a}", "a copy of all elements of {a}"),
        ("{a}.copy()", "list({a})", "{a}[:]"),
        named=True,
    ),
    value(
        "concatenated lists",
        ("ints", "ints"),
        "ints",
        (
            "{a} followed by the elements of {b}",
            "the concatenation of {a} and {b}",
            "{a} and {b} joined to one list",
        ),
        ("{a} + {b}", "[*{a}, *{b}]"),
    ),
    value(
        "repeated list",
        "ints strs",
        "a",
        ("{a} repeated {k} times", "the elements of {a} {k} times over"),
        ("{a} * {k}",),
        slots={"k": slots.between(2, 3)},
        when=lambda a: a is None or len(a) < 5,
    ),
    value(
        "rotated",
        "ints strs",
        "a",
        ("{a} with its first element moved to the end", "{a} rotated left by one position"),
        ("{a}[1:] + {a}[:1]",),
        when=some,
    ),
    change(
        "sort",
        "ints floats strs",
        ("Sort {a}", "Sort {a} in ascending order", "Put {a} in ascending order"),
        ("{a}.sort()", "{a} = sorted({a})"),
        when=some,
    ),
    change(
        "sort descending",
        "ints floats strs",
        ("Sort {a} in descending order", "Put {a} in descending order", "Sort {a} from largest to smallest"),
        ("{a}.sort(reverse=True)", "{a} = sorted({a}, reverse=True)"),
        when=some,
    ),
    change(
        "reverse",
        ANY_LIST,
        ("Reverse {a}", "Reverse the order of {a}", "Reverse {a} in place"),
        ("{a}.reverse()", "{a} = {a}[::-1]"),
        when=some,
    ),
    change(
        "remove first",
        ANY_LIST,
        ("Remove the first element of {a}", "Delete the first element from {a}"),
        ("{a}.pop(0)", "del {a}[0]", "{a} = {a}[1:]"),
        when=some,
    ),
    change(
        "remove last",
        ANY_LIST,
        ("Remove the last element of {a}", "Delete the last element from {a}"),
        ("{a}.pop()", "del {a}[-1]", "{a} = {a}[:-1]"),
        when=some,
    ),
    change(
        "remove at index",
        ANY_LIST,
        ("Remove the element at index {k} from {a}", "Delete the element of {a} at index {k}"),
        ("del {a}[{k}]", "{a}.pop({k})"),
        slots={"k": slots.index},
        when=some,
    ),
    change(
        "extend",
        ("ints", "ints"),
        ("Extend {a} with {b}", "Add all elements of {b} to {a}", "Append the elements of {b} to {a}"),
        ("{a}.extend({b})", "{a} += {b}"),
    ),
    effect(
        "pop last",
        "ints floats strs",
        ("a[]",),
        (
            "Remove the last element of {a} and store it in {y}",
            "Pop the last element off {a} and call it {y}",
        ),
        ("{y} = {a}.pop()",),
        changes=True,
        when=some,
    ),
    effect(
        "pop first",
        "ints floats strs",
        ("a[]",),
        (
            "Remove the first element of {a} and store it in {y}",
            "Take the first element out of {a} and call it {y}",
        ),
        ("{y} = {a}.pop(0)",),
        changes=True,
        when=some,
    ),
    show(
        "print elements",
        SEQUENCE,
        (
            "Print each element of {a} on its own line",
            "Print the elements of {a} one per line",
            "Loop over {a} and print each element",
        ),
        ("for {x} in {a}:\n    print({x})",),
    ),
    show(
        "print numbered",
        ANY_LIST,
        (
            "Print the index and the value of each element of {a}",
            "For each element of {a}, print its index and the element",
        ),
        ("for {i}, {x} in enumerate({a}):\n    print({i}, {x})",),
    ),
)
