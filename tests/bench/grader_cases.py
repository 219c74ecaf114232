"""Programs that hold a grader to each rule of the released one, from a seeded generator, and its verdicts on them.

None comes from a benchmark. None hinges on what differs between Python 3.9, with numpy 1.21, and later ones, on the
order of a set of texts, or on what the program before it did; none leaves by sys.exit, which ends the released run.

    python tests/bench/grader_cases.py --released-grader mtpb_exec.py --released-python PYTHON

runs the released script (CodeGen repository, codegen1/benchmark/mtpb_exec.py, commit 979d788) on all of them, and
writes them with its verdicts to data/released_verdicts.jsonl, one [source, expected value, passed] a line. PYTHON is
3.9 with numpy 1.21.2 and psutil 5.9.4. The script's limit of 20 s is shortened to LIMIT_S.
"""

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

Case = tuple[str, object]  # a program, and the JSON value that is expected

HERE = Path(__file__).parent
RECORDED = HERE / "data" / "released_verdicts.jsonl"
LIMIT_S = 2.0

NUMPY = "import numpy as np\n"
SERIES = """class Series:
    def __init__(self, values): self.values = values
    def to_numpy(self): return np.array(self.values)
Series.__module__ = 'pandas.core.series'
"""


def cases(seed: int = 23) -> list[Case]:
    """All programs, each once, in order; the seed decides what is drawn."""
    rng = random.Random(seed)
    families = (_casts, _endings, _prints, _trouble, _mutations, _tolerance, _nested, _numpy, _surroundings)
    found = {json.dumps(case): case for family in families for case in family(rng)}
    return list(found.values())


# ---- every kind of printed value against every kind of expected one

VALUES = (
    "5 0 1 -3 5.0 5.9 0.0 3.5 1e300 True False None 'abc' '5' ' 5 ' '5.0' '3.5' 'True' 'False' 'None' '' '[1,2,3]' "
    "'nan' 'inf' [1,2,3] (1,2,3) [] () {} ['a','b','c'] ('a','b','c') {'a':1} {1:2} {'a':1,'b':2,'c':3} {5} {1,2,3} "
    "frozenset([1,2,3]) range(1,4) range(0) iter([1,2,3]) (i+1for(i)in[0,1,2]) map(int,'123') zip([1,3],[2,4]) "
    "[[1,2],[3,4]] [(1,2),(3,4)] ((1,2),(3,4)) ([1,2],[3,4]) [(1,2),[3,4]] [[1,2],(3,4)] [(1,2),5] [True] [1] [1.0] "
    "[0.3] [0.1+0.2] [None] [{'a':1}] [{'a':(1,2)}] b'abc' b'5' (5+0j) 5j print len int object() [float('nan')] "
    "float('nan') float('inf') bytearray(b'abc') enumerate('abc') 'abc'.upper() [1,'a',2.5,None,True] 10**30 -0.0"
).split(" ")
GOLDS: list[object] = [5, 0, 1, 5.0, 3.5, 1.0, 0.0, "abc", "5", "True", "[1, 2, 3]", "{'a': 1}", "", True, False, None]
GOLDS += [[1, 2, 3], [], ["a", "b", "c"], [[1, 2], [3, 4]], [1], [True], [0.3], [None], {"a": 1}, {}, [{"a": 1}]]
GOLDS += [[1.0, 2.0, 3.0], [1, "a", 2.5, None, True], [97, 98, 99], 10**30, float("inf")]


def _casts(rng: random.Random) -> Iterator[Case]:
    for value in VALUES:
        for gold in rng.sample(GOLDS, 14):
            yield f"print({value})", gold
    pairs = [
        ("5.9", 5),
        ("'5'", 5),
        ("True", 1),
        ("True", 1.0),
        ("'3.5'", 3.5),
        ("'abc'", ["a", "b", "c"]),
        ("1", True),
    ]
    pairs += [("'True'", True), ("{'a':1}", ["a"]), ("[(1,2),(3,4)]", [[1, 2], [3, 4]]), ("(5+0j)", 5), ("5", "5")]
    pairs += [("None", "None"), ("[(1,2),[3,4]]", "[[1, 2], [3, 4]]"), ("'None'", None), ("1e300", 10**300)]
    pairs += [
        ("((1,2),(3,4))", [[1, 2], [3, 4]]),
        ("[[1,2],(3,4)]", [[1, 2], [3, 4]]),
        ("[True]", [1]),
        ("[1]", [True]),
    ]
    for value, gold in pairs:
        yield f"print({value})", gold


