"""Programs that attack the reporting, the limits or their caller: they gain nothing."""

import os
import pickle
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import indent

import pytest

import polyturn
from polyturn.sandbox import Isolation, Limits, grade_function, run_program, run_programs, values
from polyturn.sandbox.pool import close_idle
from polyturn.sandbox.record import most_nodes
from polyturn.sandbox.result import of_one
from polyturn.sandbox.worker import Ending, Task

WAIT = Limits(wall_s=1)

# Writes `payload` to every descriptor past the standard three: one is the file of results.
FORGE = """import os
for fd in range(3, 256):
    try:
        os.write(fd, payload)
    except OSError:
        pass
"""


def frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


class Touch:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff" * 100,
        frame(b"hello"),
        frame(b"[]"),
        frame(b"{}"),
        frame(b"[" * 100_000),
        frame(b'{"verdict":"internal-error"}'),
        frame(b'{"verdict":"wrong"}'),
        frame(
            b'{"verdict":"passed","text":"","stdout":"","stderr":"","children":false,"spoilt":false,"error":null,'
            b'"cpu":NaN,"wall":0,"clock":0,"memory":0,"printed":[]}'
        ),
        frame(
            b'{"verdict":"passed","text":"","stdout":"","stderr":"","children":false,"spoilt":false,"error":null,'
            b'"cpu":0,"wall":0,"clock":0,"memory":0,"printed":[[{"set":[[]]}]]}'
        ),
    ],
)
def test_a_forged_result_is_the_programs_doing(payload: bytes) -> None:
    result = run_program(f"payload = {payload!r}\n{FORGE}")
    assert (result.verdict, result.printed) == ("forbidden", ())
    assert result.layers


def test_a_piece_of_a_result_is_an_error_of_the_program() -> None:
    source = f"payload = {frame(b'{' * 100)[:50]!r}\n{FORGE}os._exit(0)"
    assert run_program(source).verdict == "error"


def test_a_whole_forged_result_changes_only_the_programs_own_answer() -> None:
    body = (
        b'{"verdict":"passed","text":"5","stdout":"","stderr":"","children":false,"spoilt":false,"error":null,'
        b'"cpu":0,"wall":0,"clock":0,"memory":0,"printed":[[5]]}'
    )
    claims_five = f"payload = {frame(body)!r}\n{FORGE}os._exit(0)"
    assert run_program(claims_five, expected=6).verdict == "wrong"
    assert run_program(f"payload = {frame(body) * 2!r}\n{FORGE}").verdict == "forbidden"


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    payload = pickle.dumps(Touch(trap))
    run_program(f"payload = {payload!r}\n{FORGE}")
    run_program(f"payload = {frame(payload)!r}\n{FORGE}")
    assert not trap.exists()
    pickle.loads(payload)
    assert trap.exists()


def test_a_program_that_breaks_builtins_and_modules_is_still_reported() -> None:
    source = "import builtins, os, sys\nprint(1)\nfor name in ('len', 'print', 'type', 'isinstance', 'str'):\n"
    source += "    setattr(builtins, name, None)\nos.write = os._exit = sys.stdout = None"
    result = run_program(source)
    assert (result.verdict, result.printed) == ("passed", ((1,),))


def test_a_program_that_closes_everything_is_an_error_and_cannot_hang_the_reader() -> None:
    assert run_program("import os\nos.closerange(0, 256)").verdict == "error"
    begin = time.monotonic()
    assert run_program("import os, time\nos.closerange(0, 256)\ntime.sleep(60)", WAIT).verdict == "timeout"
    assert time.monotonic() - begin < 10


def test_a_flood_does_not_grow_the_reader() -> None:
    run_program("print(1)")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for fd in (1, 2):
        result = run_program(f"import os\nwhile True: os.write({fd}, b'x' * 65536)")
        assert result.verdict == "output-limit"
        assert len(result.stdout) + len(result.stderr) == 1 << 20
    big = (200 << 20).to_bytes(4, "big")
    forged = run_program(f"payload = {big!r}\n{FORGE}payload = b' ' * 65536\nwhile True:\n    os.write(fd, payload)")
    assert forged.verdict in ("forbidden", "error")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 << (10 if sys.platform == "linux" else 20)


@contextmanager
def open_for_heirs(path: Path) -> Iterator[os.stat_result]:
    """A file that this process has open, and that processes it starts would inherit."""
    with open(path, "w+") as file:
        file.write("hunter2")
        file.flush()
        os.set_inheritable(file.fileno(), True)
        yield os.fstat(file.fileno())


