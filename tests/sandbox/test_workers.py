"""Workers seen from outside, through /proc: what programs leave behind, and what becomes of a worker that is killed."""

import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from polyturn.sandbox import Isolation, Limits, run_batch, run_program, run_programs, worker
from polyturn.sandbox.pool import close_idle

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")

PATIENT = Limits(wall_s=120)
LIGHT = Isolation("light", allow_weaker=True)


# ---- looking from outside


class Process(NamedTuple):
    name: str
    state: str
    parent: int


def process(pid: int) -> Process | None:
    """What /proc tells of a process; None if it is gone, or has ended and only waits for its parent."""
    try:
        with open(f"/proc/{pid}/stat", errors="replace") as file:
            head, _, tail = file.read().rpartition(")")
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, parent = tail.split()[:2]
    return None if state in "ZX" else Process(head.partition("(")[2], state, int(parent))


def processes() -> dict[int, Process]:
    found = {int(name): process(int(name)) for name in os.listdir("/proc") if name.isdigit()}
    return {pid: one for pid, one in found.items() if one is not None}


def descendants(ancestor: int) -> set[int]:
    parents = {pid: one.parent for pid, one in processes().items()}
    found: set[int] = set()
    pending = [ancestor]
    while pending:
        parent = pending.pop()
        children = {pid for pid in parents if parents[pid] == parent}
        found |= children
        pending += children
    return found


def keepers(caller: int) -> set[int]:
    """The workers' first processes: children of the caller."""
    return {pid for pid, one in processes().items() if one.parent == caller and b"keeper" in command(pid)}


def command(pid: int) -> bytes:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def eventually[T](look: Callable[[], T], within_s: float = 60) -> T:
    """What `look` gives as soon as that is true."""
    end = time.monotonic() + within_s
    while not (seen := look()) and time.monotonic() < end:
        time.sleep(0.005)
    assert seen, "it did not come to pass"
    return seen


def named(name: str) -> str:
    """The beginning of a program that is called so in /proc, and so are the processes it starts afterwards."""
    return f"import ctypes, os, time\nctypes.CDLL(None).prctl(15, b'{name}')\n"


def running(name: str) -> set[int]:
    """Programs of that name that we started, whatever else runs on this machine."""
    ours = descendants(os.getpid())
    return {pid for pid, one in processes().items() if one.name == name and pid in ours}


def strike(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process, if it is one that we started."""
    assert pid in descendants(os.getpid())
    os.kill(pid, number)


def zygote_of(name: str) -> int:
    """The parent of the program of that name."""
    (pid,) = eventually(lambda: running(name))
    return processes()[pid].parent


@contextmanager
def meanwhile(act: Callable[[], object]) -> Iterator[None]:
    """Do something in another thread while the block runs; both must end well."""
    with ThreadPoolExecutor(1) as executor:
        done = executor.submit(act)
        yield
        done.result()


def cgroup_leaves(keeper_pids: set[int]) -> list[str]:
    names = {f"polyturn-{pid}" for pid in keeper_pids}
    return [f"{folder}/{name}" for folder, folders, _ in os.walk("/sys/fs/cgroup") for name in names & {*folders}]


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where workers that are started from now on make their folders; none is warm before or afterwards."""
    close_idle()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


# ---- the layers, as the kernel sees them


SPACES = ("user", "pid", "mnt", "ipc", "uts", "net")


@pytest.mark.parametrize("isolation", [Isolation(), LIGHT], ids=["full", "light"])
def test_the_kernel_says_that_the_layers_are_in_force(isolation: Isolation) -> None:
    seen: dict[str, str] = {}
    spaces: set[str] = set()

    def look() -> None:
        (pid,) = eventually(lambda: running("looked-at"))
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            field, _, value = line.partition(":")
            seen[field] = " ".join(value.split())
        for line in Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]:
            seen[line[:26].strip()] = line[26:].split()[0]
        for space in SPACES if os.geteuid() == 0 else ():  # only root may look
            if os.readlink(f"/proc/{pid}/ns/{space}") != os.readlink(f"/proc/self/ns/{space}"):
                spaces.add(space)
        strike(pid)

    with meanwhile(look):
        result = run_program(named("looked-at") + "time.sleep(120)", PATIENT, isolation=isolation)
    assert result.error is not None
    assert (result.verdict, result.error.message) == ("error", "it was ended by SIGKILL")
    assert (seen["NoNewPrivs"], seen["Seccomp"]) == ("1", "2")
    assert {seen[f"Cap{name}"].strip("0") for name in ("Inh", "Prm", "Eff", "Amb")} == {""}
    assert (seen["Max core file size"], seen["Max open files"]) == ("0", "256")
    assert seen["Max file size"] == str(64 << 20)
    assert 1 << 30 < int(seen["Max address space"]) < 2 << 30
    if isolation is LIGHT:
        assert spaces == set()
        return
    assert seen["NSpid"].split()[-1] == "1"
    assert seen["CapBnd"].strip("0") == ""
    assert int(seen["Max processes"]) <= 64
    if os.geteuid() == 0:
        assert spaces == set(SPACES)
        users = set(seen["Uid"].split())
        assert len(users) == 1
        assert not users & {"0", str(os.getuid()), "65534"}
        assert seen["Groups"] == ""