# ---- what the last statement is

ENDINGS = (
    "print({v})",
    "{v}",
    "({v})",
    "x = {v}",
    "x = y = {v}",
    "x: object = {v}",
    "print({v})\nx: object",
    "x = 0\nx += {v}",
    "print({v})\nx = 0\nx += 7",
    "(x := {v})",
    "print(x := {v})",
    "if True:\n    print({v})",
    "if True:\n    {v}",
    "for i in range(2):\n    print({v})",
    "for i in range(2):\n    print(i)\nelse:\n    print({v})",
    "while True:\n    print({v})\n    break",
    "with open('/dev/null') as f:\n    print({v})",
    "try:\n    print({v})\nfinally:\n    pass",
    "def main():\n    print({v})\nmain()",
    "def main():\n    return {v}\nmain()",
    "def main():\n    return {v}\nprint(main())",
    "def main():\n    print({v})\nif __name__ == '__main__':\n    main()",
    "def print_result(v):\n    print(v)\nprint_result({v})",
    "def print_result(v):\n    return v\nprint_result({v})",
    "def print_result(v):\n    return v\nprint(7)\nprint_result({v})",
    "def printer(v):\n    print(v)\nx = printer({v})",
    "print({v})\ndef late():\n    return 7",
    "print({v})\nclass Late:\n    x = 7",
    "print({v})\nimport math",
    "print({v})\npass",
    "print({v})\n'''a trailing text'''",
    "'''{v}'''",
    "print({v})\n# a comment",
    "print({v})\nx = [3, 1]\nx.sort()",
    "print({v})\nx = {v}",
    "print({v})\nx = 7",
    "print({v})\nx = 7\nx",
    "print({v})\nx = 7\ndel x",
    "print({v})\nassert True",
    "print({v})\nglobal x",
    "x = {v}\nx",
    "x = {v}\nprint(x); x",
    "{v}; {v}",
    "print({v});",
    "print({v}) if True else None",
    "[print({v})]",
    "[print(v) for v in [{v}]]",
    "print({v}) or 7",
    "not print({v})",
    "x = print({v})",
    "x = [0]\nx[0] = {v}",
    "a, b = {v}, 2",
    "lambda: {v}",
    'f"{{{v}}}"',
    "{v} if True else 0",
    "*[{v}]",
    "*[{v}],",
    "return {v}",
    "yield {v}",
    "await {v}",
    "print",
    "p = print\np({v})",
    "show = print\nx = show({v})",
    "import builtins\nbuiltins.print({v})",
    "import builtins\nprint(7)\nbuiltins.print({v})",
    "import sys\nsys.stdout.write(str({v}))",
    "import pprint\npprint.pprint({v})",
    "def print(*args):\n    pass\nprint({v})",
    "def print(*args):\n    import builtins\n    builtins.print(*args)\nprint({v})",
    "print.__call__({v})",
    "(print)({v})",
    "print(print({v}))",
    "print({v})\nprint",
    "from __future__ import annotations\nprint({v})",
    "print_stack.append({{'args': ({v},)}})",
    "print({v})\nprint_stack = []\nprint",
    "print_stack = [{{'args': [{v}]}}]\nif True: pass",
    "print(7)\nexec('print({v})')",
    "eval('{v}')",
    "class A:\n    def show(self):\n        print({v})\nA().show()",
    "class A:\n    def print(self):\n        return {v}\nA().print()",
    "class A:\n    def __str__(self):\n        return str({v})\nprint(A())",
    "class A(int):\n    pass\nprint([A(1), A(2)])",
    "import json\nprint(json.dumps({v}))",
    "import threading\nt = threading.Thread(target=lambda: print({v}))\nt.start()\nt.join()\nif True: pass",
)


def _endings(rng: random.Random) -> Iterator[Case]:
    golds: list[object] = [5, "abc", [1, 2], 3.5, True, None]
    for ending in ENDINGS:
        for gold in golds:
            yield ending.format(v=repr(gold)), gold
        yield ending.format(v="5"), rng.choice([7, "5", [5], 5.0, "None", True])
    yield from (("", 5), ("\n\n", 5), ("# nothing", 5), ("pass", None), ("x = 5", 5), ("import math", 5))
    yield from (("'''5'''", "5"), ("x.y = 5", 5), ("5\n\n\n# end", 5), ("print(5)\n5.0", 5.0), ("...", 5))


