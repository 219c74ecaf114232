"""Grading by tests that call the program's functions from another process."""

import subprocess
import sys

import pytest

from polyturn.sandbox import (
    FunctionJob,
    Isolation,
    Limits,
    SandboxError,
    grade_function,
    grade_functions,
    run_batch,
    run_program,
)
from polyturn.sandbox.limits import Level

LIMITS = Limits(cpu_s=1.0, memory_mb=256)
CHECK = "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate([1]) == [1, 1]\n"
RIGHT = "def double(x):\n    return 2 * x"
ENDS = {
    "right": (RIGHT, "passed", None),
    "wrong": ("def double(x):\n    return 3 * x", "wrong", "AssertionError"),
    "raises in a call": ("def double(x):\n    return missing", "error", "NameError"),
    "raises before": ("raise ValueError('no')", "error", "ValueError"),
    "is not Python": ("def double(", "error", "SyntaxError"),
    "has no such function": ("def doubl(x): return 2 * x", "error", "NoFunctionError"),
    "has something else of that name": ("double = 4", "error", "NoFunctionError"),
    "exits before": ("import sys\ndef double(x): return 2 * x\nsys.exit(0)", "error", "SystemExit"),
    "exits in a call": ("import sys\ndef double(x): sys.exit(0)", "error", "SystemExit"),
    "leaves in a call": ("import os\ndef double(x): os._exit(0)", "error", "Exit"),
    "never ends": ("def double(x):\n    while True: pass", "timeout", "TimeLimit"),
    "never begins": ("while True: pass", "timeout", "TimeLimit"),
    "takes all memory": ("def double(x): return [0] * 10**10", "memory", "MemoryError"),
    "floods": ("def double(x):\n    while True: print('x' * 1000)", "output-limit", "OutputLimit"),
    "traces": ("import ctypes\ndef double(x): ctypes.CDLL(None).ptrace(0, 1, 0, 0)", "forbidden", "SystemCall"),
}


@pytest.mark.parametrize("name", ENDS)
def test_how_a_program_can_end(name: str) -> None:
    program, verdict, kind = ENDS[name]
    result = grade_function(program, CHECK, "double", LIMITS)
    assert (result.verdict, result.error and result.error.type) == (verdict, kind)


CHEATS = {
    "an answer equal to everything": (
        "class Yes:\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n"
        "    __bool__ = __lt__ = __gt__ = __le__ = __ge__ = lambda *a: True\n"
        "    __sub__ = __rsub__ = __abs__ = __getitem__ = lambda self, *a: self\n"
        "def double(x): return Yes()"
    ),
    "a number with a comparison of its own": (
        "class Number(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\n"
        "def double(x): return Number(0)"
    ),
    "a class of its own for lists": (
        "class List(list):\n    def __eq__(self, other): return True\ndef double(x): return List() if x == [1] else 4"
    ),
    "builtins replaced": (
        "import builtins\nbuiltins.isinstance = lambda *a: True\nbuiltins.len = lambda x: 0\n"
        "abs = all = any = sorted = lambda *a, **k: True\ndef double(x): return None"
    ),
    "a patched assertion": "import builtins\nbuiltins.AssertionError = KeyError\ndef double(x): return 0",
    "frames, and objects of the grader": (
        "import gc, sys\n"
        "def double(x):\n"
        "    frame = sys._getframe()\n"
        "    while frame:\n"
        "        for value in list(frame.f_globals.values()) + list(frame.f_locals.values()):\n"
        "            if isinstance(value, str) and 'assert' in value and 'candidate(2)' in value: return 4\n"
        "        frame = frame.f_back\n"
        "    found = [o for o in gc.get_objects() if isinstance(o, str) and 'candidate(2)' in o]\n"
        "    return 4 if found else 0"
    ),
    "a check of its own": "def check(candidate): pass\ndef double(x): return 0",
    "a forged message": (
        "import os, json\n"
        "def double(x):\n"
        "    text = json.dumps(['return', 4, {'dict': []}]).encode()\n"
        "    os.write(5, len(text).to_bytes(4, 'big') + text)\n"
        "    os.write(5, b'\\xff' * 64)\n"
        "    return 0"
    ),
}


