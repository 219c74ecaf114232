"""One program: its verdict, output, printed values, error and limits."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from polyturn.sandbox import UNSET, Limits, Opaque, ProgramError, Result, SandboxError, run_program, run_programs

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
    "subprocess": "import subprocess\nprint(subprocess.run(['echo', 'hi'], capture_output=True).stdout)",
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
        env={"PYTHONHASHSEED": "0", "PATH": os.defpath},
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


def test_expected_values_never_reach_the_child() -> None:
    source = (
        "import gc, os, sys\n"
        "frame, seen = sys._getframe(), repr(gc.get_objects())\n"
        "while frame:\n    seen += repr(frame.f_globals) + repr(frame.f_locals)\n    frame = frame.f_back\n"
        "for name in ('cmdline', 'environ'):\n    seen += open('/proc/self/' + name).read()\n"
        "print('needle'[::-1] * 2 in seen)"
    )
    assert run_program(source, expected="eldeeneldeen").printed[-1] == (False,)


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
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", Limits(), "error", "Signal"),
        ("import os\nos.abort()", Limits(), "error", "Signal"),
        ("import ctypes\nctypes.string_at(0)", Limits(), "error", "Signal"),
        ("with open('big', 'wb') as f:\n    f.seek(10**9)\n    f.write(b'1')", Limits(), "error", "OSError"),
    ],
)
def test_limits_and_crashes(source: str, limits: Limits, verdict: str, kind: str) -> None:
    result = run_program(source, limits)
    assert result.error is not None
    assert (result.verdict, result.error.type) == (verdict, kind)


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


def test_the_layers_are_named() -> None:
    layers = run_program("pass").layers
    assert {"process", "clean-env", "closed-fds", "session", "tempdir", "rlimit-cpu", "rlimit-fsize"} <= set(layers)
    if sys.platform == "linux":
        assert {"rlimit-as", "no-new-privs", "parent-death-signal"} <= set(layers)
        status = run_program("print(open('/proc/self/status').read())\nprint(open('/proc/self/limits').read())").stdout
        assert "NoNewPrivs:\t1" in status
        assert "Max file size             67108864" in status


def test_a_program_of_ten_megabytes() -> None:
    source = "x = '" + "a" * 10_000_000 + "'\nprint(len(x))"
    assert run_program(source).printed == ((10_000_000,),)


@pytest.mark.parametrize("source", ["print(1)\0", "\ud800", "(" * 1000, "x = '\\"])
def test_text_that_is_no_program_is_an_error_of_the_program(source: str) -> None:
    assert run_program(source).verdict == "error"


def test_a_result_is_plain_json() -> None:
    import json

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
        lambda: Limits(memory_mb=0.5),  # pyright: ignore[reportArgumentType]
        lambda: Limits(cpu_s=float("nan")),
        lambda: run_program(b"print(1)"),  # pyright: ignore[reportArgumentType]
        lambda: run_programs([], workers=0),
    ],
)
def test_mistakes_of_the_caller_are_told(mistake: object) -> None:
    with pytest.raises(SandboxError, match=r".{20,}"):
        mistake()  # pyright: ignore[reportCallIssue]


def test_trouble_of_the_host_is_an_internal_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    result = run_program("print(1)")
    assert (result.verdict, result.layers) == ("internal-error", ())
    assert isinstance(result, Result)
    assert result.error is not None
    assert "/nowhere/python" in result.error.message


def test_a_child_that_cannot_start_is_an_internal_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    result = run_program("print(1)")
    assert result.verdict == "internal-error"
