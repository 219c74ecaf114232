"""Programs that attack the reporting or leave things behind: they gain nothing, and nothing remains."""

import contextlib
import os
import pickle
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from polyturn.sandbox import Limits, Result, run_program, run_programs

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
WAIT = Limits(wall_s=1)

# Writes `payload` to every descriptor past the standard three: one is the pipe of results.
FORGE = """import os
for fd in range(3, 256):
    try:
        os.write(fd, payload)
    except OSError:
        pass
"""


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and only waits for its parent does not."""
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def gone(pid: int, within_s: float = 5) -> bool:
    end = time.monotonic() + within_s
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.01)
    return not alive(pid)


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


def test_the_callers_environment_and_files_stay_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "sitecustomize.py").write_text("print('customised')")
    with open(tmp_path / "open", "w") as file:
        os.set_inheritable(file.fileno(), True)
        source = (
            "import os, sys\n"
            "print([name for name in sys.modules if 'sandbox' in name or 'polyturn' in name])\n"
            f"print({str(tmp_path)!r} in sys.path)\n"
            "seen = [os.path.realpath(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd')]\n"
            f"print({str(tmp_path / 'open')!r} in seen, len(seen) < 6)\n"
            "print(*os.environ.items())"
        )
        result = run_program(source)
    assert result.printed[:3] == (([],), (False,), (False, True))
    assert "hunter2" not in result.stdout
    assert "customised" not in result.stdout


@linux
@pytest.mark.parametrize(
    "leave",
    [
        "time.sleep(60)",  # holds the pipes
        "os.setsid()\n    if os.fork(): os._exit(0)\n    tell()\n    time.sleep(60)",  # a daemon
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n    while True: time.sleep(1)",
    ],
)
@pytest.mark.parametrize("end", ["", "os._exit(0)", "os.kill(os.getpid(), 9)", "while True: time.sleep(1)"])
def test_no_process_survives(leave: str, end: str, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    expected = 3 if "setsid" in leave else 2
    source = (
        "import os, signal, time\n"
        f"def tell():\n    with open({str(pids)!r}, 'a') as file: file.write(f'{{os.getpid()}}.')\n"
        f"if os.fork() == 0:\n    tell()\n    {leave}\n"
        f"while open({str(pids)!r}, 'a+').seek(0, 2) == 0 or "
        f"open({str(pids)!r}).read().count('.') < {expected - 1}:\n"
        "    time.sleep(0.01)\n"
        f"tell()\n{end}"
    )
    begin = time.monotonic()
    run_program(source, WAIT)
    assert time.monotonic() - begin < 10
    started = [int(pid) for pid in pids.read_text().split(".") if pid]
    assert len(started) == expected
    assert all(gone(pid) for pid in started)


def test_killing_its_own_group_ends_the_program_alone() -> None:
    result = run_program("import os, signal\nos.killpg(os.getpgrp(), signal.SIGKILL)")
    assert result.error is not None
    assert (result.verdict, result.error.message) == ("error", "it was ended by SIGKILL")
    assert run_program("import os\nprint(os.getpgrp() == os.getsid(0) == os.getpid())").printed == ((True,),)


def test_a_program_cannot_undo_its_time_limit() -> None:
    source = (
        "import signal\nsignal.setitimer(signal.ITIMER_PROF, 0)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPROF, signal.SIGXCPU])\n"
        "signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass"
    )
    result = run_program(source, Limits(cpu_s=0.1, wall_s=30))
    assert result.verdict == "timeout"
    assert result.wall_s < 20


@linux
def test_nothing_is_left_in_the_caller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    nasty = [
        "print(1)",
        "import os\nos.mkdir('a')\nopen('a/b', 'w').write('x')\nos.chmod('a', 0)",
        "import os\nfor _ in range(1100):\n    os.mkdir('d')\n    os.chdir('d')",
        "import os, shutil\nshutil.rmtree(os.getcwd())",
        "import os\nos.symlink('/etc', 'link')\nos._exit(1)",
        "while True: print('x' * 10000)",
    ]
    run_program("print(1)")  # whatever is made once
    fds = os.listdir("/proc/self/fd")
    results = list(run_programs(nasty, WAIT, workers=2))
    assert [result.verdict for result in results] == [
        "passed",
        "passed",
        "passed",
        "passed",
        "error",
        "output-limit",
    ]
    assert os.listdir("/proc/self/fd") == fds
    assert list(tmp_path.iterdir()) == []
    assert os.path.isdir("/etc")


@linux
def test_no_child_outlives_a_caller_that_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    program = f"import os, time\nopen({str(note)!r}, 'w').write(str(os.getpid()) + '.')\ntime.sleep(60)"
    caller = subprocess.Popen(
        [sys.executable, "-c", f"from polyturn.sandbox import run_program; run_program({program!r})"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)},
    )
    try:
        end = time.monotonic() + 30
        while not (note.exists() and note.read_text().endswith(".")) and time.monotonic() < end:
            time.sleep(0.02)
        pid = int(note.read_text()[:-1])
        assert alive(pid)
    finally:
        caller.send_signal(signal.SIGKILL)
        caller.wait()
    assert gone(pid)


def test_another_wait_in_the_caller_is_not_the_programs_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that reaps every child, as a shell or a process manager does, takes the exit we need."""
    import polyturn.sandbox.process as process

    sleep = process.processes.peak_memory_mb

    def reap(pid: int) -> float:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
        return sleep(pid)

    monkeypatch.setattr(process.processes, "peak_memory_mb", reap)
    result: Result = run_program("import os\nos._exit(1)")
    assert result.verdict == "internal-error"