@pytest.mark.parametrize("name", CHEATS)
def test_a_wrong_program_does_not_pass(name: str) -> None:
    assert grade_function(CHEATS[name], CHECK, "double", LIMITS).verdict in ("wrong", "error", "forbidden")


def test_a_prelude_is_the_testers_and_cannot_be_replaced() -> None:
    prelude = "import math\ndef helper(x):\n    return x + 1\n"
    tests = "def check(candidate):\n    assert candidate(helper(1)) == 4\n    assert math.isclose(candidate(2), 4.0)\n"
    assert grade_function(RIGHT, tests, "double", LIMITS, prelude).verdict == "passed"
    cheat = "import types\nmath = types.SimpleNamespace(isclose=lambda *a: True)\nhelper = lambda x: 2\n"
    cheat += "double = lambda x: 4 if x == 1 else 0"
    assert grade_function(cheat, tests, "double", LIMITS, prelude).verdict == "wrong"


ANSWERS_MORE = """
import sys
def double(x):
    return 5.0
frame = sys._getframe()
while frame and "_be_called" not in frame.f_globals:
    frame = frame.f_back
Peer = frame.f_globals["Peer"]
honest = Peer._answer
def answer(self, number, method, arguments, keywords):
    if number != 0:
        return honest(self, number, method, arguments, keywords)
    more = {"double": double, "abs": lambda *a: 0, "oracle": lambda *a: 5.0, "range": lambda *a: []}
    self._send(lambda fit: ["return", more, {}])
Peer._answer = answer
"""


@pytest.mark.parametrize(
    "line",
    [
        "assert abs(candidate(3) - 9.0) < 1e-6",
        "assert candidate(3) == oracle(3)",
        "for i in range(5): assert candidate(i) == 2 * i",
    ],
)
def test_a_program_gives_the_tests_no_name_they_did_not_ask_for(line: str) -> None:
    prelude = "def oracle(x): return 9.0\n"
    tests = f"def check(candidate):\n    {line}\n"
    assert grade_function(ANSWERS_MORE, tests, "double", LIMITS, prelude).verdict == "wrong"
    # It is the answer that is refused: the rest of what it does works.
    assert (
        grade_function(ANSWERS_MORE, "def check(candidate):\n    assert candidate(3) == 5", "double").verdict
        == "passed"
    )


def test_tests_that_catch_everything_do_not_take_an_end_for_an_exception() -> None:
    tests = "def check(candidate):\n    try:\n        candidate(1)\n    except Exception:\n        return\n"
    for _ in range(10):
        assert grade_function(ENDS["leaves in a call"][0], tests, "double", LIMITS).verdict == "error"


def test_names_that_the_prelude_lacks_are_the_programs() -> None:
    program = "LIST = [1, 2]\ndef helper(x):\n    return x + 1\n" + RIGHT
    tests = "def check(candidate):\n    assert helper(1) == 2\n    assert LIST == [1, 2]\n"
    assert grade_function(program, tests, "double", LIMITS).verdict == "passed"


SPY = """
import sys
frame = sys._getframe()
while frame and "Peer" not in frame.f_globals:
    frame = frame.f_back
class Told(dict):
    def __contains__(self, name):
        print(name)
        return super().__contains__(name)
Peer = frame.f_globals["Peer"]
begin = Peer.__init__
def started(self, fd, namespace):
    begin(self, fd, namespace)
    self._namespace = Told(namespace)
Peer.__init__ = started
CONSTANT = 5
"""