def test_the_callers_descriptors_and_import_hooks_stay_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for name in ("sitecustomize", "usercustomize", "random", "numpy"):
        (tmp_path / f"{name}.py").write_text("print('customised')")
    monkeypatch.chdir(tmp_path)
    close_idle()
    with open_for_heirs(tmp_path / "open") as file:
        source = (
            "import os, sys, random, numpy\nfound = []\n"
            "for fd in range(256):\n    try:\n        status = os.fstat(fd)\n    except OSError:\n        continue\n"
            f"    found.append((status.st_dev, status.st_ino) == {(file.st_dev, file.st_ino)})\n"
            f"print(any(found), len(found) < 6, {str(tmp_path)!r} in sys.path)"
        )
        for result in (run_program(source), *run_programs([source])):
            assert (result.verdict, result.stdout) == ("passed", "False True False\n")


def test_what_is_open_for_the_program_is_its_own() -> None:
    """Two programs at once, and one after another: nobody reads the stdin of the other, nor writes to its stdout."""
    source = (
        "import os\nfor fd in range(256):\n"
        "    for act in (lambda: os.pread(fd, 99, 0), lambda: os.pwrite(fd, b'mine', 0)):\n"
        "        try:\n            found = act()\n        except OSError:\n            continue\n"
        "        assert found != b'secret', fd\nos._exit(0)"
    )
    assert run_program("print(input())", stdin="secret").stdout == "secret\n"
    assert run_program(source).stdout == "mine"
    assert run_program("print('clean')").stdout == "clean\n"


@pytest.mark.parametrize("text", ["secret", ""])
@pytest.mark.skipif(sys.platform != "linux", reason="no file of another system can be sealed")
def test_stdin_is_for_reading_and_nothing_else_is_open(text: str) -> None:
    source = (
        "import os, sys\nfor act in (lambda: os.write(0, b'mine'), lambda: os.ftruncate(0, 1)):\n"
        "    try:\n        act()\n    except OSError:\n        continue\n    print('changed')\n"
        "def is_open(fd):\n    try:\n        return bool(os.fstat(fd))\n    except OSError:\n        return False\n"
        "print([fd for fd in range(256) if is_open(fd)], os.fstat(0).st_rdev, sys.stdin.read())"
    )
    for isolation in (Isolation(), Isolation("light", allow_weaker=True)):
        result = run_program(source, stdin=text, isolation=isolation)
        assert result.stdout == f"[0, 1, 2, 4] 0 {text}\n"


def test_output_that_a_program_takes_back_is_not_there() -> None:
    source = "import os\nprint('x' * 99, flush=True)\nos.ftruncate(1, 0)\nos.lseek(1, 0, 0)\nprint('y')"
    result = run_program(source)
    assert (result.verdict, result.stdout, len(result.printed)) == ("passed", "y\n", 2)
    holes = run_program("import os\nprint('x', flush=True)\nos.ftruncate(1, 50)\nos.ftruncate(2, 60 << 20)")
    assert (holes.verdict, len(holes.stdout)) == ("output-limit", 50)
    told = run_program("import atexit, os\natexit.register(os.ftruncate, 4, 0)\nprint(4)", expected=4)
    assert told.verdict == "passed"  # it has told nothing then
    gone = f"{FORGED.replace('CPU', '0')}os.ftruncate(4, 0)\nos._exit(0)"
    assert run_program(gone, expected=4).verdict == "error"


def test_signals_reach_only_what_the_program_started() -> None:
    """Where the sandbox fails, this harms nobody: it signals all there is only if it is alone in its namespace."""
    outside = sorted({os.getpid(), os.getppid()} - {1})  # the program itself is 1
    source = (
        "import os, signal, time\nassert os.getpid() == 1\n"
        "pids = [os.fork() for _ in range(3) if os.getpid() == 1]\n"
        "if os.getpid() > 1: time.sleep(120)\n"
        "os.kill(-1, signal.SIGKILL)\nprint([os.waitstatus_to_exitcode(os.wait()[1]) for _ in pids])\n"
        "found = []\n"
        f"for pid in [*range(2, 100), *{outside}, -1]:\n"
        "    try:\n        os.kill(pid, 0)\n    except ProcessLookupError:\n        continue\n"
        "    found.append(pid)\nprint(found)"
    )
    result = run_program(source)
    assert (result.verdict, result.stdout) == ("passed", "[-9, -9, -9]\n[]\n")


