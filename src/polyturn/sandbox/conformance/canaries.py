"""Honest programs: a grader that refuses them, or misjudges them, is of no use however safe it is.

Asked for what programs may not have, such as a process or a socket, a sandbox must refuse in a way that an honest
program can catch and go on from.
"""

from .probe import BOTH, DOUBLE, PASSED, Probe, Style, Task, returns, tested, text

_LONG = 50_000  # characters, several times a pipe's buffer in all, and below every limit on output
_LINES = 4


def _canary(
    name: str,
    source: str,
    task: Task = DOUBLE,
    contained: frozenset[str] = PASSED,
    styles: tuple[Style, ...] = BOTH,
    needs: tuple[str, ...] = (),
) -> Probe:
    return Probe(0, name, "canary", text(source), task, contained, styles, needs=needs)


def _tested(name: str, source: str, tests: str) -> Probe:
    return _canary(name, source, tested(tests), styles=("function",))


CANARIES = (
    _canary("a right program", "def double(x): return 2 * x"),
    _canary("a wrong program", "def double(x): return 3 * x", contained=frozenset({"wrong"})),
    _canary(
        "an exception",
        "def double(x): return {}[x]",
        contained=frozenset({"error"}),
    ),
    _canary("a syntax error", "def double(x: return 2 * x", contained=frozenset({"error"})),
    _canary("a function that is missing", "def duoble(x): return 2 * x", contained=frozenset({"error"})),
    _canary("an exception that is caught", "def double(x):\n    try: return {}[x]\n    except KeyError: return 2 * x"),
    _canary("nothing returned", "def answer(): pass", returns(None)),
    _canary(
        "text beyond ASCII", "def answer(): return 'né\\u00e9 \\U0001f600 \\x00'", returns("né\u00e9 \U0001f600 \x00")
    ),
    _canary(
        "nested values",
        "def answer(): return [{'a': [1, 2.5]}, {'b': [None, True]}, {}, '']",
        returns([{"a": [1, 2.5]}, {"b": [None, True]}, {}, ""]),
    ),
    _canary(
        "keys that look like tags",
        "def answer(): return {'set': [1], 'tuple': [], 'mine': 1, 'yours': 2, 'opaque': ['a', 'b'], '': None}",
        returns({"set": [1], "tuple": [], "mine": 1, "yours": 2, "opaque": ["a", "b"], "": None}),
    ),
    _tested(
        "values of every plain type",
        "def answer(x): return [x, b'\\x00\\xff', {1, 2}, frozenset([3]), 1 + 2j, (4,), {5: {'a'}}, 1e999, True]",
        "assert candidate(range(3)) == "
        "[range(3), b'\\x00\\xff', {1, 2}, frozenset([3]), 1 + 2j, (4,), {5: {'a'}}, float('inf'), True]",
    ),
    _tested("half a character", "def answer(x): return x + '\\ud800'", "assert candidate('a') == 'a\\ud800'"),
    _tested("an integer of 10,000 digits", "def answer(n): return 10**n", "assert candidate(9999) == 10**9999"),
    _canary("a large integer", "def answer(): return 7 ** 400", returns(7**400)),
    _canary(
        "recursion 10,000 deep",
        """
import sys
sys.setrecursionlimit(20_000)
def depth(n): return 0 if n == 0 else 1 + depth(n - 1)
def answer(): return depth(10_000)
""",
        returns(10_000),
    ),
    _canary(
        "output just below the limit",
        f"""
def answer():
    for _ in range({_LINES}): print("x" * {_LONG})
    return 7
""",
        returns(7),
    ),
    _canary(
        "regular expressions",
        """
import re
def answer(): return re.findall(r"(?<=#)\\w+", "one #two three #four") + re.split(r"[,;]\\s*", "a, b;c")
""",
        returns(["two", "four", "a", "b", "c"]),
    ),
    _canary(
        "common modules",
        """
import base64, bisect, collections, copy, csv, dataclasses, decimal, enum, fractions, functools, hashlib, heapq, io
import itertools, json, math, operator, pickle, random, statistics, string, struct, textwrap, typing, uuid, zlib
@dataclasses.dataclass
class Point:
    x: int
def answer():
    text = json.dumps(dataclasses.asdict(copy.deepcopy(Point(3))))
    digest = hashlib.sha256(zlib.decompress(zlib.compress(text.encode()))).hexdigest()
    return [text, digest[:4], str(decimal.Decimal("0.1") + 1), str(fractions.Fraction(1, 3)), pickle.loads(b"I7\\n.")]
""",
        returns(['{"x": 3}', "054b", "1.1", "1/3", 7]),
    ),
    _canary(
        "dates and times",
        """
import calendar, datetime, time, zoneinfo
def answer():
    day = datetime.datetime(2024, 2, 28) + datetime.timedelta(days=2)
    assert datetime.datetime.now().year >= 2024 and time.monotonic() <= time.monotonic()
    return [day.isoformat(), calendar.isleap(2024), time.strftime("%H", time.localtime(0)), time.tzname[0]]
""",
        returns(["2024-03-01T00:00:00", True, "00", "UTC"]),
    ),
    _canary(
        "temporary files",
        """
import os, pathlib, shutil, tempfile
def answer():
    with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile("w+", dir=folder) as file:
        file.write("kept")
        file.seek(0)
        pathlib.Path(folder, "other").write_text(file.read())
        shutil.copy(os.path.join(folder, "other"), "here.txt")
    with open("here.txt") as file:
        return [file.read(), os.path.exists(folder)]
""",
        returns(["kept", False]),
    ),
    _canary(
        "threads",
        """
import queue, threading
from concurrent.futures import ThreadPoolExecutor
def answer():
    results = queue.Queue()
    threads = [threading.Thread(target=results.put, args=[i]) for i in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    with ThreadPoolExecutor(4) as pool:
        return sorted(results.get() for _ in threads) + list(pool.map(abs, [-4, -5]))
""",
        returns([0, 1, 2, 3, 4, 5]),
    ),
    _canary(
        "asyncio",
        """
import asyncio
async def later(x):
    await asyncio.sleep(0.01 * (3 - x))
    return x
async def all_of_them(): return await asyncio.gather(*map(later, range(3)))
def answer(): return asyncio.run(all_of_them())
""",
        returns([0, 1, 2]),
    ),
    _canary(
        "a process, refused",
        """
import subprocess, sys
def answer():
    try:
        subprocess.run([sys.executable, "-c", "pass"], check=True, timeout=5)
    except PermissionError:
        pass
    return 7
""",
        returns(7),
    ),
    _canary(
        "a socket, refused",
        """
import socket
def answer():
    try:
        socket.create_connection(("127.0.0.1", 9), timeout=1)
    except OSError:
        pass
    return 7
""",
        returns(7),
    ),
    _canary(
        "a clock of its own",
        """
import time
ticks = iter(range(1000))
time.time = time.monotonic = time.perf_counter = lambda: float(next(ticks))
time.sleep = lambda seconds: None
def double(x):
    time.sleep(1000)
    return 2 * x
""",
    ),
    _canary("a nap", "import time\ndef answer():\n    time.sleep(0.3)\n    return 7", returns(7)),
    _canary("a tenth of a second of work", "def answer(): return sum(i % 7 for i in range(10**6))", returns(2999997)),
    _canary(
        "a fault in the exit handlers only",
        "import atexit\natexit.register(len)\ndef double(x): return 2 * x",
        DOUBLE,
        frozenset({"passed", "error"}),
    ),
    _tested(
        "a function that takes a function",
        "def answer(function, xs): return [function(x) for x in xs]",
        "assert candidate(lambda x: x * 3, [1, 2]) == [3, 6]",
    ),
    _tested(
        "a function that returns a function",
        "def answer(x): return lambda y: x - y",
        "assert candidate(5)(3) == 2",
    ),
    _tested(
        "a generator",
        "def answer(n):\n    while n:\n        yield n\n        n -= 1",
        "assert list(candidate(3)) == [3, 2, 1]\nassert next(candidate(2)) == 2",
    ),
    _tested(
        "an exception that tests ask for",
        "class Small(ValueError): pass\ndef answer(x):\n    if x < 0: raise Small('below 0')\n    return x",
        """
assert candidate(1) == 1
try:
    candidate(-1)
except ValueError as error:
    assert str(error) == "below 0"
else:
    raise AssertionError
""",
    ),
    _tested(
        "a list changed in place",
        "def answer(xs): xs.sort()",
        "xs = [3, 1, 2]\nassert candidate(xs) is None\nassert xs == [1, 2, 3]",
    ),
    _tested(
        "state between calls",
        "calls = []\ndef answer(x):\n    calls.append(x)\n    return sum(calls)",
        "assert candidate(1) == 1\nassert candidate(2) == 3",
    ),
    _tested(
        "tests that throw their own dice",
        "def answer(xs): return sorted(xs)",
        """
import random
dice = random.Random(7)
for _ in range(50):
    xs = [dice.randrange(100) for _ in range(10)]
    assert candidate(list(xs)) == sorted(xs)
""",
    ),
    _canary(
        "numpy",
        """
import numpy as np
def answer():
    a = np.array([[4.0, 1.0], [2.0, 3.0]])
    solution = np.linalg.solve(a, [6.0, 8.0]).round(6).tolist()
    return [solution, np.fft.fft([1, 0, 0, 0]).real.tolist(), list(np.random.default_rng(1).integers(5, size=2).shape)]
""",
        returns([[1.0, 2.0], [1.0, 1.0, 1.0, 1.0], [2]]),
        needs=("numpy",),
    ),
    _canary(
        "a numpy answer",
        "import numpy as np\ndef answer(): return np.int64(7)",
        returns(7),
        needs=("numpy",),
    ),
    _canary(
        "pandas",
        """
import pandas as pd
def answer():
    frame = pd.DataFrame({"k": ["a", "b", "a"], "v": [1, 2, 3]})
    return frame.groupby("k")["v"].sum().to_dict()
""",
        returns({"a": 4, "b": 2}),
        needs=("pandas",),
    ),
    _canary(
        "scikit-learn",
        """
from sklearn.linear_model import LinearRegression
def answer(): return round(float(LinearRegression().fit([[0], [1], [2]], [1, 3, 5]).predict([[3]])[0]), 6)
""",
        returns(7.0),
        needs=("sklearn",),
    ),
)