# ---- what print is given

PRINTS = (
    "print({a}, {b})",
    "print({b}, {a})",
    "print('Result:', {a})",
    "print({a}, 'is the result')",
    "print({a})\nprint()",
    "print()\nprint({a})",
    "print()",
    "print({a})\nprint(*[])",
    "print(*[{a}, {b}])",
    "print(*[{a}])",
    "print(*{a!r})",
    "print({a}, sep='')",
    "print({a}, {b}, sep='')",
    "print({a}, {b}, sep=', ')",
    "print({a}, end='')",
    "print({a}, end='!\\n')",
    "print({a}, flush=True)",
    "print({a}, **{{'end': ''}})",
    "import sys\nprint({a}, file=sys.stderr)",
    "import sys\nprint({b})\nprint({a}, file=sys.stderr)",
    "import sys\nprint({a})\nprint({b}, file=sys.stderr)",
    "import sys\nprint({a}, file=sys.stdout)",
    "import io\nprint({a}, file=io.StringIO())",
    "import io, contextlib\nwith contextlib.redirect_stdout(io.StringIO()):\n    print({a})",
    "print({a}, color='red')",
    "print({a}, sep=5)",
    "print({a}, end=5)",
    "print({a})\nprint({b})",
    "print({b})\nprint({a})",
    "print({a}\n)",
    "print(str({a}))",
    "print(repr({a}))",
    'print(f"{{{a}}}")',
    "print('%s' % ({a},))",
    "print(({a}))",
    "print(({a},))",
    "print([{a}])",
)


def _prints(rng: random.Random) -> Iterator[Case]:
    pairs = [(5, 7), ("abc", "d"), ("a", 1), (3.5, 2), (True, False), ([1, 2], [3])]
    for shape in PRINTS:
        for a, b in pairs:
            yield shape.format(a=repr(a), b=repr(b)), a
        a, b = rng.choice(pairs)
        yield shape.format(a=repr(a), b=repr(b)), rng.choice([f"{a} {b}", b, f"{b} {a}", [a], str(a)])
    yield from (("print('a', 'b')", "a b"), ("print(1, 2)", "1 2"), ("print(1, 2, sep=', ')", "1, 2"))


# ---- exceptions, syntax errors, time

RAISES = (
    "1 / 0",
    "x = 1 / 0",
    "undefined",
    "[][1]",
    "int('a')",
    "assert False",
    "raise ValueError('no')",
    "raise StopIteration",
    "raise MemoryError",
    "raise RecursionError",
    "def f(n):\n    return f(n + 1)\nf(0)",
    "import no_such_module",
    "class Silent(Exception):\n    def __str__(self):\n        return 1 / 0\nraise Silent",
    "class Silent(Exception):\n    def __str__(self):\n        return 5\nraise Silent",
    "for x in range(2):\n    raise KeyError(x)",
    "try:\n    1 / 0\nexcept ZeroDivisionError:\n    pass",
    "try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise TypeError",
    "try:\n    1 / 0\nfinally:\n    x = 2",
    "exit()",
    "quit()",
    "import sys\nsys.stdout.close()",
    "import sys\nsys.stdout.close()\n1 / 0",
    "raise Exception",
)
BROKEN = (
    "print(5",
    "print(5))",
    "print 5",
    "x = = 5",
    "print(5)\n  print(6)",
    "if True:\nprint(5)",
    "def f(:\n    pass",
    "print(5)\nreturn",
    "print(5)\nbreak",
    "print(5)\nyield 5",
    "print(5)\nx = 08",
    "print('5)",
    "print(5)\n'''",
    "print(5)\nnonlocal x",
    "print(5)\n\tx = 1\n        y = 2",
    "print(5)\x00",
    "print(5)\nf(x for x in y, 1)",
    "print(5)\n1 = x",
    "print(5)\n\udc80",
    "print(5)\nx = 'a' 'b' 5",
    "5 +",
)
SLOW = (
    "print(5)\nwhile True:\n    pass",
    "while True:\n    pass\nprint(5)",
    "print(5)\nimport time\ntime.sleep(60)",
    "try:\n    for i in iter(int, 1):\n        i += 1\nexcept Exception:\n    print(5)",
    "import time\ntry:\n    time.sleep(60)\nexcept:\n    pass\nprint(5)",
    "for i in iter(int, 1):\n    print(5)",
)