def test_a_program_cannot_undo_its_time_limit() -> None:
    source = (
        "import resource, signal\nsignal.setitimer(signal.ITIMER_PROF, 0)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n"
        "signal.signal(signal.SIGXCPU, signal.SIG_IGN)\n"
        "for kind in (resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_NPROC):\n"
        "    try:\n        resource.setrlimit(kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "    except ValueError:\n        continue\n    print('raised', kind)\n"
        "while True: pass"
    )
    result = run_program(source, Limits(cpu_s=0.1, wall_s=60))
    assert (result.verdict, result.stdout) == ("timeout", "")
    assert result.cpu_s < 2


def test_a_program_that_hands_its_work_to_others_is_stopped_too() -> None:
    forks = "import os\nfor _ in range(2): os.fork()\nwhile True: pass"
    assert run_program(forks, Limits(cpu_s=0.3, wall_s=60)).verdict == "timeout"
    restless = "import os\nwhile True:\n    if os.fork() == 0:\n        while True: pass\n    os.wait()"
    assert run_program(restless, Limits(cpu_s=0.3, wall_s=2)).verdict == "timeout"


# A process burns 0.4 s and tells; its parent leaves, and does not wait for its end.
BURN = (
    "import os, time\n{0}\nreader, writer = os.pipe()\nif os.fork() == 0:\n    while time.process_time() < 0.4: pass\n"
    "    os.write(writer, b'.')\n    time.sleep(60)\nos.read(reader, 1)\n"
)
DEAF = "import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)"


@pytest.mark.skipif(sys.platform != "linux", reason="nothing ends with its program elsewhere")
@pytest.mark.parametrize("first", ["", DEAF], ids=["", "deaf"])
def test_cpu_time_of_processes_that_nobody_waits_for_counts(first: str) -> None:
    source = BURN.format(first) + "print(1)"
    result = run_program(source, Limits(cpu_s=5, wall_s=60))
    assert (result.verdict, result.printed) == ("passed", ((1,),))
    assert 0.4 <= result.cpu_s < 0.6
    late = run_program(source, Limits(cpu_s=0.3, wall_s=60))
    assert late.verdict == "timeout"
    if "cgroup" in late.layers:
        assert run_program(BURN.format(first) + "os._exit(0)", Limits(cpu_s=0.3, wall_s=60)).verdict == "timeout"


# An ordinary user on a host that delegates no cgroup, to which this process turns itself.
WITHOUT_CGROUP = """
import os
uid, gid = os.geteuid(), os.getegid()
os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNS)
for name, text in (("setgroups", "deny"), ("uid_map", f"1000 {uid} 1"), ("gid_map", f"1000 {gid} 1")):
    with open(f"/proc/self/{name}", "w") as file:
        file.write(text)
from polyturn.sandbox import Limits, kernel, run_program
kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
kernel.mount("tmpfs", "/sys/fs/cgroup", "tmpfs")
results = [run_program(source, Limits(cpu_s=0.3, wall_s=60)) for source in SOURCES]
print([result.verdict for result in results], "cgroup" in results[0].layers)
"""


