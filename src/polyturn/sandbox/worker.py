"""A worker, seen from the supervisor: starts its keeper, hands it tasks, reads what became of them.

The keeper is an exec of this interpreter with a clean environment: it inherits no secrets, threads, mappings or
descriptors. The flags:

- `-S` skips `site`, which is slow and runs whatever .pth files are installed.
- `-s` and `-P` keep user packages and the working directory out of the path. Together with the environment given here
  they do what `-I` would, except that `-I` also ignores PYTHONHASHSEED, and then sets print in another order each time.

Nothing of ours runs between fork and exec, so the standard library may use vfork. What a program reads and writes is
files in memory that exist for it alone and that the supervisor reads when it has ended: nothing has to be drained, no
process that was left behind can hold a pipe open.
"""

import fcntl
import json
import marshal
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

from . import scratch
from .confine import remove_tree
from .limits import Isolation, Limits, SandboxError
from .packages import importable, package_paths
from .zygote import ANSWER, ENDED, EXHAUSTED, FLOODED, JOB, LENGTH, OVERDUE, OVERSPENT, PATIENCE, STARVED

TASKS = 64  # processes and threads of one program
FILE_BYTES = 64 << 20  # one file that a program writes,
_BATCH_FILE_BYTES = 1 << 30  # or with the results of hundreds of programs, if the output limit asks for no more
_FOLDER, _PACKAGE = os.path.split(os.path.dirname(os.path.abspath(__file__)))
_BOOT = f"import sys; sys.path.append(sys.argv[1]); from {_PACKAGE}.keeper import main; main()"
_FLAGS = ("-s", "-P", "-S", "-X", "utf8")
_START_S = 60.0  # a machine under load needs seconds
_END_S = 5.0
_numbers = count()