def _trouble(rng: random.Random) -> Iterator[Case]:
    for trouble in RAISES:
        yield f"print(5)\n{trouble}", 5
        yield f"{trouble}\nprint(5)", 5
        yield f"print(5)\nprint(7)\n{trouble}", rng.choice([5, 7])
        yield f"x = 5\nprint(x)\n{trouble}\nprint(7)", rng.choice([5, 7])
        yield f"{trouble}\n5", 5
        yield trouble, rng.choice([5, None, "None"])
    for source in BROKEN:
        yield source, 5
        yield source.replace("5", "'a'"), "a"
    for source in SLOW:
        yield source, 5
    yield SLOW[0], 7


# ---- changes after the print

MUTATIONS = (
    ("x = [1, 2]\nprint(x)\nx.append(3)", [1, 2], [1, 2, 3]),
    ("x = [1, 2]\nprint(x)\nfor i in range(1):\n    x.append(3)", [1, 2], [1, 2, 3]),
    ("x = [1, 2]\nprint(x)\nx[0] = 5", [1, 2], [5, 2]),
    ("x = [1, 2]\nprint(x)\nx += [3]\npass", [1, 2], [1, 2, 3]),
    ("x = [1, 2]\nprint(x)\nx = [3]\npass", [1, 2], [3]),
    ("x = [[1], [2]]\nprint(x)\nx[0].append(3)\npass", [[1], [2]], [[1, 3], [2]]),
    ("x = {'a': 1}\nprint(x)\nx['b'] = 2\npass", ["a"], ["a", "b"]),
    ("x = {1}\nprint(x)\nx.add(2)\npass", [1], [1, 2]),
    ("x = [2, 1]\nprint(x)\nx.sort()\nif x: pass", [2, 1], [1, 2]),
    ("x = [2, 1]\nx.sort()\nprint(x)", [1, 2], [2, 1]),
    ("x = [1, 2]\nprint(list(x))\nx.append(3)\npass", [1, 2], [1, 2, 3]),
    ("x = [1, 2]\nprint(x)\nx.clear()\npass", [1, 2], []),
    ("x = iter([1, 2])\nprint(x)\nnext(x)\npass", [1, 2], [2]),
    ("x = 'ab'\nprint(x)\nx += 'c'\npass", "ab", "abc"),
)


def _mutations(rng: random.Random) -> Iterator[Case]:
    for source, before, after in MUTATIONS:
        yield source, before
        yield source, after
        yield source, str(rng.choice([before, after]))


# ---- floats


def _tolerance(rng: random.Random) -> Iterator[Case]:
    for _ in range(60):
        gold = round(rng.uniform(-10, 10) * 10 ** rng.randint(-8, 9), rng.randint(0, 9))
        off = gold + rng.choice([0, 1, -1]) * rng.choice([1e-13, 1e-9, 4e-7, 9e-7, 1.1e-6, 3e-6, 1e-3])
        relative = gold * (1 + rng.choice([1e-12, 5e-7, -5e-7, 2e-6]))
        for got in (off, relative):
            yield f"print({got!r})", gold
            yield f"print([{got!r}])", [gold]
    for got, gold in ((1e-9, 2e-9), (0.0, 5e-7), (0.0, 2e-6), (1e9, 1e9 + 1), (-0.0, 0.0), (3, 3.0000001), (3, 3.1)):
        yield f"print({got!r})", gold
        yield f"print('{got!r}')", gold
        yield f"print([{got!r}, 1])", [gold, 1]
        yield f"print(({got!r},))", [gold]
    for text, gold in (("float('nan')", float("nan")), ("float('inf')", float("inf")), ("-float('inf')", float("inf"))):
        yield f"print({text})", gold
        yield f"print([{text}])", [gold]
        yield f"x = {text}\nprint(x)", str(gold)


# ---- containers in containers


def _nested(rng: random.Random) -> Iterator[Case]:
    for _ in range(260):
        gold = _tree(rng, 0)
        shown = gold if rng.random() < 0.8 else _tree(rng, 0)
        yield f"{NUMPY}print({_written(shown, rng, 0)})", gold