@pytest.mark.skipif(not os.path.isdir("/sys/fs/cgroup"), reason="there are no cgroups here")
def test_without_a_cgroup_such_time_counts_at_an_honest_end() -> None:
    sources = ["print(1)", BURN.format(""), BURN.format(DEAF)]
    done = subprocess.run(
        [sys.executable, "-c", f"SOURCES = {sources!r}\n{WITHOUT_CGROUP}"],
        env={**os.environ, "PYTHONPATH": str(Path(polyturn.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    if "os.unshare" in done.stderr:
        pytest.skip("this host lets this user make no namespaces")
    assert (done.stdout, done.stderr) == ("['passed', 'timeout', 'timeout'] False\n", "")


def test_processes_that_burn_while_their_parent_sleeps_end_at_the_limit() -> None:
    source = "import os, time\nfor _ in range(4):\n    if os.fork() == 0:\n        while True: pass\ntime.sleep(50)"
    result = run_program(source, Limits(cpu_s=0.5, wall_s=40))
    if "cgroup" not in result.layers:
        pytest.skip("this host delegates no cgroup, so that the wall clock ends them")
    assert result.verdict == "timeout"
    assert 0.5 < result.cpu_s < 1
    assert result.wall_s < 20


def test_what_a_tested_function_starts_is_on_the_programs_clock() -> None:
    program = f"def candidate(x):\n{indent(BURN.format(''), '    ')}    return x"
    tests = "def check(candidate):\n    assert candidate(1) == 1"
    assert grade_function(program, tests, "candidate").verdict == "passed"
    result = grade_function(program, tests, "candidate", Limits(cpu_s=0.3, wall_s=60))
    if "cgroup" not in result.layers:
        pytest.skip("this host delegates no cgroup, so that nobody counts it")
    assert result.verdict == "timeout"


@pytest.mark.parametrize("then", ["assert not any(os.waitpid(pid, 0)[1] for pid in pids)", "os.read(reader, 99)"])
def test_memory_used_up_together_is_the_memory_verdict(then: str) -> None:
    """One of its processes is killed for it; the program fails of that, or waits for it without end."""
    source = (
        "import os\npids, (reader, writer) = [], os.pipe()\nfor _ in range(20):\n    pids.append(os.fork())\n"
        "    if pids[-1] == 0:\n        x = bytearray(40 << 20)\n        x[::4096] = b'x' * len(x[::4096])\n"
        f"        os.read(reader, 1)\n        os._exit(0)\nos.waitpid(-1, 0)\n{then}"
    )
    result = run_program(source, Limits(memory_mb=64, wall_s=3))
    if "cgroup" not in result.layers:
        pytest.skip("this host delegates no cgroup, so that each process is limited for itself")
    assert result.error is not None
    assert (result.verdict, result.error.type) == ("memory", "MemoryLimit")
    assert run_program("print(1)", Limits(memory_mb=64)).verdict == "passed"


def test_a_file_of_results_beyond_what_a_program_can_tell_ends_it_at_once() -> None:
    for size in (8, 63):
        source = f"import os, time\nos.pwrite(4, bytes(1), {size} << 20)\ntime.sleep(60)"
        result = run_program(source, Limits(wall_s=10, output_bytes=1000))
        assert (result.verdict, result.wall_s < 5) == ("forbidden", True)


def test_memory_used_up_together_costs_no_other_program() -> None:
    """The kernel then kills what is largest. That must be one of the program's own processes, not its worker."""
    source = (
        "import os, time\nopen('big', 'wb').write(bytes(60 << 20))\n"
        "for _ in range(58):\n    if os.fork() == 0:\n"
        "        x = bytearray(5 << 20)\n        x[::4096] = b'x' * len(x[::4096])\n        time.sleep(60)\n"
        "time.sleep(1)"
    )
    small = Limits(memory_mb=64, wall_s=60)
    result = run_program(source, small)
    if "cgroup" not in result.layers and result.verdict != "internal-error":
        pytest.skip("this host delegates no cgroup, so that each process is limited for itself")
    assert result.verdict in ("passed", "error", "memory")
    assert run_program("print(1)", small).verdict == "passed"


def test_processes_and_threads_are_limited_in_number() -> None:
    """The bombs end by themselves, after 200."""
    fork_bomb = (
        "import os, time\nstarted = 0\ntry:\n    while started < 200:\n        if os.fork() == 0: time.sleep(20)\n"
        "        started += 1\nexcept BlockingIOError:\n    pass\nprint(started)"
    )
    threads = (
        "import threading, time\nstarted = 0\ntry:\n    while started < 200:\n"
        "        threading.Thread(target=time.sleep, args=(20,), daemon=True).start()\n        started += 1\n"
        "except RuntimeError:\n    pass\nprint(started)"
    )
    for source in (fork_bomb, threads):
        (started,) = run_program(source, Limits(wall_s=60)).printed[0]
        assert isinstance(started, int)
        assert 30 < started < 64
    doubling = (
        "import os, time\nfor _ in range(8):\n    try:\n        os.fork()\n"
        "    except BlockingIOError:\n        break\nwhile True: pass"
    )
    assert run_program(doubling, Limits(wall_s=1)).verdict == "timeout"
    assert run_program("print(1)").verdict == "passed"


FORGED = """
import json, os
frame = {"verdict": "passed", "text": "4", "stdout": "", "stderr": "", "cpu": CPU, "wall": 0, "memory": 0}
body = json.dumps(frame | {"error": None, "printed": [[4]]}).encode()
os.write(4, len(body).to_bytes(4, "big") + body)
"""


@pytest.mark.parametrize(
    ("end", "verdict"),
    [
        ("import ctypes; ctypes.CDLL(None).ptrace(0, 1, 0, 0)", "forbidden"),
        ("os._exit(1)", "error"),
        ("import ctypes; ctypes.string_at(0)", "error"),
        ("import time; time.sleep(60)", "timeout"),
    ],
)
def test_what_is_seen_from_outside_outranks_what_a_program_tells(end: str, verdict: str) -> None:
    result = run_program(FORGED.replace("CPU", "0") + end, Limits(cpu_s=1, wall_s=2), expected=4)
    assert result.verdict == verdict


EMPTY = {
    "verdict": '"passed"',
    "text": '""',
    "stdout": '""',
    "stderr": '""',
    "cpu": "0",
    "wall": "0",
    "memory": "0",
    "error": "null",
    "printed": "[]",
}
ERROR = {"type": '""', "message": '""', "line": "1", "traceback": '""'}


def members(fields: dict[str, str]) -> str:
    return "{" + ",".join(f'"{name}":{text}' for name, text in fields.items()) + "}"


def verdict_of(fields: dict[str, str]) -> str:
    """What becomes of a program that wrote a result of these fields."""
    honest = Task(({"mode": "program", "programs": [""]},), WAIT)
    return of_one(Ending(results=frame(members(fields).encode()), most_results=honest.most_results), WAIT).verdict


def failed(**fields: str) -> dict[str, str]:
    return {"verdict": '"error"', "error": members(ERROR | fields)}


MANY = 300_000
TOO_MUCH = {
    "values": {"printed": "[[[" + "[]," * MANY + "[]]]]"},
    "strings": {"printed": '[["' + '","' * MANY + '"]]'},
    "values behind escapes": {"printed": '[["' + r"\"" * 99 + '",' + "[]," * MANY + "[]]]"},
    "keys": {"more": "{" + ",".join(f'"{i}":0' for i in range(MANY)) + "}"},
    "a long integer": {"printed": "[[" + "9" * 10**6 + "]]"},
    "a long type": failed(type='"' + "x" * 10**6 + '"'),
    "a long message": failed(message='"' + "x" * 10**6 + '"'),
    "a long traceback": failed(traceback='"' + "x" * 10**6 + '"'),
    "a line beyond all": failed(line="9" * 30),
    "a long text": {"text": '"' + "x" * 1_100_000 + '"'},
    "text that is not ASCII": {"text": '"\U0001f600"'},
    "an opaque value with a long text": {"printed": '[[{"opaque":["A","' + "x" * 10**6 + '"]}]]'},
    "more bytes than an honest result": {"more": '"' + "x" * (5 << 20) + '"'},
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_a_result_that_would_cost_its_reader_is_refused(name: str) -> None:
    assert verdict_of(EMPTY | TOO_MUCH[name]) == "forbidden"


def test_a_result_that_is_as_large_as_an_honest_one_is_read() -> None:
    assert verdict_of(EMPTY) == "passed"
    assert verdict_of(EMPTY | failed()) == "error"
    assert (
        verdict_of(EMPTY | {"printed": "[[[" + "0," * 100_000 + "0]]]", "text": '"' + "x," * 500_000 + '"'}) == "passed"
    )


def test_values_are_counted_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node takes its reader half a microsecond and 130 bytes: their number and the frame's size bound both."""
    parsed: list[int] = []
    real = values.parse
    monkeypatch.setattr("polyturn.sandbox.result.parse", lambda text: parsed.append(len(text)) or real(text))
    most = most_nodes(WAIT.output_bytes)
    assert most <= 140_000
    for count, verdict in ((most - 10, "forbidden"), (most + 10, "forbidden")):
        body = b"[" + b"0," * (count - 2) + b"0]"
        assert of_one(Ending(results=frame(body), most_results=5 << 20), WAIT).verdict == verdict
    assert parsed == [2 * (most - 10) + 1 - 2]
    assert Task(({"mode": "program", "programs": [""]},), WAIT).most_results < 5 << 20


def test_large_results_are_not_held_back_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyturn.sandbox.pool._WINDOW_BYTES", 4 << 20)
    taken: list[int] = []

    def sources() -> Iterator[str]:
        for i in range(20):
            taken.append(i)
            yield "print('x' * 10**6)" if i else "import time\ntime.sleep(1)\nprint(0)"

    results = run_programs(sources(), workers=2)
    assert next(results).stdout == "0\n"
    assert len(taken) < 10
    assert [len(result.stdout) for result in results] == [10**6 + 1] * 19


def test_a_number_too_large_for_a_clock_is_the_programs_doing() -> None:
    assert run_program(FORGED.replace("CPU", "10**400") + "os._exit(0)", expected=4).verdict == "forbidden"