class Task(NamedTuple):
    """What one or two children, of one job, are to do.

    requests: one for each child (`child.py`). The second runs beside the first, joined to it by a channel, and ends
    with it. stdin: of the first.
    """

    requests: tuple[dict[str, Any], ...]
    limits: Limits
    stdin: str = ""

    @property
    def programs(self) -> int:
        """How many programs the first child runs one after another."""
        return len(self.requests[0]["programs"])

    @property
    def most_results(self) -> int:
        """Bytes that an honest child writes at most: all text escaped at its worst."""
        # The record of a program (2), its last text (2), in a batch its stdout and stderr (6 each); and its error.
        each = (16 if self.requests[0]["mode"] == "batch" else 4) * self.limits.output_bytes + (1 << 19)
        return each * self.programs

    @property
    def most_file(self) -> int:
        """Bytes of one file: a byte more than the limits of its output must fit, which tells that they were reached."""
        least = _BATCH_FILE_BYTES if self.requests[0]["mode"] == "batch" else FILE_BYTES
        return max(least, self.most_results // self.programs + 1)  # of which output is a part


@dataclass
class Ending:
    """What the supervisor and the zygote saw of a child.

    trouble: why the sandbox failed; the rest is then meaningless.
    status: exit code, or minus the signal.
    overspent: it used up its CPU time. overdue: the wall clock ran out. flooded: it wrote more than the limit.
    dismissed: it was ended because its job was over, and had not ended by itself. exhausted: the kernel killed
        processes of its job for want of memory for all of them together. starved: it did so for want of memory on the
        host, or in a cgroup around ours.
    stdout, stderr: at most the limit each. results: the frames it wrote, at most a byte more than `most_results`, which
        is what an honest child writes at most.
    """

    trouble: str = ""
    status: int = 0
    overspent: bool = False
    overdue: bool = False
    flooded: bool = False
    dismissed: bool = False
    exhausted: bool = False
    starved: bool = False
    stdout: bytes = b""
    stderr: bytes = b""
    results: bytes = b""
    most_results: int = 0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    memory_mb: float = 0.0
    layers: tuple[str, ...] = ()


@dataclass
class _Sent:
    """A task on its way, and our descriptors of its files: stdout, stderr and results of each child."""

    task: Task
    files: list[int] = field(default_factory=list)

    def close(self) -> None:
        for fd in self.files:
            os.close(fd)
        self.files.clear()


class WorkerDied(Exception):
    """The worker ended, or hung, with tasks still to do."""


class Worker:
    """One keeper and its zygote. Tasks are run one at a time, in the order they were sent.

    Raises SandboxError if there is no interpreter to start, OSError if the host has no room for another process, and
    WorkerDied if it does not come up.
    """

    def __init__(self, level: str, isolation: Isolation, memory_mb: int) -> None:
        if not sys.executable:
            raise SandboxError("sys.executable is empty: start Python itself, not a program that embeds it")
        self._owner = os.getpid()
        self.sent: list[_Sent] = []
        self.deadline = 0.0  # monotonic, for the task that runs now
        settings = {
            "level": level,
            "packages": package_paths(isolation.packages),
            "preload": importable(isolation.packages),
            "user": _spare_user(),
            "memory_mb": memory_mb,
            "tasks": TASKS,
        }
        with ExitStack() as undo:
            self._nothing = os.open(os.devnull, os.O_RDWR)
            undo.callback(os.close, self._nothing)
            self._log = memory_file("log")
            undo.callback(os.close, self._log)
            self._socket, theirs = socket.socketpair()
            undo.callback(self._socket.close)
            undo.callback(theirs.close)
            self._scratch, self._lock = scratch.make()
            undo.callback(os.rmdir, self._scratch)
            undo.callback(os.close, self._lock)
            scratch.sweep(os.path.dirname(self._scratch))
            file = memory_file("settings", marshal.dumps(settings | {"scratch": self._scratch}))
            undo.pop_all()
        _all.add(self)
        self._keeper: subprocess.Popen[bytes] | None = None
        try:
            numbers = (theirs.fileno(), file, self._lock)
            self._keeper = subprocess.Popen(
                [sys.executable, *_FLAGS, "-c", _BOOT, _FOLDER, *map(str, numbers[:2])],
                stdin=self._nothing,
                stdout=self._nothing,
                stderr=self._log,
                pass_fds=numbers,
                env=_environment(),
                cwd="/",
                start_new_session=True,
            )
            theirs.close()
            report = self._report()
        except BaseException:
            self.close()
            raise
        finally:
            os.close(file)
            theirs.close()
        self.layers: tuple[str, ...] = tuple(report["layers"])
        self.missing: dict[str, str] = report["missing"]

    def _report(self) -> dict[str, Any]:
        self._socket.settimeout(_START_S)
        try:
            head = self._socket.recv(LENGTH.size, socket.MSG_WAITALL)
            if len(head) < LENGTH.size:
                raise WorkerDied(f"a worker ended before it was ready: {self._last_words()}")
            text = self._socket.recv(LENGTH.unpack(head)[0], socket.MSG_WAITALL)
        except TimeoutError:
            raise WorkerDied(f"a worker was not ready within {_START_S:g} s") from None
        self._socket.settimeout(None)
        return json.loads(text)

    def fileno(self) -> int:
        """The descriptor that becomes readable when a task has ended, or the worker."""
        return self._socket.fileno()

    def send(self, task: Task) -> None:
        """Hand over a task. Raises WorkerDied, and OSError where the host has no memory or descriptors for it."""
        limits, requests = task.limits, task.requests
        job = JOB.pack(
            limits.cpu_s * task.programs,
            limits.wall_clock_s * task.programs,
            limits.memory_mb << 20,
            limits.output_bytes,
            task.most_results,
            task.most_file,
            len(requests),
        )
        sent = _Sent(task)
        with ExitStack() as handed:

            def hand(fd: int) -> int:
                handed.callback(os.close, fd)
                return fd

            theirs: list[int] = []
            channels = [hand(end.detach()) for end in socket.socketpair()] if len(requests) == 2 else [self._nothing]
            try:
                for request, channel in zip(requests, channels, strict=True):
                    text = task.stdin.encode("utf-8", "surrogatepass") if not sent.files else b""
                    stdin = hand(memory_file("stdin", text, sealed=True))
                    for name in ("stdout", "stderr", "results"):
                        sent.files.append(memory_file(name))
                    out, err, results = sent.files[-3:]
                    theirs += [stdin, out, err, hand(memory_file("request", marshal.dumps(request))), results, channel]
                socket.send_fds(self._socket, [job], theirs)
            except BaseException as error:
                sent.close()
                if isinstance(error, BrokenPipeError | ConnectionResetError):
                    raise WorkerDied(f"a worker ended: {self._last_words()}") from None
                raise
        self.sent.append(sent)
        if len(self.sent) == 1:
            self._expect()

    def collect(self) -> list[Ending]:
        """What became of the task sent first: one for each of its children. Waits for it. Raises WorkerDied."""
        if not self.sent:
            raise WorkerDied(f"a worker ended: {self._last_words()}")
        sent = self.sent[0]
        size = ANSWER.size * len(sent.task.requests)
        try:
            answer = self._socket.recv(size + LENGTH.size, socket.MSG_WAITALL)
            if len(answer) < size + LENGTH.size:
                raise WorkerDied(f"a worker ended: {self._last_words()}")
            length = LENGTH.unpack(answer[size:])[0]
            trouble = self._socket.recv(length, socket.MSG_WAITALL).decode("utf-8", "replace") if length else ""
        except ConnectionError:
            raise WorkerDied(f"a worker ended: {self._last_words()}") from None
        self.sent.pop(0)
        if self.sent:
            self._expect()
        try:
            answers = list(ANSWER.iter_unpack(answer[:size]))
            return [self._ending(fields, sent, at, trouble) for at, fields in enumerate(answers)]
        finally:
            sent.close()

    def _ending(self, fields: tuple[Any, ...], sent: _Sent, at: int, trouble: str) -> Ending:
        status, causes, cpu_s, wall_s, peak = fields
        most = sent.task.limits.output_bytes
        out, err, results = sent.files[3 * at : 3 * at + 3]
        stdout, stderr = _read(out, most + 1), _read(err, most + 1)
        code = os.waitstatus_to_exitcode(status)
        return Ending(
            trouble=trouble,
            status=code,
            overspent=bool(causes & OVERSPENT),
            overdue=bool(causes & OVERDUE),
            flooded=bool(causes & FLOODED) or max(len(stdout), len(stderr)) > most,
            dismissed=bool(causes & ENDED) and code == -signal.SIGKILL,
            exhausted=bool(causes & EXHAUSTED),
            starved=bool(causes & STARVED),
            stdout=stdout[:most],
            stderr=stderr[:most],
            results=_read(results, sent.task.most_results + 1),
            most_results=sent.task.most_results,
            cpu_s=cpu_s,
            wall_s=wall_s,
            memory_mb=peak / 1024,
            layers=self.layers,
        )

    def _expect(self) -> None:
        """Note when the task that runs now should have ended: the zygote ends it in time, unless it hangs itself."""
        task = self.sent[0].task
        self.deadline = time.monotonic() + PATIENCE * task.limits.wall_clock_s * task.programs + _START_S

    def close(self) -> None:
        """End the worker and all it runs, and wait for that; in a fork of its owner, only let go of it."""
        self._socket.close()
        if os.getpid() != self._owner:
            return
        if self._keeper is not None:
            try:
                self._keeper.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._keeper.kill()
                self._keeper.wait()
        for sent in self.sent:
            sent.close()
        self.sent.clear()
        os.close(self._log)
        os.close(self._nothing)
        if os.path.lexists(self._scratch):  # which takes descriptors, where there may have been none left
            remove_tree(self._scratch)
        os.close(self._lock)

    def _last_words(self) -> str:
        words = os.pread(self._log, 1 << 16, 0).decode("utf-8", "replace").strip().splitlines()
        return words[-1] if words else "without a word"


_all: weakref.WeakSet[Worker] = weakref.WeakSet()


def abandon_all() -> None:
    """Close this process's ends of the sockets of all workers: for a fork, whose parent has its own."""
    for worker in list(_all):
        worker._socket.close()
    _all.clear()


def memory_file(name: str, data: bytes = b"", sealed: bool = False) -> int:
    """A descriptor of a file without a place in the file system, at its beginning, that holds the data.

    sealed: nobody can change it, where the system has such files (Linux).
    """
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create(name, os.MFD_CLOEXEC | (os.MFD_ALLOW_SEALING if sealed else 0))
    else:
        with tempfile.TemporaryFile(buffering=0) as file:
            fd = os.dup(file.fileno())
    try:
        at = 0
        while at < len(data):
            at += os.pwrite(fd, data[at:] if at else data, at)
        if sealed and sys.platform == "linux":
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _read(fd: int, most: int) -> bytes:
    """What the file holds, at most so much."""
    most = min(most, os.fstat(fd).st_size)
    data = os.pread(fd, most, 0)
    while len(data) < most and (more := os.pread(fd, most - len(data), len(data))):
        data += more
    return data


def _spare_user() -> int | None:
    """A user number for a worker's programs; None unless root may give it away.

    It is taken from the upper half of the numbers that this process has, where systems create no users, by process and
    by worker, so that workers seldom share one. That two may is no hole: what keeps programs apart are the namespaces,
    Landlock and the filter; the number keeps them from being root or the caller.
    Where /proc does not tell, 65534 (nobody).
    """
    if os.geteuid() != 0:
        return None
    number = os.getpid() * 100 + next(_numbers) % 100
    try:
        with open("/proc/self/uid_map") as file:
            start, _, size = map(int, file.read().split("\n")[-2].split())
    except (OSError, ValueError, IndexError):
        return 65534
    return start + size - 1 - number % (size // 2) if size > 1 else None


def _environment() -> dict[str, str]:
    """All that a program sees of the environment: what makes runs alike, and nothing of the caller's.

    One exception: an interpreter linked against a library in an unusual place cannot start without its path.
    """
    environment = {
        "HOME": "/tmp",
        "TMPDIR": "/tmp",
        "PATH": os.defpath,
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONHASHSEED": "0",
        # One thread each: pools of threads reserve more address space than programs may use, and do not survive a fork.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
    }
    for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"):
        if name in os.environ:
            environment[name] = os.environ[name]
    return environment