def _tree(rng: random.Random, depth: int) -> object:
    kinds = ["int", "float", "text", "bool"] + ["list", "list", "pairs", "dict"] * (depth < 3) + ["none"] * (depth > 0)
    match rng.choice(["list", "pairs", *kinds] if depth == 0 else kinds):
        case "int":
            return rng.randint(-3, 12)
        case "float":
            return rng.choice([0.5, 1.0, 2.0, 0.1, -1.25])
        case "text":
            return rng.choice(["a", "b c", "", "5", "True"])
        case "bool":
            return rng.random() < 0.5
        case "list":
            return [_tree(rng, depth + 1) for _ in range(rng.randint(0, 3))]
        case "pairs":
            return [[rng.randint(0, 5), rng.choice(["a", 2, 1.5])] for _ in range(rng.randint(1, 3))]
        case "dict":
            return {key: _tree(rng, depth + 1) for key in rng.sample("abc", rng.randint(0, 2))}
    return None


def _written(value: object, rng: random.Random, depth: int) -> str:
    """A Python text for the value; now and then of another type that is, or is not, as good."""
    odd = rng.random() < 0.25
    if isinstance(value, bool):
        return rng.choice([f"np.bool_({value})", str(int(value))]) if odd else str(value)
    if isinstance(value, int):
        types = [f"np.int64({value})", f"float({value})", f"'{value}'", f"np.int32({value})", f"complex({value})"]
        return rng.choice([*types, f"__import__('fractions').Fraction({value})"]) if odd else str(value)
    if isinstance(value, float):
        return rng.choice([f"np.float64({value})", f"{value} + 1e-9", f"np.float32({value})"]) if odd else str(value)
    if isinstance(value, str):
        return f"np.str_({value!r})" if odd else repr(value)
    if isinstance(value, list):
        items = [_written(item, rng, depth + 1) for item in value]
        text = "[" + ", ".join(items) + "]"
        shape = rng.choice([f"tuple({text})", f"tuple({text})", f"list({text})", f"iter({text})"])
        return shape if odd else text
    if isinstance(value, dict):
        text = "{" + ", ".join(f"{key!r}: {_written(item, rng, depth + 1)}" for key, item in value.items()) + "}"
        return f"__import__('collections').OrderedDict({text})" if odd else text
    return "None"


# ---- numpy


SCALARS = (
    "bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 longdouble complex128".split()
)