# ---- what a program leaves


@pytest.mark.parametrize(
    "leave",
    [
        "tell()\n    time.sleep(120)",
        "os.setsid()\n    if os.fork(): os._exit(0)\n    tell()\n    time.sleep(120)",  # a daemon
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n    tell()\n    while True: time.sleep(1)",
        "[signal.signal(n, signal.SIG_IGN) for n in (1, 2, 3, 15)]\n    tell()\n    while True: time.sleep(1)",
    ],
    ids=["child", "daemon", "deaf", "ignoring"],
)
@pytest.mark.parametrize("end", ["", "os._exit(0)", "os.abort()", "while True: pass"])
def test_no_process_survives_its_program(leave: str, end: str) -> None:
    source = (
        "import os, signal, time\nreader, writer = os.pipe()\n"
        "def tell(): os.write(writer, b'.')\n"
        f"if os.fork() == 0:\n    {leave}\n"
        f"print(os.read(reader, 1), flush=True)\n{end}"
    )
    run_program("print(1)")
    before = descendants(os.getpid())
    result = run_program(source, Limits(cpu_s=0.5, wall_s=120))
    assert result.stdout == "b'.'\n"  # there was one
    assert descendants(os.getpid()) == before


FILL = {
    "files": "import os\nopen('file', 'w').write('x')\nos.mkdir('folder')\nopen('.hidden', 'w')\n"
    "os.symlink('/', 'link')",
    "closed folders": "import os\nos.makedirs('a/b/c')\nopen('a/b/c/d', 'w')\n"
    "for f in ('a/b/c', 'a/b', 'a'): os.chmod(f, 0)",
    "a deep tree": "import os\nfor _ in range(1100):\n    os.mkdir('d')\n    os.chdir('d')",
    "all room": "import os\ntry:\n    for i in range(20):\n"
    "        with open(str(i), 'wb') as f: f.write(bytes(4 << 20))\nexcept OSError: os._exit(1)",
    "all names": "import os\ntry:\n    for i in range(9999): os.mkdir(str(i))\nexcept OSError: os._exit(1)",
    "a file without a name": "import os\nf = open('f', 'wb')\nos.remove('f')\nf.write(bytes(40 << 20))\nos.abort()",
    "pipes": "import os\nfor i in range(9): os.mkfifo(str(i))",
    "a file, and takes it back": "import os\nopen('f', 'w').write('x')\nos.remove('f')",
    "a file of another time": "import os\nopen('f', 'w')\nos.utime('f', (0, 0))\n"
    "try:\n    os.utime('.', (0, 0))\nexcept PermissionError:\n    os.utime('.')",
    "files in the shared memory": "from multiprocessing import shared_memory\n"
    "shared_memory.SharedMemory('kept', create=True, size=1 << 20)\nimport os\nos._exit(1)",
}
EMPTY = (
    "import os\nprint(os.getcwd() == os.environ['HOME'], os.listdir('.'))\n"
    "open('room', 'wb').write(bytes(60 << 20))\nos.remove('room')\n"
    "for i in range(3000): open(str(i), 'w')"
)


