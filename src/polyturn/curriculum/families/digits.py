"""Families over whole numbers as digits and as counts: text forms, digit by digit, ranges, divisors."""

from polyturn.curriculum import slots
from polyturn.curriculum.family import Family, value


def not_negative(a: int | None) -> bool:
    return a is None or a >= 0


def countable(a: int | None) -> bool:
    """Small enough to count up to."""
    return a is not None and 2 <= a <= 12


FAMILIES: tuple[Family, ...] = (
    value(
        "string from number",
        "int float",
        "str",
        ("{a} converted to a string", "{a} as a string", "the string form of {a}"),
        ("str({a})", "f'{{a}}'"),
    ),
    value(
        "binary digits",
        "int",
        "str",
        ("the binary digits of {a} as a string", "the binary form of {a} without a prefix"),
        ("format({a}, 'b')", "f'{{a}:b}'"),
        when=not_negative,
    ),
    value(
        "zero padded",
        "int",
        "str",
        (
            "{a} as a string padded with zeros to {k} digits",
            "{a} padded with zeros to a string of {k} digits",
        ),
        ("str({a}).zfill({k})", "f'{{a}:0{k}d}'"),
        slots={"k": slots.between(3, 8)},
        when=not_negative,
    ),
    value(
        "digit sum",
        "int",
        "int",
        ("the sum of the digits of {a}", "the digit sum of {a}"),
        ("sum(int({x}) for {x} in str({a}))", "sum(map(int, str({a})))"),
        ("{y} = 0\nfor {x} in str({a}):\n    {y} += int({x})",),
        when=not_negative,
    ),
    value(
        "digit count",
        "int",
        "int",
        ("the number of digits of {a}", "how many digits {a} has", "the digit count of {a}"),
        ("len(str(abs({a})))",),
        when=not_negative,
    ),
    value(
        "last digit",
        "int",
        "int",
        ("the last digit of {a}", "the units digit of {a}", "the final digit of {a}"),
        ("abs({a}) % 10", "int(str({a})[-1])"),
        when=not_negative,
    ),
    value(
        "digits",
        "int",
        "ints",
        ("the list of the digits of {a}", "the digits of {a} as a list of integers"),
        ("[int({x}) for {x} in str({a})]", "list(map(int, str({a})))"),
        ("{y} = []\nfor {x} in str({a}):\n    {y}.append(int({x}))",),
        when=not_negative,
    ),
    value(
        "reversed digits",
        "int",
        "int",
        ("{a} with its digits reversed", "the integer with the digits of {a} in reverse order"),
        ("int(str({a})[::-1])", "int(''.join(reversed(str({a}))))"),
        when=not_negative,
    ),
    value(
        "factorial",
        "int",
        "int",
        ("the factorial of {a}", "{a} factorial", "the product of all integers from 1 to {a}"),
        (),
        (
            "{y} = 1\nfor {i} in range(2, {a} + 1):\n    {y} *= {i}",
            "{y} = 1\nfor {i} in range(1, {a} + 1):\n    {y} *= {i}",
        ),
        when=countable,
    ),
    value(
        "sum up to",
        "int",
        "int",
        (
            "the sum of all integers from 1 to {a}",
            "the sum of the numbers 1 to {a}",
            "the sum of the first {a} positive integers",
        ),
        ("sum(range(1, {a} + 1))", "{a} * ({a} + 1) // 2"),
        ("{y} = 0\nfor {i} in range(1, {a} + 1):\n    {y} += {i}",),
        when=lambda a: a is not None and a > 1,
    ),
    value(
        "range to",
        "int",
        "ints",
        (
            "the list of integers from 1 to {a}",
            "a list of the numbers from 1 to {a}",
            "the whole numbers 1 to {a} as a list",
        ),
        ("list(range(1, {a} + 1))", "[{i} for {i} in range(1, {a} + 1)]"),
        ("{y} = []\nfor {i} in range(1, {a} + 1):\n    {y}.append({i})",),
        when=countable,
    ),
    value(
        "multiples",
        "int",
        "ints",
        ("the list of the first {k} multiples of {a}", "the first {k} multiples of {a} as a list"),
        ("[{a} * ({i} + 1) for {i} in range({k})]", "[{a} * {i} for {i} in range(1, {k} + 1)]"),
        ("{y} = []\nfor {i} in range({k}):\n    {y}.append({a} * ({i} + 1))",),
        slots={"k": slots.between(2, 6)},
    ),
    value(
        "divisors",
        "int",
        "ints",
        ("the list of the positive divisors of {a}", "all positive divisors of {a} in ascending order"),
        ("[{i} for {i} in range(1, {a} + 1) if {a} % {i} == 0]",),
        ("{y} = []\nfor {i} in range(1, {a} + 1):\n    if {a} % {i} == 0:\n        {y}.append({i})",),
        when=lambda a: a is not None and 1 <= a <= 500,
    ),
    value(
        "countdown",
        "int",
        "ints",
        ("the list of integers from {a} down to 1", "the numbers from {a} down to 1 as a list"),
        ("list(range({a}, 0, -1))",),
        ("{y} = []\nfor {i} in range({a}, 0, -1):\n    {y}.append({i})",),
        when=countable,
    ),
    value(
        "power of",
        "int",
        "int",
        ("{k} to the power of {a}", "{k} raised to the power {a}"),
        ("{k} ** {a}", "pow({k}, {a})"),
        slots={"k": slots.times},
        when=countable,
    ),
)
