"""One program: its verdict, output, printed values, error and limits."""

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from polyturn.sandbox import (
    UNSET,
    Isolation,
    Limits,
    Opaque,
    ProgramError,
    SandboxError,
    run_batch,
    run_program,
    run_programs,
)
from polyturn.sandbox.limits import Level
from polyturn.sandbox.pool import close_idle

SHORT = Limits(cpu_s=0.5, wall_s=10)


def error_of(source: str, **options: object) -> ProgramError:
    result = run_program(source, **options)  # pyright: ignore[reportArgumentType]
    assert result.error is not None
    return result.error


# Each is also run by the plain interpreter, which is the oracle.
PROGRAMS = {
    "print": "print(1, 'a', sep='-', end='.')\nprint()",
    "stdin": "print(input('? ') + input())",
    "exit 0": "import sys\nprint(1)\nsys.exit(0)",
    "exit none": "print(1)\nexit()",
    "exit 3": "print(1)\nraise SystemExit(3)",
    "exit message": "import sys\nsys.exit('bad input')",
    "exception": "print(1)\n[][1]",
    "main guard": "if __name__ == '__main__':\n    print('main')",
    "late thread": "import threading, time\ndef f():\n    time.sleep(0.1)\n    print('late')\n"
    "threading.Thread(target=f).start()\nprint('main')",
    "daemon thread": "import threading, time\nthreading.Thread(target=time.sleep, args=(30,), daemon=True).start()",
    "executor": "from concurrent.futures import ThreadPoolExecutor\n"
    "print(*ThreadPoolExecutor(2).map(len, ['a', 'bc']))",
    "exit handler": "import atexit\natexit.register(print, 'bye')\nprint('hi')",
    "finaliser": "class A:\n    def __del__(self): print('gone')\na = A()\nprint('here')",
    "finaliser in a cycle": "class A:\n    def __del__(self): print('gone')\na = A()\na.self = a",
    "dataclass": "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: 'int'\nprint(A(1))",
    "pickle": "import pickle\nclass A: x = 1\nprint(pickle.loads(pickle.dumps(A())).x)",
    "redirect": "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()) as s:\n"
    "    print('hidden')\nprint(len(s.getvalue()))",
    "stderr": "import sys\nprint('oops', file=sys.stderr)\nsys.stderr.write('again')",
    "raw output": "import os, sys\nsys.stdout.write('a')\nsys.stdout.flush()\nos.write(1, b'b')\nprint('c')",
    "unicode": "print('\\u00e9\\U0001f600')",
    "fork": "import os\npid = os.fork()\nif pid:\n    os.waitpid(pid, 0)\nprint('parent' if pid else 'copy')",
    "fork and fail": "import os, sys\nif os.fork() == 0:\n    sys.exit(3)\n"
    "print(os.waitstatus_to_exitcode(os.wait()[1]))",
    "fork and kill": "import os, signal, time\npid = os.fork()\nif pid == 0:\n    time.sleep(60)\n"
    "os.kill(pid, signal.SIGKILL)\nprint(os.waitstatus_to_exitcode(os.wait()[1]))",
    "pipe": "import os\nr, w = os.pipe()\nif os.fork() == 0:\n    os.write(w, b'from the copy')\n    os._exit(0)\n"
    "print(os.read(r, 99))\nos.wait()",
    "handled signal": "import os, signal\nsignal.signal(signal.SIGUSR1, lambda *a: print('got', a[0]))\n"
    "os.kill(os.getpid(), signal.SIGUSR1)\nsignal.raise_signal(signal.SIGUSR1)",
    "alarm": "import signal\nsignal.signal(signal.SIGALRM, lambda *a: print('rang'))\n"
    "signal.setitimer(signal.ITIMER_REAL, 0.01)\nsignal.pause()",
    "interrupt": "import signal\ntry:\n    signal.raise_signal(signal.SIGINT)\n"
    "except KeyboardInterrupt:\n    print('caught')",
    "files": "import os, tempfile\nwith tempfile.TemporaryDirectory() as d:\n    path = os.path.join(d, 'f')\n"
    "    with open(path, 'w') as f: f.write('text')\n    print(open(path).read(), os.listdir(d))\n"
    "print(os.path.exists(d))",
    "asyncio": "import asyncio\nasync def f(x):\n    await asyncio.sleep(0.001)\n    return x\n"
    "async def main():\n    print(await asyncio.gather(f(1), f(2)))\nasyncio.run(main())",
    "pool": "from multiprocessing import get_context\ndef f(x): return x * x\n"
    "if __name__ == '__main__':\n    with get_context('fork').Pool(2) as pool:\n"
    "        print(pool.map(f, [1, 2, 3]))",
    "recursion": "def f(n):\n    return 0 if n == 0 else 1 + f(n - 1)\nprint(f(950))",
    "set order": "print({'a', 'b', 'c', 'd'})",
    "syntax error": "print(1\nx = 2",
    "null byte": "print(1)\0",
    "own print": "def print(x):\n    import sys\n    sys.stdout.write(f'<{x}>')\nprint(1)",
    "print errors": "try:\n    print(1, sep=2)\nexcept TypeError:\n    print('refused')",
    "bad str": "class A:\n    def __str__(self): return 5\nprint(A())",
}


