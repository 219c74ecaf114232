"""Families that take a function defined in an earlier turn: map, filter, sort by it, apply it twice."""

from polyturn.curriculum.family import Family, value

MAPPED = (
    "the results of {a} for every element of {b}",
    "the list of {a} applied to each element of {b}",
    "a list of what {a} returns for each element of {b}",
)
MAPPING = ("[{a}({x}) for {x} in {b}]", "list(map({a}, {b}))")
MAPPING_LOOP = ("{y} = []\nfor {x} in {b}:\n    {y}.append({a}({x}))",)
KEPT = (
    "the elements of {b} for which {a} returns True",
    "all elements of {b} that {a} accepts",
    "a list of the elements of {b} for which {a} is true",
)
KEEPING = ("[{x} for {x} in {b} if {a}({x})]", "list(filter({a}, {b}))")
KEEPING_LOOP = ("{y} = []\nfor {x} in {b}:\n    if {a}({x}):\n        {y}.append({x})",)
BY_KEY = ("{b} sorted by the result of {a}", "the elements of {b} sorted with {a} as the key")

FAMILIES: tuple[Family, ...] = (
    value("map numbers", ("int->int", "ints"), "ints", MAPPED, MAPPING, MAPPING_LOOP),
    value("map numbers to text", ("int->str", "ints"), "strs", MAPPED, MAPPING, MAPPING_LOOP),
    value("map numbers to decimals", ("int->float", "ints"), "floats", MAPPED, MAPPING, MAPPING_LOOP),
    value("map decimals", ("float->float", "floats"), "floats", MAPPED, MAPPING, MAPPING_LOOP),
    value("map decimals to integers", ("float->int", "floats"), "ints", MAPPED, MAPPING, MAPPING_LOOP),
    value("map words", ("str->str", "strs"), "strs", MAPPED, MAPPING, MAPPING_LOOP),
    value("map words to numbers", ("str->int", "strs"), "ints", MAPPED, MAPPING, MAPPING_LOOP),
    value("keep numbers", ("int->bool", "ints"), "ints", KEPT, KEEPING, KEEPING_LOOP),
    value("keep words", ("str->bool", "strs"), "strs", KEPT, KEEPING, KEEPING_LOOP),
    value("sort numbers by", ("int->int", "ints"), "ints", BY_KEY, ("sorted({b}, key={a})",)),
    value("sort words by", ("str->int str->str", "strs"), "strs", BY_KEY, ("sorted({b}, key={a})",)),
    value(
        "sum of results",
        ("int->int", "ints"),
        "int",
        ("the sum of {a} over all elements of {b}", "the sum of the results of {a} for the elements of {b}"),
        ("sum({a}({x}) for {x} in {b})", "sum(map({a}, {b}))"),
        ("{y} = 0\nfor {x} in {b}:\n    {y} += {a}({x})",),
    ),
    value(
        "largest result",
        ("int->int", "ints"),
        "int",
        ("the largest result of {a} for the elements of {b}", "the maximum of {a} over all elements of {b}"),
        ("max({a}({x}) for {x} in {b})", "max(map({a}, {b}))"),
    ),
    value(
        "count kept",
        ("int->bool", "ints"),
        "int",
        (
            "the number of elements of {b} for which {a} returns True",
            "how many elements of {b} the function {a} accepts",
        ),
        ("sum({a}({x}) for {x} in {b})", "len([{x} for {x} in {b} if {a}({x})])"),
    ),
    value(
        "any kept",
        ("int->bool", "ints"),
        "bool",
        ("{a} returns True for any element of {b}", "there is an element of {b} for which {a} returns True"),
        ("any({a}({x}) for {x} in {b})", "any(map({a}, {b}))"),
    ),
    value(
        "all kept",
        ("int->bool", "ints"),
        "bool",
        ("{a} returns True for all elements of {b}", "{a} returns True for every element of {b}"),
        ("all({a}({x}) for {x} in {b})", "all(map({a}, {b}))"),
    ),
    value(
        "result dictionary",
        ("str->int", "strs"),
        "dict",
        (
            "a dictionary from each element of {b} to the result of {a} for it",
            "a dictionary that maps every element of {b} to what {a} returns for it",
        ),
        ("{{x}: {a}({x}) for {x} in {b}}",),
        ("{y} = {}\nfor {x} in {b}:\n    {y}[{x}] = {a}({x})",),
    ),
    value(
        "applied twice to number",
        ("int->int", "int"),
        "int",
        ("the result of applying {a} twice to {b}", "the result of {a} applied to the result of {a} for {b}"),
        ("{a}({a}({b}))",),
    ),
    value(
        "applied twice to text",
        ("str->str", "str"),
        "str",
        ("the result of applying {a} twice to {b}", "the result of {a} applied to the result of {a} for {b}"),
        ("{a}({a}({b}))",),
    ),
    value(
        "largest by",
        ("int->int", "ints"),
        "int",
        (
            "the element of {b} for which {a} returns the largest result",
            "the element of {b} with the highest result of {a}",
        ),
        ("max({b}, key={a})",),
    ),
)