@pytest.mark.parametrize("leave", FILL)
def test_the_next_program_finds_an_empty_folder_with_all_its_room(leave: str) -> None:
    run_program("print(1)")
    before = descendants(os.getpid())
    run_program(FILL[leave])
    result = run_program(EMPTY)
    assert (result.verdict, result.stdout) == ("passed", "True []\n")
    assert descendants(os.getpid()) == before  # in the same worker


@pytest.mark.parametrize("leave", ["files", "closed folders", "a deep tree", "pipes"])
def test_the_next_light_program_finds_an_empty_folder(leave: str) -> None:
    run_program("print(1)", isolation=LIGHT)
    before = descendants(os.getpid())
    run_program(FILL[leave], isolation=LIGHT)
    result = run_program("import os\nprint(os.getcwd() == os.environ['HOME'], os.listdir('.'))", isolation=LIGHT)
    assert result.stdout == "True []\n"
    assert descendants(os.getpid()) == before  # in the same worker


TEXT = "some needle " + "x" * 20
KEEP = f"import sys\nsys.kept = kept = {TEXT!r} * 3\nprint(kept)\nopen('note', 'w').write(kept)\n"


def test_a_program_finds_no_trace_of_the_one_before() -> None:
    search = (
        "import gc, os, sys\n"
        "frame, seen = sys._getframe(), repr([gc.get_objects(), os.environ, sys.modules])\n"
        "while frame:\n    seen += repr(frame.f_globals) + repr(frame.f_locals)\n    frame = frame.f_back\n"
        "for fd in range(256):\n    try:\n        seen += str(os.pread(fd, 1 << 20, 0))\n"
        "    except OSError:\n        pass\n"
        "print(''.join(['some ', 'needle ', 'x' * 20]) in seen, hasattr(sys, 'kept'))"
    )
    assert run_program(KEEP + search).stdout.splitlines()[-1] == "True True"  # it finds its own
    assert run_program(KEEP, stdin=TEXT, expected=TEXT).verdict == "wrong"
    assert run_program(search).stdout == "False False\n"