def _numpy(rng: random.Random) -> Iterator[Case]:
    golds: list[object] = [1, 1.0, True, "1", "1.0", "True", [1], [1.0], [True], [[1]]]
    for name in SCALARS:
        for gold in golds:
            yield f"{NUMPY}print(np.{name}(1))", gold
        yield f"{NUMPY}print([np.{name}(1)])", [1]
        yield f"{NUMPY}print([np.{name}(1), 0])", rng.choice([[1.0, 0], [True, 0], ["1", 0], [1, False]])
        yield f"{NUMPY}print(np.{name}([1, 0]))", rng.choice([[1, 0], [1.0, 0.0], [True, False], "[1, 0]"])
    arrays: list[tuple[str, object]] = [
        ("np.array([1, 2])", [1, 2]),
        ("np.array([1, 2])", "[1, 2]"),
        ("np.array([1, 2])", "[1 2]"),
        ("np.array([1.5, 2])", [1.5, 2]),
        ("np.array([[1, 2], [3, 4]])", [[1, 2], [3, 4]]),
        ("np.array([[1, 2], [3, 4]])", "[[1, 2], [3, 4]]"),
        ("np.array([[1, 2], [3, 4]]).tolist()", [[1, 2], [3, 4]]),
        ("np.array(5)", 5),
        ("np.array(5)", "5"),
        ("np.array(5)", [5]),
        ("np.array([5])", 5),
        ("np.array([])", []),
        ("np.array(['a', 'b'])", ["a", "b"]),
        ("np.array([1, 'a', None], dtype=object)", [1, "a", None]),
        ("np.array([True, False])", [True, False]),
        ("np.array([True, False])", [1, 0]),
        ("[np.array([1, 2])]", [[1, 2]]),
        ("[np.array([1, 2]), np.array([3, 4])]", [[1, 2], [3, 4]]),
        ("[np.array([1])]", [[1]]),
        ("[np.array([1])]", [1]),
        ("[np.array([2])]", [[1]]),
        ("[np.array(1)]", [1]),
        ("[np.array([])]", [[]]),
        ("[np.array([1, 1])]", [1]),
        ("[np.array(['a'])]", ["a"]),
        ("[np.array([None], dtype=object)]", [None]),
        ("[np.array([0.1], dtype=np.float32)]", [[0.1]]),
        ("[np.float32(0.1)]", [0.1]),
        ("np.float32(0.1)", 0.1),
        ("np.float32(0.1)", "0.1"),
        ("[np.float64(0.1), 1]", "[0.1, 1]"),
        ("[np.int64(3)]", "[3]"),
        ("[np.bool_(True)]", "[True]"),
        ("{'a': np.float64(0.5)}", "{'a': 0.5}"),
        ("(np.float64(0.5), 2)", "(0.5, 2)"),
        ("np.mean([1, 2])", 1.5),
        ("np.mean([1, 2])", "1.5"),
        ("np.sum([1, 2])", 3),
        ("np.sum([1, 2])", 3.0),
        ("np.max([1, 2]) > 1", True),
        ("np.max([1, 2]) > 1", "True"),
        ("np.max([1, 2]) > 1", 1),
        ("np.where(np.array([0, 1, 1]) == 1)", [[1, 2]]),
        ("np.where(np.array([0, 1, 1]) == 1)[0]", [1, 2]),
        ("np.matrix([[1, 2]])", [[1, 2]]),
        ("np.arange(3)", [0, 1, 2]),
        ("list(np.arange(3))", [0, 1, 2]),
        ("tuple(np.arange(3))", [0, 1, 2]),
        ("set(np.arange(3))", [0, 1, 2]),
        ("np.zeros((2, 2))", [[0, 0], [0, 0]]),
        ("np.nan", float("nan")),
        ("np.datetime64('2020-01-02')", "2020-01-02"),
        ("np.str_('abc')", "abc"),
        ("np.str_('abc')", ["a", "b", "c"]),
        ("np", "np"),
    ]
    for text, gold in arrays:
        yield f"{NUMPY}print({text})", gold
        yield f"{NUMPY}x = {text}\nx", gold
        yield f"{NUMPY}x = {text}", gold
    lists: list[tuple[str, object]] = [("[1, 2]", [1, 2]), ("[1, 2]", [1, 2.0000001]), ("[1, 2]", [1, 3])]
    lists += [("[1, 1]", [1]), ("[1, 1]", 1), ("['a']", ["a"]), ("[True]", [True]), ("[]", []), ("[1]", "1")]
    lists += [("[1, 2]", [1, 2, 3]), ("[1, None]", [1, None]), ("[0.5]", [[0.5], [0.5]])]
    for text, gold in lists:
        yield f"{NUMPY}{SERIES}print(Series({text}))", gold


# ---- what surrounds the program