def test_a_program_is_told_no_name_but_the_globals_that_the_tests_lack() -> None:
    tests = (
        "import math\nLIMIT = 3\ndef own(x): return helper(x).secret_attribute\n"
        "def check(candidate):\n    local = [word.upper() for word in 'ab'.split()]\n"
        "    class Inner:\n        field = CONSTANT\n    assert Inner.field == 5 and math.pi > LIMIT and local\n"
        "    assert candidate(2) == 4\n"
    )
    result = grade_function(SPY + RIGHT, tests, "double", LIMITS)
    assert (result.verdict, result.stdout.split()) == ("passed", ["CONSTANT", "double", "helper"])


TRAVELS = {
    "a generator": ("def f(n):\n    yield from range(n)", "assert list(candidate(3)) == [0, 1, 2]"),
    "an endless generator": (
        "import itertools\ndef f(n): return itertools.count(n)",
        "numbers = candidate(5)\n    assert [next(numbers), next(numbers)] == [5, 6]",
    ),
    "a function, both ways": (
        "def f(g): return lambda x: g(x) + 1",
        "assert candidate(lambda x: 10 * x)(2) == 21",
    ),
    "an iterator as an argument": ("def f(numbers): return sum(numbers)", "assert candidate(iter([1, 2, 3])) == 6"),
    "a built-in exception": (
        "def f(x): return {}[x]",
        "try:\n        candidate(7)\n    except KeyError as error:\n        assert error.args == (7,)\n"
        "    else:\n        assert False",
    ),
    "an exception of the program's own": (
        "class Bad(ValueError):\n    pass\ndef f(x): raise Bad('negative', x)",
        "try:\n        candidate(-1)\n    except ValueError as error:\n"
        "        assert (type(error).__name__, error.args) == ('Bad', ('negative', -1))\n"
        "    else:\n        assert False",
    ),
    "an exception of the tests, through the program": (
        "def f(g):\n    try:\n        return g()\n    except ZeroDivisionError:\n        return 'caught'",
        "assert candidate(lambda: 1 / 0) == 'caught'",
    ),
    "a changed list": (
        "def f(x): x.sort()",
        "x = [3, 1, 2]\n    assert candidate(x) is None\n    assert x == [1, 2, 3]",
    ),
    "a changed dict and set": (
        "def f(d, s): d['b'] = 2; s.discard(1)",
        "d, s = {'a': 1}, {1, 2}\n    candidate(d, s)\n    assert d == {'a': 1, 'b': 2} and s == {2}",
    ),
    "keywords": ("def f(*, a, b=2): return a + b", "assert candidate(a=1) == 3 and candidate(a=1, b=1) == 2"),
    "plain values of all kinds": (
        "def f(x): return x",
        "for x in (None, True, 2**70, 1.5, float('inf'), 'ü\\ud800', b'\\x00', 2j, (1, [2]), {1: {2, 3}}, range(3)):\n"
        "        assert candidate(x) == x and type(candidate(x)) is type(x), x",
    ),
    "what subclasses hold": (
        "import collections, enum\nclass Colour(enum.IntEnum):\n    RED = 1\n"
        "Point = collections.namedtuple('Point', 'x y')\n"
        "def f(): return collections.Counter('aab'), Point(1, 2), Colour.RED, collections.OrderedDict(a=1)",
        "assert candidate() == ({'a': 2, 'b': 1}, (1, 2), 1, {'a': 1})",
    ),
    "numpy": (
        "import numpy as np\ndef f(): return np.arange(3), np.float64(0.5), np.bool_(True)",
        "assert candidate() == ([0, 1, 2], 0.5, True)",
    ),
    "a large answer": ("def f(): return list(range(200_000))", "assert candidate() == list(range(200_000))"),
}


@pytest.mark.parametrize("name", TRAVELS)
def test_what_travels(name: str) -> None:
    program, line = TRAVELS[name]
    tests = f"def check(candidate):\n    {line}\n"
    result = grade_function(program, tests, "f", LIMITS)
    assert result.verdict == "passed", result.error
    # The same must hold in one process, or the test says something else than intended.
    if name not in ("what subclasses hold", "numpy"):
        assert grade_function(program, tests, "f", LIMITS, inproc=True).verdict == "passed"