FAILING = {
    "in a function": "def f(n):\n    return 1 // n\n\nprint(1)\nf(0)",
    "in a library": "import json\njson.loads('{')",
    "chained": "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise ValueError('worse') from e",
    "while handling": "try:\n    {}['k']\nexcept KeyError:\n    int('x')",
    "group": "raise ExceptionGroup('two', [ValueError(1), TypeError('t')])",
    "with a note": "e = ValueError('v')\ne.add_note('look here')\nraise e",
    "keyboard interrupt": "raise KeyboardInterrupt",
    "own class": "class Odd(Exception):\n    pass\nraise Odd",
}


def plainly(source: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What the plain interpreter makes of the program, started as a file."""
    path = folder / "program.py"
    path.write_text(source)
    return subprocess.run(
        [sys.executable, "-X", "utf8", path],
        input="one\ntwo\n",
        capture_output=True,
        text=True,
        env={"PYTHONHASHSEED": "0", "PATH": os.defpath, "LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", "")},
        timeout=60,
    )


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_does_what_the_plain_interpreter_makes_it_do(name: str, tmp_path: Path) -> None:
    plain = plainly(PROGRAMS[name], tmp_path)
    result = run_program(PROGRAMS[name], stdin="one\ntwo\n")
    assert result.stdout == plain.stdout
    if plain.returncode == 0:
        assert (result.verdict, result.error, result.stderr) == ("passed", None, plain.stderr)
    else:
        assert result.verdict == "error"


@pytest.mark.parametrize("name", FAILING)
def test_the_traceback_is_pythons_with_the_programs_frames_only(name: str, tmp_path: Path) -> None:
    expected, keep = [], True
    for line in plainly(FAILING[name], tmp_path).stderr.splitlines():
        if line.startswith("  File "):
            keep = str(tmp_path) in line
        elif not line.startswith("    "):
            keep = True
        if keep:
            expected.append(line.replace(str(tmp_path / "program.py"), "<program>"))
    error = error_of(FAILING[name])
    assert error.traceback.splitlines() == expected


@pytest.mark.parametrize(
    ("source", "kind", "message", "line"),
    [
        ("x = 1\n\n1 / 0", "ZeroDivisionError", "division by zero", 3),
        ("def f():\n    raise KeyError('k')\n\n\nf()", "KeyError", "'k'", 2),
        ("import json\n\njson.loads('{')", "JSONDecodeError", "Expecting property name", 3),
        ("x = 1\ny = (", "SyntaxError", "never closed", 2),
        ("def f(n):\n    return f(n + 1)\nf(0)", "RecursionError", "maximum recursion depth", 2),
        ("import sys\nsys.exit('no luck')", "SystemExit", "no luck", 2),
        ("input()", "EOFError", "EOF", 1),
        ("class E(Exception):\n    def __str__(self):\n        raise SystemExit(0)\nraise E", "E", "", 4),
    ],
)
def test_an_error_names_its_line_in_the_program(source: str, kind: str, message: str, line: int) -> None:
    error = error_of(source)
    assert (error.type, error.line) == (kind, line)
    assert message in error.message
    assert "child.py" not in error.traceback


def test_printed_values_are_those_of_the_moment() -> None:
    result = run_program(
        "xs = [1, {'a': (2.5, None)}]\nprint(xs, True)\nxs.append(3)\nxs[1]['a'] = 0\nprint()\n"
        "print(*xs, sep='')\nimport sys\nprint('aside', file=sys.stderr)\n"
        "class A:\n    __repr__ = lambda self: 'an A'\nprint(A())"
    )
    first, second, third, fourth = result.printed
    assert first == ([1, {"a": (2.5, None)}], True)
    assert type(first[0][1]["a"]) is tuple  # pyright: ignore[reportIndexIssue]
    assert (second, third, fourth) == ((), (1, {"a": 0}, 3), (Opaque("A", "an A"),))
    assert (result.verdict, result.last_text) == ("passed", "an A")


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("print(1)\nprint([2])\nprint()", [2]),
        ("print('a', 2, sep='-')", "a-2"),
        ("print(None)", None),
        ("print()", UNSET),
        ("x = 1", UNSET),
    ],
)
def test_the_value_printed_last(source: str, value: object) -> None:
    result = run_program(source, SHORT)
    assert result.last_value == value
    assert result.judged(value).verdict == ("wrong" if value is UNSET else "passed")


def test_numpy_is_found_and_its_values_become_pythons() -> None:
    result = run_program("import numpy as np\nprint(np.arange(3) / 2)\nprint(np.int64(3), np.float32(0.5))")
    assert result.printed == (([0.0, 0.5, 1.0],), (3, 0.5))
    assert type(result.printed[1][0]) is int


def test_a_large_value_that_prints_few_words_is_opaque_and_no_flood() -> None:
    source = "import numpy\nprint(numpy.zeros(10**6) + 0.125)\nprint({'a': numpy.ones(10**6)}, 5)\nprint('done')"
    result = run_program(source, expected="done")
    assert result.verdict == "passed"
    array, pair, done = result.printed
    assert [value.type for value in (*array, pair[0]) if isinstance(value, Opaque)] == ["ndarray", "dict"]
    assert (pair[1:], done) == ((5,), ("done",))
    assert run_program("import numpy\nprint(numpy.zeros(10**6))", expected=[0.0] * 10**6).verdict == "wrong"


def test_what_prints_within_the_limit_is_kept_whole() -> None:
    million = run_program("print(list(range(10**6)))", Limits(output_bytes=8 << 20), expected=list(range(10**6)))
    assert million.verdict == "passed"
    assert run_program("print(list(range(10**5)))", expected=list(range(10**5))).verdict == "passed"
    assert run_program("print(*range(10**5))", expected=" ".join(map(str, range(10**5)))).verdict == "passed"
    assert run_program("print('ü,[' * 250_000)", expected="ü,[" * 250_000).verdict == "passed"


@pytest.mark.parametrize(
    "source",
    [
        "import numpy\nfor i in range(300): print(numpy.arange(5000) + 0.5)\nprint(4, 5)\nprint([6])",
        "for i in range(200_000): print(end='', *[''])\nprint(4, 5)\nprint([6])",
        "class A:\n    __str__ = lambda self: 'short'\n    __repr__ = lambda self: 'long,' * 1000\n"
        "for i in range(20_000): print([], A(), {(): ()}, end='')\nprint(4, 5)\nprint([6])",
        "for i in range(60_000): print([[[]]])\nprint(4, 5)\nprint([6])",
    ],
)
def test_of_many_prints_the_last_are_kept(source: str) -> None:
    result = run_program(source, expected=[6])
    assert (result.verdict, result.printed[-2:]) == ("passed", ((4, 5), ([6],)))
    (marker,) = result.printed[0]
    assert isinstance(marker, Opaque)
    left_out = int(marker.repr.split()[0].removeprefix("<"))
    calls = eval(source[source.index("range(") + 6 :].split(")")[0]) + 2
    assert left_out + len(result.printed) - 1 == calls


def test_a_program_sees_its_source_and_its_name(tmp_path: Path) -> None:
    source = (
        "import inspect, traceback\n\ndef f(x):\n    return x  # as it is\n\nclass A:\n    y = 1\n"
        "print(inspect.getsource(f), inspect.getsource(A), __file__.endswith('program.py'))\n"
        "try:\n    f(1 / 0)\nexcept ZeroDivisionError:\n    print(traceback.format_exc())\n"
    )
    plain = plainly(source, tmp_path).stdout.replace(str(tmp_path / "program.py"), "<program>")
    expected = plain.replace(" True", " False")  # there is no file of that name
    assert "as it is" in expected
    assert run_program(source).stdout == expected
    batch = run_batch([source, "def g(): pass\nimport inspect\nprint(inspect.getsource(g))"])
    assert [result.stdout for result in batch] == [expected, "def g(): pass\n\n"]


HOOK = (
    "import sys, traceback\n"
    "def show(kind, error, trace):\n    print('caught', kind.__name__)\n    traceback.print_exception(error)\n"
    "    print(len(traceback.extract_tb(trace)), file=sys.stderr)\n"
    "sys.excepthook = show\n"
)


def test_a_hook_for_exceptions_is_called_as_python_does(tmp_path: Path) -> None:
    for end in ("def f(): 1 / 0\nf()", "raise KeyboardInterrupt", "print('well')", "sys.exit(3)"):
        plain = plainly(HOOK + end, tmp_path)
        result = run_program(HOOK + end)
        assert result.stdout == plain.stdout
        assert result.stderr == plain.stderr.replace(str(tmp_path / "program.py"), "<program>")
        assert result.verdict == ("passed" if "well" in end else "error")
        if "f()" in end:
            assert result.error is not None
            assert (result.error.type, result.error.traceback) == ("ZeroDivisionError", result.stderr)


def test_a_hook_changes_no_verdict_and_outlives_no_program() -> None:
    for body in ("sys.exit(0)", "1 / 0", "sys.stderr = None", "pass"):
        error = error_of(f"import sys\ndef hook(*args):\n    {body}\nsys.excepthook = hook\n[][1]")
        assert (error.type, error.traceback.splitlines()[-1]) == ("IndexError", "IndexError: list index out of range")
    second = run_batch([HOOK, "1 / 0"])[1]
    assert (second.verdict, second.stdout) == ("error", "")


def test_a_result_is_shown_in_a_line_whatever_was_printed() -> None:
    quiet = "import sys\nsys.set_int_max_str_digits(0)\n"
    for line in (
        "print(10**6000)",
        "print([10**6000])",
        "print('x' * 10**6)",
        "print(*range(10**5))",
        "raise ValueError(10**6000)",
    ):
        result = run_program(quiet + line)
        assert result.verdict == ("error" if "raise" in line else "passed")
        assert len(repr(result)) < 2000
        json.dumps(result.to_json())


@pytest.mark.parametrize(
    ("source", "expected", "verdict"),
    [
        ("print((1, 2))", [1, 2], "passed"),
        ("print([0.1 + 0.2])", [0.3], "passed"),
        ("print(5)\nprint()", 5, "passed"),
        ("print(4)\nprint(5)", 4, "wrong"),
        ("print(True)", 1, "wrong"),
        ("print(None)", None, "passed"),
        ("print('None')", None, "wrong"),
        ("x = 5", 5, "wrong"),
        ("x = None", None, "wrong"),
        ("import sys\nsys.stdout.write('5')", 5, "wrong"),
        ("print('total:', 5)", "total: 5", "passed"),
        ("print('total:', 5)", 5, "wrong"),
        ("print(*[1, 2], sep=', ')", "1, 2", "passed"),
        ("xs = [1]\nprint(xs)\nxs.append(2)", [1], "passed"),
        ("print(5)\nraise ValueError", 5, "error"),
        ("print(5)\nwhile True: pass", 5, "timeout"),
        ("import sys\nprint(5)\nsys.exit()", 5, "passed"),
        ("class Yes(int):\n    __eq__ = lambda a, b: True\n    __hash__ = None\nprint(Yes())", 5, "wrong"),
        ("import numpy as np\nprint(np.array([1, 2]))", [1, 2], "passed"),
        ("print({'b': 1, 'a': 2})", {"a": 2, "b": 1}, "passed"),
    ],
)
def test_the_last_printed_value_is_judged(source: str, expected: object, verdict: str) -> None:
    assert run_program(source, SHORT, expected=expected).verdict == verdict


# Looks for a text, which it holds only backwards, in all that a program can reach from within: its descriptors, its
# environment, its frames and the objects that the garbage collector knows.
SEARCH = (
    "import gc, os, sys\n"
    "frame, seen = sys._getframe(), repr([gc.get_objects(), os.environ, sys.argv])\n"
    "while frame:\n    seen += repr(frame.f_globals) + repr(frame.f_locals)\n    frame = frame.f_back\n"
    "for fd in range(256):\n    try:\n        seen += str(os.pread(fd, 1 << 20, 0))\n"
    "    except OSError:\n        pass\n"
    "print('needle'[::-1] * 2 in seen)"
)


def test_expected_values_never_reach_the_child() -> None:
    assert run_program(SEARCH, expected="eldeeneldeen").printed == ((False,),)
    assert run_program(SEARCH, stdin="eldeeneldeen").printed == ((True,),)  # it does find what is there


@pytest.mark.parametrize(
    ("source", "limits", "verdict", "kind"),
    [
        ("while True: pass", SHORT, "timeout", "TimeLimit"),
        ("sum(range(10**12))", SHORT, "timeout", "TimeLimit"),
        (
            "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
            SHORT,
            "timeout",
            "TimeLimit",
        ),
        ("import time\ntime.sleep(60)", Limits(wall_s=0.5), "timeout", "TimeLimit"),
        (
            "import threading\nthreading.Thread(target=threading.Event().wait).start()",
            Limits(wall_s=0.5),
            "timeout",
            "TimeLimit",
        ),
        ("x = [0] * 10**10", Limits(), "memory", "MemoryError"),
        ("xs = []\nwhile True: xs.append(bytearray(10**6))", Limits(memory_mb=100), "memory", "MemoryError"),
        ("import numpy\nnumpy.ones(10**10)", Limits(), "memory", "MemoryError"),
        ("while True: print('x' * 1000)", Limits(), "output-limit", "OutputLimit"),
        ("import os\nwhile True: os.write(2, b'x' * 1000)", Limits(), "output-limit", "OutputLimit"),
        ("print('x' * 100)", Limits(output_bytes=100), "output-limit", "OutputLimit"),
        ("import os\nprint(1)\nos._exit(0)", Limits(), "error", "Exit"),
        ("import os, subprocess\nsubprocess.run(['true'])", Limits(), "error", "PermissionError"),
        ("import os, sys\nos.execv(sys.executable, ['python'])", Limits(), "error", "PermissionError"),
        ("import os\nos.posix_spawn('/bin/true', ['true'], {})", Limits(), "error", "PermissionError"),
        ("import os\nos.abort()", Limits(), "error", "Signal"),
        ("import ctypes\nctypes.string_at(0)", Limits(), "error", "Signal"),
        ("with open('big', 'wb') as f:\n    f.seek(10**9)\n    f.write(b'1')", Limits(), "error", "OSError"),
    ],
)
def test_limits_and_crashes(source: str, limits: Limits, verdict: str, kind: str) -> None:
    result = run_program(source, limits)
    assert result.error is not None
    assert (result.verdict, result.error.type) == (verdict, kind)


@pytest.mark.parametrize("level", ["full", "light"])
def test_limits_without_room_to_begin_are_no_verdict_on_the_program(level: Level) -> None:
    long = f"# {'x' * 2_000_000}\nprint(1)"
    isolation = Isolation(level, allow_weaker=True, packages=())
    result = run_program(long, Limits(memory_mb=1), isolation=isolation)
    assert result.error is not None
    assert (result.verdict, result.error.type) == ("internal-error", "SandboxError")
    assert "raise them" in result.error.message
    assert run_program(long, Limits(memory_mb=64), isolation=isolation).verdict == "passed"
    assert run_program("print(1)", Limits(memory_mb=1), isolation=isolation).verdict == "passed"


def test_a_program_that_ends_just_below_its_limit_of_memory_passes() -> None:
    source = (
        "import builtins\nbuiltins.kept = kept = []\nprint('x' * 300_000)\n"
        "for size in (1 << 20, 1 << 17):\n    try:\n        while True: kept.append(bytearray(size))\n"
        "    except MemoryError: pass\ndel kept[-2:]"
    )
    assert run_program(source, Limits(memory_mb=64)).verdict == "passed"


def test_output_up_to_the_limit_passes() -> None:
    limits = Limits(output_bytes=100)
    assert run_program("print('x' * 99)", limits).verdict == "passed"
    assert len(run_program("print('x' * 10**6)", limits).stdout) == 100


def test_what_was_printed_before_a_program_was_stopped_is_kept() -> None:
    assert run_program("print('so far')\nwhile True: pass", SHORT).stdout == "so far\n"


def test_times_and_memory_are_the_programs() -> None:
    ballast = bytearray(200 << 20)  # the caller's own memory is not counted
    ballast[:: 1 << 12] = bytes(len(ballast) >> 12)
    busy = run_program(
        "import time\nwhile time.process_time() < 0.4: pass\nb = bytearray(80 << 20)\nb[::4096] = bytes(len(b) >> 12)"
    )
    idle = run_program("import time\ntime.sleep(0.3)")
    assert busy.cpu_s > 0.3
    assert 80 < busy.memory_mb < 150
    assert idle.cpu_s < 0.2 < idle.wall_s
    assert idle.memory_mb < 60


def test_a_signal_that_nobody_handles_does_not_end_a_program_but_those_it_starts() -> None:
    """A program is the first process of its namespace, which the kernel protects from itself: pid_namespaces(7)."""
    result = run_program("import os\nfor number in (9, 15):\n    os.kill(os.getpid(), number)\nprint('still here')")
    assert (result.verdict, result.stdout) == ("passed", "still here\n")


def test_a_program_of_ten_megabytes() -> None:
    source = "x = '" + "a" * 10_000_000 + "'\nprint(len(x))"
    assert run_program(source).printed == ((10_000_000,),)


@pytest.mark.parametrize("source", ["print(1)\0", "\ud800", "(" * 1000, "x = '\\"])
def test_text_that_is_no_program_is_an_error_of_the_program(source: str) -> None:
    assert run_program(source).verdict == "error"


def test_a_result_is_plain_json() -> None:
    result = run_program("print({1: (2, float('nan'))}, 10**30)\n1 / 0")
    fields = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert fields["verdict"] == "error"
    assert fields["error"]["line"] == 2
    assert fields["layers"] == list(result.layers)
    assert {"stdout", "stderr", "printed", "cpu_s", "wall_s", "memory_mb"} <= set(fields)


def test_programs_run_side_by_side_and_come_back_in_order() -> None:
    sources = [f"import time\ntime.sleep({0.2 if i % 3 == 0 else 0})\nprint({i})" for i in range(9)]
    results = list(run_programs(sources, workers=4))
    assert [result.printed for result in results] == [((i,),) for i in range(9)]


def test_programs_are_taken_as_they_are_needed_and_closing_stops_them() -> None:
    taken: list[int] = []

    def endless() -> object:
        for i in range(10**9):
            taken.append(i)
            yield "print(1)" if i == 0 else "import time\ntime.sleep(60)"

    results = run_programs(endless(), Limits(wall_s=60), workers=2)  # pyright: ignore[reportArgumentType]
    assert next(results).verdict == "passed"
    results.close()
    assert len(taken) <= 6


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: Limits(cpu_s=0),
        lambda: Limits(wall_s=-1),
        lambda: Limits(memory_mb=True),
        lambda: Limits(memory_mb=-(10**5000)),
        lambda: Limits(cpu_s=10**5000),
        lambda: Limits(wall_s=1e300),
        lambda: Limits(output_bytes=(256 << 20) + 1),
        lambda: run_programs([], workers=-(10**5000)),
        lambda: Limits(memory_mb=0.5),  # pyright: ignore[reportArgumentType]
        lambda: Limits(cpu_s=float("nan")),
        lambda: run_program(b"print(1)"),  # pyright: ignore[reportArgumentType]
        lambda: run_programs([], workers=0),
    ],
)
def test_mistakes_of_the_caller_are_told(mistake: object) -> None:
    with pytest.raises(SandboxError, match=r".{20,}"):
        mistake()  # pyright: ignore[reportCallIssue]


@pytest.fixture
def no_warm_worker() -> Iterator[None]:
    """Programs start a worker of their own, before and after."""
    close_idle()
    yield
    close_idle()


@pytest.mark.usefixtures("no_warm_worker")
@pytest.mark.parametrize(
    ("interpreter", "reason"),
    [
        ("/nowhere/python", "No such file or directory: '/nowhere/python'"),
        ("/bin/false", "ended before it was ready"),
        ("", "sys.executable is empty"),
    ],
)
def test_a_worker_that_cannot_be_started_is_told_with_the_reason(
    interpreter: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fds = os.listdir("/proc/self/fd")
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", interpreter)
        for run in (
            lambda: run_program("print(1)"),
            lambda: run_batch(["print(1)"]),
            lambda: list(run_programs(["print(1)"])),
        ):
            with pytest.raises(SandboxError, match=reason):
                run()
    assert os.listdir("/proc/self/fd") == fds
    assert run_program("print(1)").verdict == "passed"  # nothing broken is kept for later


@contextmanager
def room_for_descriptors(number: int) -> Iterator[None]:
    """This process can open so many more."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + number, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_host_without_room_for_a_program_is_an_internal_error() -> None:
    run_program("print(1)")  # the worker is there
    with room_for_descriptors(0):
        result = run_program("print(1)")
    assert (result.verdict, result.printed, result.layers) == ("internal-error", (), ())
    assert result.error is not None
    assert (result.error.type, "Too many open files" in result.error.message) == ("SandboxError", True)
    assert run_program("print(1)").verdict == "passed"


@pytest.mark.usefixtures("no_warm_worker")
@pytest.mark.parametrize("number", range(7))
def test_a_host_without_room_for_a_worker_is_told_and_nothing_left(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    fds = os.listdir("/proc/self/fd")
    with room_for_descriptors(number), pytest.raises(SandboxError, match=r"Too many open files.*make room"):
        run_program("print(1)")
    assert os.listdir("/proc/self/fd") == fds
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_warm_worker")
def test_a_host_without_room_for_a_folder_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    fds = os.listdir("/proc/self/fd")
    with pytest.raises(SandboxError, match=r"No such file or directory: '.*nowhere/polyturn-sandbox-.*make room"):
        run_program("print(1)")
    assert os.listdir("/proc/self/fd") == fds


DICE = (
    "import random, numpy as np\n"
    "print(random.random(), random.sample(range(1000), 3), random.choice('abcdef'))\n"
    "print(np.random.rand(), np.random.permutation(10))\n"
    "print({f'{i}' for i in range(20)}, hash('text'), hash(b'bytes'))"
)


def test_chance_is_the_same_in_every_run() -> None:
    spoil = "import random, numpy as np\nrandom.seed(5)\nnp.random.seed(5)\nrandom.random()"
    first = run_program(DICE)
    assert first.verdict == "passed"
    run_program(spoil)
    with closing(run_programs([DICE, spoil, DICE, DICE], workers=2)) as results:
        in_two = list(results)
    in_a_batch = run_batch([DICE, spoil, DICE])
    runs = [run_program(DICE), in_two[0], *in_two[2:], in_a_batch[0], in_a_batch[2]]
    assert [run.stdout for run in runs] == [first.stdout] * 6
    # The generators give numbers, not one number.
    assert len({run_program("import random\nprint(random.random(), random.random())").stdout for _ in "ab"}) == 1
    (pair,) = run_program("import random\nprint(random.random(), random.random())").printed
    assert pair[0] != pair[1]


def test_a_value_nested_as_deep_as_is_kept_is_no_forgery() -> None:
    for depth in (98, 99, 100, 101):
        result = run_program(f"value = 1\nfor _ in range({depth}): value = [value]\nprint(value)")
        assert result.verdict == "passed", (depth, result.error)
        assert isinstance(result.last_value, list) == (depth <= 100)


@pytest.mark.parametrize(
    "use",
    [
        "import pickle\nassert pickle.loads(pickle.dumps(print)) is print\nprint(3)",
        "import copy\ncopy.deepcopy({'p': print})['p'](3)\nassert copy.copy(print) is print",
        "import multiprocessing\nwith multiprocessing.Pool(2) as pool:\n    pool.map(print, ['a', 'a'])\nprint(3)",
        "from concurrent.futures import ProcessPoolExecutor\n"
        "with ProcessPoolExecutor(2) as pool:\n    list(pool.map(print, ['a', 'a']))\nprint(3)",
        "import builtins, functools, inspect\nassert builtins.print is print and print.__module__ == 'builtins'\n"
        "assert (print.__name__, print.__qualname__) == ('print', 'print') and 'stream' in print.__doc__\n"
        "assert str(inspect.signature(print)) == \"(*args, sep=' ', end='\\\\n', file=None, flush=False)\"\n"
        "functools.partial(print, 3)()",
    ],
    ids=["pickle", "copy", "pool", "executor", "names"],
)
def test_print_can_be_passed_around(use: str) -> None:
    result = run_program(use, expected=3)
    assert result.verdict == "passed", result.error


def test_an_output_limit_beyond_the_size_of_a_file_is_kept() -> None:
    large = Limits(cpu_s=20, output_bytes=100 << 20)
    line = "import sys\nfor _ in range(80): sys.stdout.write('x' * (1 << 20))\nprint(4)"
    result = run_program(line, large, expected=4)
    assert (result.verdict, len(result.stdout)) == ("passed", (80 << 20) + 2)
    result = run_program(line, Limits(cpu_s=20, output_bytes=70 << 20))
    assert (result.verdict, len(result.stdout)) == ("output-limit", 70 << 20)


def test_the_largest_output_limit_costs_what_was_written() -> None:
    assert run_program("print(1)", Limits(output_bytes=256 << 20), expected=1).verdict == "passed"
