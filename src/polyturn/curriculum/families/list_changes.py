"""Families that change a list of numbers in place: what goes in, what comes out, all elements at once."""

from polyturn.curriculum import slots
from polyturn.curriculum.families.lists import some
from polyturn.curriculum.family import Family, change

FAMILIES: tuple[Family, ...] = (
    change(
        "append",
        "ints",
        ("Append {k} to {a}", "Add {k} to the end of {a}", "Put {k} at the end of {a}"),
        ("{a}.append({k})", "{a} += [{k}]"),
        slots={"k": slots.number_like},
    ),
    change(
        "append variable",
        ("ints", "int"),
        ("Append {b} to {a}", "Add {b} to the end of {a}", "Put {b} at the end of {a}"),
        ("{a}.append({b})", "{a} += [{b}]"),
    ),
    change(
        "insert first",
        "ints",
        (
            "Insert {k} at the beginning of {a}",
            "Put {k} in front of the other elements of {a}",
            "Add {k} at the start of {a}",
        ),
        ("{a}.insert(0, {k})", "{a} = [{k}] + {a}"),
        slots={"k": slots.number_like},
    ),
    change(
        "insert at index",
        "ints",
        ("Insert {k} into {a} at index {j}", "Insert {k} at index {j} of {a}"),
        ("{a}.insert({j}, {k})",),
        slots={"j": slots.index, "k": slots.number_like},
    ),
    change(
        "set at index",
        "ints",
        (
            "Set the element of {a} at index {j} to {k}",
            "Replace the element at index {j} of {a} with {k}",
            "Change the item at index {j} in {a} to {k}",
        ),
        ("{a}[{j}] = {k}",),
        slots={"j": slots.index, "k": slots.number_like},
    ),
    change(
        "remove value",
        "ints",
        ("Remove {k} from {a}", "Remove the first {k} from {a}"),
        ("{a}.remove({k})",),
        slots={"k": slots.element},
        when=some,
    ),
    change(
        "increase each",
        "ints",
        ("Add {k} to every element of {a}", "Increase each number in {a} by {k}"),
        ("{a} = [{x} + {k} for {x} in {a}]", "for {i} in range(len({a})):\n    {a}[{i}] += {k}"),
        slots={"k": slots.positive},
    ),
    change(
        "multiply each",
        "ints",
        ("Multiply every element of {a} by {k}", "Multiply each number in {a} by {k}"),
        ("{a} = [{x} * {k} for {x} in {a}]", "for {i} in range(len({a})):\n    {a}[{i}] *= {k}"),
        slots={"k": slots.small},
    ),
)