def test_an_assertion_behind_it_still_fails() -> None:
    for name, (program, line) in TRAVELS.items():
        tests = f"def check(candidate):\n    {line}\n    assert False\n"
        assert grade_function(program, tests, "f", LIMITS).verdict == "wrong", name


def test_in_one_process_is_marked_and_leaving_early_does_not_pass() -> None:
    result = grade_function(RIGHT, CHECK, "double", LIMITS, inproc=True)
    assert (result.verdict, result.layers[-1]) == ("passed", "inproc")
    assert "inproc" not in grade_function(RIGHT, CHECK, "double", LIMITS).layers
    for program in (ENDS["exits before"][0], ENDS["exits in a call"][0], ENDS["leaves in a call"][0]):
        assert grade_function(program, CHECK, "double", LIMITS, inproc=True).verdict in ("wrong", "error")
    assert grade_function(ENDS["wrong"][0], CHECK, "double", LIMITS, inproc=True).verdict == "wrong"


def test_output_is_the_programs_and_the_tests_stay_unseen() -> None:
    secret = "def check(candidate):\n    print('secret')\n    assert candidate(2) == 4\n"
    result = grade_function("def double(x):\n    print('called with', x)\n    return 2 * x", secret, "double", LIMITS)
    assert (result.verdict, result.stdout) == ("passed", "called with 2\n")


def test_many_come_back_in_order() -> None:
    jobs = [FunctionJob(f"def double(x): return {2 + i % 2} * x", CHECK, "double") for i in range(8)]
    verdicts = [result.verdict for result in grade_functions(jobs, LIMITS, workers=2)]
    assert verdicts == ["passed", "wrong"] * 4


@pytest.mark.parametrize(
    "job",
    [
        (RIGHT, "def check(", "double"),
        (RIGHT, CHECK, "double()"),
        (RIGHT, CHECK, "double", LIMITS, "import ("),
        (b"", CHECK, "double"),
    ],
)
def test_mistakes_of_the_caller_are_told(job: tuple) -> None:
    with pytest.raises(SandboxError):
        grade_function(*job)


@pytest.mark.parametrize("level", ["full", "light"])
def test_program_and_tests_do_not_see_each_others_files(level: Level) -> None:
    """Neither by the folder they start in, nor by /tmp, where there is one."""
    leave = "import os\nfor path in ('{0}', '/tmp/{0}'):\n    try:\n        open(path, 'w').close()\n"
    leave += "    except OSError:\n        assert path[0] == '/' and os.environ['HOME'] != '/tmp'\n"
    program = leave.format("of-program") + (
        "def opens(path, mode='r'):\n    try:\n        return bool(open(path, mode))\n"
        "    except OSError:\n        return False\n"
        "def candidate(_):\n    return [os.listdir(), opens('/tmp/of-tests'), opens('../home/new', 'w'),\n"
        "            os.getcwd() == os.environ['HOME'] == os.environ['TMPDIR']]"
    )
    tests = leave.format("of-tests") + (
        "def check(candidate):\n    assert candidate(1) == [['of-program'], False, False, True]\n"
        "    assert os.listdir() == ['of-tests']\n"
        "    assert os.getcwd() == os.environ['HOME'] == os.environ['TMPDIR']"
    )
    isolation = Isolation(level, allow_weaker=True)
    for _ in range(2):
        result = grade_function(program, tests, "candidate", isolation=isolation)
        assert (result.verdict, result.error) == ("passed", None)
    assert run_program("import os\nprint(os.listdir())", isolation=isolation).stdout == "[]\n"


def test_a_full_tmp_of_the_programs_is_not_the_tests() -> None:
    program = "def candidate(x):\n    return x\ntry:\n    open('big', 'wb').write(bytes(100 << 20))\n"
    program += "except OSError:\n    pass"
    tests = "def check(candidate):\n    open('some', 'wb').write(bytes(1 << 20))\n    assert candidate(1) == 1"
    assert grade_function(program, tests, "candidate").verdict == "passed"