def memory_holds(pid: int, needle: bytes) -> bool:
    """Whether the text is anywhere in the private memory of a process."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            extent, rights, *_ = line.split()
            if not rights.startswith("rw") or line.rstrip().endswith(("[vvar]", "[vsyscall]")):
                continue
            start, end = (int(part, 16) for part in extent.split("-"))
            with suppress(OSError):  # a page that cannot be read
                if needle in os.pread(memory.fileno(), end - start, start):
                    return True
    return False


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look into the memory of a worker")
def test_a_worker_keeps_no_trace_of_a_program_in_its_memory() -> None:
    run_program(KEEP, stdin=TEXT, expected=TEXT)
    seen: list[bool] = []

    def look() -> None:
        zygote = zygote_of("looking")
        (program,) = running("looking")
        seen.append(memory_holds(program, named("looking").encode()))  # it is in its own memory
        seen.extend(memory_holds(pid, TEXT.encode()) for pid in (program, zygote, processes()[zygote].parent))
        strike(program)

    with meanwhile(look):
        run_program(named("looking") + "time.sleep(120)", PATIENT)
    assert seen == [True, False, False, False]


MIXED = [
    "print(1)",
    "import numpy as np\nprint(np.arange(3).tolist())",
    "1 / 0",
    "import os\nos._exit(3)",
    "import os\nos.abort()",
    "import os, time\nfor _ in range(5):\n    if os.fork() == 0:\n        os.setsid()\n        time.sleep(120)",
    "import threading, time\nfor _ in range(5): threading.Thread(target=time.sleep, args=(120,), daemon=True).start()",
    "open('left', 'w').write('x' * 10**6)",
    "import os\nos.makedirs('a/b')\nos.chmod('a', 0)",
    "import os\nfds = [os.open('/dev/null', 0) for _ in range(100)]\nos._exit(0)",
    "while True: print('x' * 10**5)",
    "x = bytearray(10**11)",
    "import os\nfor fd in range(3, 20):\n    try:\n        os.write(fd, b'\\xff' * 9)\n    except OSError: pass",
    "import os\nos.closerange(0, 256)",
    "import ctypes\nctypes.CDLL(None).syscall(101, 0, 0, 0, 0)",
    "import sys\nsys.exit('no')",
    "def f(): f()\nf()",
    "if x = 1",
    "import atexit\natexit.register(print, 'bye')",
    "print(input())",
]


def test_two_hundred_mixed_programs_leave_nothing(scratch: Path) -> None:
    fds, before = os.listdir("/proc/self/fd"), descendants(os.getpid())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with closing(run_programs(MIXED * 10, Limits(wall_s=120), workers=2)) as results:
        first = next(results)
        pids = keepers(os.getpid())
        assert len(pids) == 2
        verdicts = [first.verdict, *(result.verdict for result in results)]
    # What each of them is judged depends on it alone, not on those before.
    assert verdicts == verdicts[:20] * 10
    assert "internal-error" not in verdicts
    assert {"passed", "error", "memory", "output-limit", "forbidden"} == set(verdicts)
    assert os.listdir("/proc/self/fd") == fds
    assert descendants(os.getpid()) == before
    assert list(scratch.iterdir()) == []
    assert cgroup_leaves(pids) == []
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 64 << 10


def test_closing_half_way_leaves_nothing(scratch: Path) -> None:
    fds, before = os.listdir("/proc/self/fd"), descendants(os.getpid())
    with closing(run_programs(["print(1)", *["import time\ntime.sleep(120)"] * 9], PATIENT, workers=2)) as results:
        assert next(results).verdict == "passed"
        assert list(scratch.iterdir()) != []
    assert descendants(os.getpid()) == before
    assert os.listdir("/proc/self/fd") == fds
    assert list(scratch.iterdir()) == []


def test_a_warm_worker_serves_all_calls_and_ends_when_told(scratch: Path) -> None:
    before = descendants(os.getpid())
    run_program("print(1)")
    (keeper,) = keepers(os.getpid())
    warm = descendants(os.getpid())
    for source in MIXED[:8]:
        run_program(source)
        run_batch([source])
    assert descendants(os.getpid()) == warm
    close_idle()
    assert descendants(os.getpid()) == before
    assert cgroup_leaves({keeper}) == []
    assert list(scratch.iterdir()) == []
    assert run_program("print(1)").verdict == "passed"


def test_threads_have_a_worker_each() -> None:
    with ThreadPoolExecutor(2) as executor:
        results = list(executor.map(lambda i: run_program(f"print({i})"), range(12)))
    assert [result.printed for result in results] == [((i,),) for i in range(12)]


# ---- workers that are killed


@pytest.mark.parametrize("victim", ["zygote", "keeper"])
def test_a_worker_that_is_killed_costs_no_result(victim: str, scratch: Path) -> None:
    name = f"hit-{victim}"
    sources = [f"print({i})" for i in range(12)]
    sources[5] = named(name) + "time.sleep(1)\nprint(5)"
    killed: set[int] = set()

    def kill() -> None:
        zygote = zygote_of(name)
        keeper = processes()[zygote].parent
        killed.update({keeper, zygote, *descendants(zygote)})
        strike(zygote if victim == "zygote" else keeper)

    fds = os.listdir("/proc/self/fd")
    with meanwhile(kill):
        results = list(run_programs(sources, PATIENT, workers=2))
    assert [(result.verdict, result.printed) for result in results] == [("passed", ((i,),)) for i in range(12)]
    assert len(killed) >= 3
    assert not killed & set(processes())
    assert list(scratch.iterdir()) == []
    assert os.listdir("/proc/self/fd") == fds


def test_a_program_in_whose_run_a_worker_dies_twice_is_an_internal_error() -> None:
    sources = [f"print({i})" for i in range(8)]
    sources[3] = named("fatal") + "time.sleep(120)"

    def kill_twice() -> None:
        for _ in range(2):
            zygote = zygote_of("fatal")
            strike(zygote)
            eventually(lambda zygote=zygote: process(zygote) is None)

    with meanwhile(kill_twice):
        results = list(run_programs(sources, PATIENT, workers=2))
    assert [result.verdict for result in results] == ["passed"] * 3 + ["internal-error"] + ["passed"] * 4
    assert [result.printed for result in results[4:]] == [((i,),) for i in range(4, 8)]
    error = results[3].error
    assert error is not None
    assert error.type == "SandboxError"
    assert "twice with this program" in error.message


def test_a_batch_goes_on_after_its_worker_was_killed() -> None:
    sources = [f"print({i})" for i in range(6)]
    sources[3] = named("in-a-batch") + "time.sleep(1)\nprint(3)"

    def kill() -> None:
        (first,) = {pid for pid in eventually(lambda: running("in-a-batch"))}
        child = processes()[first].parent  # the first process of its namespace, which waits
        strike(processes()[child].parent)

    with meanwhile(kill):
        results = run_batch(sources, PATIENT)
    assert [result.printed for result in results] == [((i,),) for i in range(6)]


def test_a_warm_worker_that_died_meanwhile_is_replaced() -> None:
    close_idle()
    run_program("print(1)")
    (keeper,) = keepers(os.getpid())
    everything = {keeper, *descendants(keeper)}
    assert len(everything) == 2
    strike(keeper)
    eventually(lambda: not everything & set(processes()))  # the zygote is gone with it
    assert run_program("print(2)").printed == ((2,),)


def test_a_worker_that_hangs_is_replaced(monkeypatch: pytest.MonkeyPatch, scratch: Path) -> None:
    run_program("print(1)")
    patience = worker._START_S
    monkeypatch.setattr(worker, "_START_S", 0.5)  # how long after a program's own time
    monkeypatch.setattr(worker, "_END_S", 0.1)
    hung: list[int] = []

    def stop() -> None:
        zygote = zygote_of("hang")
        strike(zygote, signal.SIGSTOP)
        hung.extend([zygote, processes()[zygote].parent])
        worker._START_S = patience  # the next one may take its time to start

    with meanwhile(stop):
        result = run_program(named("hang") + "time.sleep(1)\nprint(2)", Limits(wall_s=2))
    assert (result.verdict, result.printed) == ("passed", ((2,),))
    assert not set(hung) & set(processes())
    close_idle()
    assert list(scratch.iterdir()) == []


# ---- callers of all kinds


def start_caller(code: str, folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(folder)}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_a_caller_that_is_killed(number: signal.Signals, tmp_path: Path) -> None:
    name = f"orphan-{number}"
    program = named(name) + "os.fork()\ntime.sleep(120)"
    code = (
        "from polyturn.sandbox import Limits, run_program, run_programs\n"
        f"run_program('print(1)')\nprint(*run_programs([{program!r}] * 4, Limits(wall_s=120), workers=2))"
    )
    with start_caller(code, tmp_path) as caller:
        try:
            eventually(lambda: len(running(name)) == 4)
            pids = keepers(caller.pid)
            everything = descendants(caller.pid)
            assert len(pids) == 3
            assert len(everything) == 3 + 3 + 4
            assert len(list(tmp_path.iterdir())) == 3
        finally:
            caller.send_signal(number)
        caller.wait(60)
    eventually(lambda: not everything & set(processes()), 20)
    eventually(lambda: not list(tmp_path.iterdir()), 20)
    eventually(lambda: not cgroup_leaves(pids), 20)


def test_a_killed_keepers_cgroup_is_swept_by_the_next() -> None:
    close_idle()
    run_program("print(1)")
    (keeper,) = keepers(os.getpid())
    if not cgroup_leaves({keeper}):
        pytest.skip("this host delegates no cgroup")
    strike(keeper)
    eventually(lambda: process(keeper) is None)
    close_idle()  # reaps it
    run_program("print(1)")
    eventually(lambda: not cgroup_leaves({keeper}), 5)


def test_a_caller_that_reaps_every_child_gets_its_results() -> None:
    """As a shell or a process manager does: the exit of a worker's keeper is then nobody's to see."""
    close_idle()
    before = descendants(os.getpid())
    stop = threading.Event()

    def reap() -> None:
        while not stop.is_set():
            with suppress(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)
            time.sleep(0.001)

    reaper = threading.Thread(target=reap)
    reaper.start()
    try:
        results = list(run_programs([*MIXED[:6], "print(1)"], PATIENT, workers=2))
        assert run_program("import os\nos._exit(1)").verdict == "error"
        close_idle()
    finally:
        stop.set()
        reaper.join()
    assert [result.verdict for result in results] == ["passed", "passed", "error", "error", "error", "passed", "passed"]
    assert descendants(os.getpid()) == before


def test_a_child_whose_parent_is_gone_already_does_not_go_on() -> None:
    """The kernel tells of a death only those who asked before it."""
    code = (
        "import os\nfrom polyturn.sandbox.confine import tie_to_parent\nreader, writer = os.pipe()\n"
        "parent = os.fork()\nif parent:\n    os.waitpid(parent, 0)\n    print(os.read(reader, 99))\n"
        "elif os.fork() == 0:\n    parent = os.getppid()\n    tie_to_parent(parent)\n    os.write(writer, b'tied ')\n"
        "    child = os.fork()\n    if child == 0:\n        try:\n            tie_to_parent(parent)\n"
        "        except ProcessLookupError:\n            os.write(writer, b'gone')\n        os._exit(0)\n"
        "    os.waitpid(child, 0)\n    os.kill(parent, 0)\n    os.write(writer, b'!')\n    os._exit(0)\n"
        "else:\n    os.wait()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("b'tied gone!'\n", "")


def test_a_fork_that_closes_its_copy_leaves_the_parents_worker_whole(tmp_path: Path) -> None:
    code = (
        "import os\nfrom polyturn.sandbox import run_programs\n"
        "results = run_programs(f'print({i})' for i in range(3))\nprint(next(results).printed, flush=True)\n"
        "folders = os.listdir(os.environ['TMPDIR'])\npid = os.fork()\nif pid == 0:\n"
        "    results.close()\n    os._exit(0)\n"
        "os.waitpid(pid, 0)\nprint(len(folders), os.listdir(os.environ['TMPDIR']) == folders)\n"
        "print([result.printed for result in results])"
    )
    with start_caller(code, tmp_path) as caller:
        out, _ = caller.communicate(timeout=120)
    assert out.decode() == "((0,),)\n1 True\n[((1,),), ((2,),)]\n"
    assert list(tmp_path.iterdir()) == []


def test_a_fork_in_the_midst_of_another_threads_call_can_run_programs(tmp_path: Path) -> None:
    code = (
        "import os, signal, threading\nfrom polyturn.sandbox import pool, run_program\n"
        "held, done = threading.Event(), threading.Event()\n"
        "def hold():\n    with pool._lock:\n        held.set()\n        done.wait()\n"
        "thread = threading.Thread(target=hold)\nthread.start()\nheld.wait()\npid = os.fork()\n"
        "if pid == 0:\n    signal.alarm(30)\n    print(run_program('print(1)').printed, flush=True)\n"
        "    pool.close_idle()\n    os._exit(0)\n"
        "print(os.waitpid(pid, 0)[1])\ndone.set()\nthread.join()"
    )
    with start_caller(code, tmp_path) as caller:
        out, _ = caller.communicate(timeout=120)
    assert out.decode() == "((1,),)\n0\n"


def test_a_caller_that_forks_leaves_its_workers_to_itself(tmp_path: Path) -> None:
    code = (
        "import os\nfrom polyturn.sandbox import run_program\nfrom polyturn.sandbox.pool import close_idle\n"
        "print(run_program('print(1)').printed, flush=True)\npid = os.fork()\n"
        "print(run_program(f'print({2 if pid else 3})').printed, flush=True)\n"
        "if pid:\n    os.waitpid(pid, 0)\n    print(run_program('print(4)').printed, flush=True)"
    )
    with start_caller(code, tmp_path) as caller:
        out, _ = caller.communicate(timeout=120)
    assert sorted(out.decode().split()) == ["((1,),)", "((2,),)", "((3,),)", "((4,),)"]
    assert list(tmp_path.iterdir()) == []


# ---- a busy machine


@pytest.fixture
def one_cpu() -> Iterator[None]:
    """All that is started from now on shares one CPU."""
    close_idle()
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)
    close_idle()


@pytest.mark.usefixtures("one_cpu")
def test_a_program_that_computes_is_not_blamed_for_a_busy_machine() -> None:
    burn = "import time\nwhile time.process_time() < 0.4: pass\nprint(1)"
    results = list(run_programs([burn] * 6, Limits(cpu_s=1, wall_s=0.8), workers=6))
    assert [result.verdict for result in results] == ["passed"] * 6
    assert max(result.wall_s for result in results) > 0.8  # it was busy


@pytest.mark.parametrize("wait", ["time.sleep(60)", "while True: time.sleep(0.02)"])
def test_the_wall_clock_runs_out_for_a_program_that_waits(wait: str) -> None:
    burn = "import time\nwhile time.process_time() < 0.2: pass\n"
    result = run_program(burn + wait, Limits(cpu_s=5, wall_s=1))
    assert (result.verdict, result.error and result.error.type) == ("timeout", "TimeLimit")
    assert result.wall_s < 2


def test_one_that_never_stops_computing_a_little_is_ended_too() -> None:
    little = "import time\nwhile True:\n    for _ in range(3 * 10**5): pass\n    time.sleep(0.01)"
    result = run_program(little, Limits(cpu_s=60, wall_s=0.5))
    assert (result.verdict, 0.5 < result.wall_s < 4) == ("timeout", True)


# ---- what a caller hands on without meaning to

SIGNALS_AND_STACK = """
import resource, signal, sys, threading
ours = [(int(n), str(signal.getsignal(n))) for n in sorted(signal.valid_signals())]
blocked = sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))
threading.Thread(target=lambda: None).start()
print(ours, blocked, resource.getrlimit(resource.RLIMIT_STACK)[0])
"""


@pytest.mark.parametrize("stack", [1 << 20, 1 << 30, resource.RLIM_INFINITY])
def test_the_callers_signals_and_stack_are_not_the_programs(stack: int, tmp_path: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    if hard != resource.RLIM_INFINITY:
        pytest.skip("this user may not have any stack")
    spoil = (
        "import resource, signal\n"
        "for n in signal.valid_signals() - {9, 17, 19}: signal.signal(n, signal.SIG_IGN)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n"
        f"resource.setrlimit(resource.RLIMIT_STACK, ({stack}, {hard}))\n"
    )
    code = f"from polyturn.sandbox import Limits, run_program\nprint(run_program({SIGNALS_AND_STACK!r}).stdout)"
    told: list[bytes] = []
    for head in ("", spoil):
        with start_caller(head + code, tmp_path) as caller:
            told.append(caller.communicate(timeout=60)[0])
    assert told[0].split() != []
    assert told[0].split()[-1] == b"8388608"
    assert told[1] == told[0]


def test_stacks_of_threads_are_the_usual_ones(tmp_path: Path) -> None:
    """The C library takes their size from the limit that it finds at its start."""
    threads = (
        "import threading, time\nthreads = [threading.Thread(target=time.sleep, args=(0.2,)) for _ in range(40)]\n"
        "for thread in threads: thread.start()\nprint(len(threads))"
    )
    code = (
        "import resource\nhard = resource.getrlimit(resource.RLIMIT_STACK)[1]\n"
        "resource.setrlimit(resource.RLIMIT_STACK, (1 << 29, hard))\n"
        f"from polyturn.sandbox import run_program\nprint(run_program({threads!r}).stdout)"
    )
    with start_caller(code, tmp_path) as caller:
        assert caller.communicate(timeout=60)[0].split() == [b"40"]


def test_a_program_has_no_descriptor_but_its_own_however_many_the_caller_has(tmp_path: Path) -> None:
    look = (
        "import os\nfound = []\nfor fd in range(4000):\n    try:\n        os.fstat(fd)\n    except OSError:\n"
        "        continue\n    found.append(fd)\nprint(found)"
    )
    code = (
        "import os, resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (3000, 3000))\n"
        "for _ in range(1500): os.open('/dev/null', os.O_RDONLY)\n"
        f"from polyturn.sandbox import Isolation, run_program\nprint(run_program({look!r}).stdout)\n"
        f"print(run_program({look!r}, isolation=Isolation('light', allow_weaker=True)).stdout)"
    )
    with start_caller(code, tmp_path) as caller:
        assert caller.communicate(timeout=60)[0] == b"[0, 1, 2, 4]\n\n" * 2


def test_folders_of_workers_that_were_killed_with_their_caller_are_swept(tmp_path: Path) -> None:
    start = "from polyturn.sandbox import run_program\nrun_program('print(1)')\n"
    code = start + "import time\nprint(1, flush=True)\ntime.sleep(99)"
    stay = [tmp_path / "sandbox-of-another", tmp_path / "polyturn-other", tmp_path / "polyturn-sandbox-file"]
    for path in stay[:2]:
        path.mkdir()
    stay[2].touch()
    with start_caller(code, tmp_path) as living, start_caller(code, tmp_path) as caller:
        try:
            for one in (living, caller):
                assert one.stdout is not None
                one.stdout.readline()
            folders = {pid: held_by(pid, tmp_path) for pid in (living.pid, caller.pid)}
            (keeper,) = keepers(caller.pid)
            strike(keeper, signal.SIGSTOP)  # so that it cannot tidy up
            caller.kill()
            caller.wait()
            os.kill(keeper, signal.SIGKILL)
            eventually(lambda: process(keeper) is None)
            assert folders[caller.pid].exists()
            for path in [*stay, *folders.values()]:
                os.utime(path, (1, 1))
            with start_caller(start, tmp_path) as next_one:
                next_one.wait(60)
            assert sorted(tmp_path.iterdir()) == sorted([*stay, folders[living.pid]])
        finally:
            living.kill()
            caller.kill()
    eventually(lambda: sorted(tmp_path.iterdir()) == sorted(stay), 20)


def held_by(pid: int, place: Path) -> Path:
    """The folder in that place which a process has open."""
    links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    (found,) = {link for link in links if link.startswith(f"{place}/")}
    return Path(found)