SURROUNDINGS: tuple[Case, ...] = (
    ("import os\nprint(os.getcwd is None)", True),
    ("import os\ntry:\n    os.getcwd()\n    print(5)\nexcept TypeError:\n    print(7)", 7),
    ("import os\nprint(5)\nos.remove('a')", 5),
    ("import os\nos.getcwd()\nprint(5)", 5),
    ("import shutil\nprint(shutil.rmtree is None)", True),
    ("import subprocess\nprint(subprocess.Popen)", "None"),
    ("import resource\nprint(5)", 5),
    ("import tkinter\nprint(5)", 5),
    ("print(exit)", "None"),
    ("import sys\nsys.stdout.buffer\nprint(5)", 5),
    ("import sys\nprint(sys.stdout.getvalue())", ""),
    ("import sys\nprint(5)\nprint(sys.stdout.getvalue())", "5\n"),
    ("import sys\nprint(sys.stdout.encoding)", "None"),
    ("import sys\nsys.stdout = None\nprint(5)", 5),
    ("print(__name__)", "__main__"),
    ("print('__file__' in globals())", False),
    ("print(sorted(k for k in globals() if not k.startswith('__')))", ["builtins", "print", "print_stack"]),
    ("print(type(__builtins__))", "<class 'dict'>"),
    ("print(builtins.len('abc'))", 3),
    ("builtins = 3\nprint(5)", 5),
    ("print(print.__name__)", "print"),
    ("import inspect\nprint(str(inspect.signature(print)))", "(*args, **kwargs)"),
    ("input()\nprint(5)", 5),
    ("def f(x):\n    print(x)\n    return x\nf(5)", 5),
    ("def f(x):\n    print(x)\n    return 7\nf(5)", 5),
    ("x = [1, 2, 3]\nfor i in x:\n    print(i)", 3),
    ("x = [1, 2, 3]\n[i * 2 for i in x]", [2, 4, 6]),
    ("from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\nprint(P(5))", "P(x=5)"),
    ("from collections import Counter\nprint(Counter('aab'))", ["a", "b"]),
    ("from collections import Counter\nprint([Counter('aab')])", [{"a": 2, "b": 1}]),
    ("from collections import namedtuple\nP = namedtuple('P', 'x y')\nprint([P(1, 2)])", [[1, 2]]),
    ("from collections import deque\nprint(deque([1, 2]))", [1, 2]),
    ("from fractions import Fraction\nprint(Fraction(1, 2))", 0.5),
    ("from fractions import Fraction\nprint([Fraction(1, 2)])", [0.5]),
    ("from decimal import Decimal\nprint(Decimal('0.1'))", 0.1),
    ("from decimal import Decimal\nprint([Decimal('0.1')])", [0.1]),
    ("from decimal import Decimal\nprint([Decimal('0.5')])", [0.5]),
    ("from enum import IntEnum\nclass E(IntEnum):\n    A = 5\nprint([E.A])", [5]),
    ("class T(str):\n    pass\nprint(T('abc'))", "abc"),
    ("class T(str):\n    pass\nprint([T('abc')])", ["abc"]),
    ("class L(list):\n    pass\nprint(L([(1, 2)]))", [[1, 2]]),
    ("class L(list):\n    pass\nprint(L([1, 2]))", [1, 2]),
    ("class N:\n    def __int__(self):\n        return 5\nprint(N())", 5),
    ("class N:\n    def __float__(self):\n        return 0.5\nprint(N())", 0.5),
    ("class N:\n    def __iter__(self):\n        return iter([1, 2])\nprint(N())", [1, 2]),
    ("class N:\n    def __str__(self):\n        return 'abc'\nprint(N())", "abc"),
    ("x = []\nx.append(x)\nprint(x)", [[]]),
    ("x = []\nx.append(x)\nprint(x)", "[[...]]"),
    ("print(list(range(100000)))", [0, 1]),
    ("print('a' * 200000)", "a"),
    ("import random\nrandom.seed(1)\nprint(5)", 5),
    ("import re\nprint(re.findall('a(.)', 'abac'))", ["b", "c"]),
    ("import math\nprint(math.floor(2.7))", 2),
    ("import datetime\nprint(datetime.date(2020, 1, 2))", "2020-01-02"),
    ("def f(n):\n    return 5 if n == 0 else f(n - 1)\nprint(f(988))", 5),
    ("def f(n):\n    return 5 if n == 0 else f(n - 1)\nprint(f(995))", 5),
    ("print('é')", "é"),
    ("print('\\ud800')", "\ud800"),
    ("é = 5\nprint(é)", 5),
    ("print(5)\r\nprint(7)\r\n", 7),
    ("print('5')\f", 5),
    ("\tprint(5)", 5),
    ("\ufeffprint(5)", 5),
)


def _surroundings(rng: random.Random) -> Iterator[Case]:
    yield from SURROUNDINGS


# ---- the released script


def released_verdicts(wanted: list[Case], script: Path, python: Path) -> list[bool]:
    """What the released script says of each program, run by an interpreter that can run it."""
    driver = HERE / "run_released.py"
    text = "".join(json.dumps(case) + "\n" for case in wanted)
    command = [python, driver, script, str(LIMIT_S)]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the released grader ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def recorded() -> list[tuple[str, object, bool]]:
    """The programs and verdicts of data/released_verdicts.jsonl."""
    return [tuple(json.loads(line)) for line in RECORDED.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Record the released grader's verdicts.")
    parser.add_argument("--released-grader", type=Path, required=True, metavar="PATH")
    parser.add_argument("--released-python", type=Path, required=True, metavar="PYTHON")
    arguments = parser.parse_args()
    programs = cases()
    verdicts = released_verdicts(programs, arguments.released_grader, arguments.released_python)
    rows = [[*case, passed] for case, passed in zip(programs, verdicts, strict=True)]
    RECORDED.parent.mkdir(exist_ok=True)
    RECORDED.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print(f"{len(rows)} programs, {sum(verdicts)} passed", file=sys.stderr)