def test_without_namespaces() -> None:
    isolation = Isolation("light", allow_weaker=True)
    assert grade_function(RIGHT, CHECK, "double", LIMITS, isolation=isolation).verdict == "passed"
    assert grade_function(ENDS["wrong"][0], CHECK, "double", LIMITS, isolation=isolation).verdict == "wrong"


# What it leaves takes the kernel long to clear away: so the tests, which see the channel closed, end before it has.
SLOW_END = (
    "import os, time\nbig = bytearray(120 << 20)\nfor i in range(0, len(big), 4096): big[i] = 1\n"
    "reader, writer = os.pipe()\nif os.fork() == 0:\n    for i in range(0, len(big), 4096): big[i] = 2\n"
    "    os.write(writer, b'.')\n    time.sleep(100)\nos.read(reader, 1)\n"
)
CATCH_ALL = (
    "def check(candidate):\n    assert candidate(1) == 1\n"
    "    try:\n        candidate(2)\n    except BaseException:\n        return\n    assert False\n"
)


@pytest.mark.parametrize("head", ["", SLOW_END], ids=["quick", "slow"])
@pytest.mark.parametrize(
    ("act", "verdict"),
    [
        ("ctypes.CDLL(None).mount(0, 0, 0, 0, 0)", "forbidden"),
        ("os._exit(0)", "error"),
        ("os._exit(3)", "error"),
        ("os.close(5)", "error"),
    ],
)
def test_tests_that_catch_all_and_end_first_hide_no_end(head: str, act: str, verdict: str) -> None:
    program = f"{head}import ctypes, os\ndef f(x):\n    if x == 1: return 1\n    {act}\n"
    results = list(grade_functions([FunctionJob(program, CATCH_ALL, "f")] * 3, Limits(memory_mb=512)))
    assert [result.verdict for result in results] == [verdict] * 3


def test_a_light_program_that_kills_itself_does_not_pass() -> None:
    program = "import os\ndef f(x):\n    if x == 1: return 1\n    os.kill(os.getpid(), 9)\n"
    light = Isolation("light", allow_weaker=True)
    results = list(grade_functions([FunctionJob(program, CATCH_ALL, "f")] * 9, LIMITS, isolation=light))
    assert {result.verdict for result in results} == {"error"}


NESTED = "def nested(n):\n    value = 1\n    for _ in range(n): value = [value]\n    return value\n"


@pytest.mark.parametrize("depth", [90, 97])
def test_values_nested_deep_travel(depth: int) -> None:
    program = NESTED + "def f(x): return x"
    tests = NESTED + f"def check(c):\n    assert c(nested({depth})) == nested({depth})\n"
    assert grade_function(program, tests, "f").verdict == "passed"


TOO_MUCH = ["nested(100)", "nested(150)", "'\\u00fc' * 20_000_000"]


@pytest.mark.parametrize("value", TOO_MUCH)
@pytest.mark.parametrize("call", ["assert c(value)", "try: c(value)\n    except BaseException: pass"])
def test_tests_that_ask_too_much_of_the_channel_are_no_fault_of_the_program(value: str, call: str) -> None:
    tests = NESTED + f"def check(c):\n    value = {value}\n    {call}\n"
    result = grade_function("def f(x): return True", tests, "f", Limits(cpu_s=30))
    assert result.error is not None
    assert (result.verdict, result.error.type) == ("internal-error", "SandboxError")
    assert result.error.message.endswith("or larger than 64 MiB: give a smaller one")


@pytest.mark.parametrize("value", TOO_MUCH)
def test_a_value_that_the_channel_does_not_take_spoils_no_other(value: str) -> None:
    """It arrives as text about it, and neither as an exception that the tests may expect nor as an end."""
    program = NESTED + (
        f"kept = {value}\n"
        "def f(x):\n    if x == 1: return kept\n"
        "    if x == 2: raise ValueError(3, kept)\n    return x(kept)\n"
    )
    tests = (
        "def check(c):\n    assert type(c(1)).__name__ == 'Opaque' and 'too large or too deep' in repr(c(1))\n"
        "    try:\n        c(2)\n    except ValueError as error:\n        assert error.args[0] == 3, error.args\n"
        "    else:\n        assert False\n"
        "    assert c(lambda value: type(value).__name__) == 'Opaque'\n    assert c(lambda value: 5) == 5\n"
    )
    result = grade_function(program, tests, "f", Limits(cpu_s=60))
    assert result.verdict == "passed", result.error


def test_a_program_cannot_call_its_own_answers_a_fault_of_the_tests() -> None:
    program = "class CannotSend(Exception): pass\ndef f(x): raise CannotSend('x')"
    assert grade_function(program, "def check(c): assert c(1)", "f").verdict == "error"


PEER = (
    "import os, socket\nend = socket.socket(fileno=os.dup(5))\n"
    "try:\n    fd = end.getsockopt(socket.SOL_SOCKET, 77, 4)\nexcept PermissionError:\n    fd = None\n"
)


def test_the_channel_leads_to_no_handle_of_the_supervisor() -> None:
    for level in ("full", "light"):
        isolation = Isolation(level, allow_weaker=True)
        program, tests = PEER + "def f(x): return fd", "def check(c): assert c(1) is None"
        result = grade_function(program, tests, "f", LIMITS, isolation=isolation)
        assert result.verdict == "passed", result.error


@pytest.mark.parametrize(
    ("program", "stdout"),
    [
        ("import os\nprint('both')\nif os.fork() == 0:\n    x = 1\nelse:\n    os.wait()\ndef f(x): return x", "both\n"),
        ("import os\ndef f(x):\n    if os.fork() == 0:\n        print('copy', end='')\n        return 7\n"
         "    os.wait()\n    return x", "copycopy"),
        ("import os\ndef f(x):\n    if os.fork() == 0: raise ValueError\n    os.wait()\n    return x", ""),
    ],
    ids=["before", "in a call", "raises"],
)  # fmt: skip
def test_a_copy_that_a_program_makes_of_itself_answers_nobody(program: str, stdout: str) -> None:
    tests = "def check(c):\n    assert c(1) == 1\n    assert c(2) == 2\n"
    result = grade_function(program, tests, "f", LIMITS)
    assert (result.verdict, result.stdout) == ("passed", stdout), result.error


DEPTH = (
    "def deepest(f):\n    best = 0\n    for n in range(900, 1100):\n        try:\n            f(n)\n"
    "        except RecursionError:\n            return best\n        best = n\n"
)
RECURSIVE = "def f(n): return 0 if n == 0 else 1 + f(n - 1)\n"


def test_a_program_may_recurse_as_deep_as_in_plain_python() -> None:
    tests = DEPTH + "def check(c):\n    best = deepest(c)\n    print(best)\n"
    plain = subprocess.run(
        [sys.executable, "-c", f"{RECURSIVE}{tests}check(f)"], capture_output=True, text=True, check=True
    )
    expected = int(plain.stdout)
    for level in ("full", "light"):
        isolation = Isolation(level, allow_weaker=True)
        assert run_program(f"{RECURSIVE}{tests}check(f)", expected=expected, isolation=isolation).verdict == "passed"
        found = tests + f"    assert {expected} <= best <= {expected + 1}, best\n"  # the tests' frames are elsewhere
        result = grade_function(RECURSIVE, found, "f", LIMITS, isolation=isolation)
        assert result.verdict == "passed", result.error
    batch = run_batch([f"{RECURSIVE}{tests}check(f)"] * 2)
    assert [result.printed for result in batch] == [((expected,),)] * 2
