"""The zygote of a worker: holds a warm interpreter, and forks one confined child for each program.

It is the first process of its worker's namespaces (`jail.py`). It imports what programs usually import, has that stay
shared (`sharing.py`), and then serves jobs from the supervisor, one at a time. A job is a fixed struct and a few
descriptors; the zygote never reads what is behind them, so no program finds traces of another in its memory. It holds
no secrets and no expected values.

Each child is the first process of a pid namespace of its own: when it ends, the kernel kills whatever it started.
The zygote watches its CPU clock, the wall clock and the size of its output, and answers with what it saw. Processes
that nobody waited for are on no clock but the cgroup's, where there is one.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from contextlib import suppress

from . import child, sharing
from .confine import Plan, enter_namespaces, tie_to_parent
from .guard import cpu_clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .confine import Settings

JOB = struct.Struct("<ddQQQII")  # cpu_s, wall_s, bytes: memory, each output, results, one file; children
FDS = 6  # of each child: stdin, stdout, stderr, request, results, channel
ANSWER = struct.Struct("<iIddQ")  # for each child: wait status, causes, cpu_s, wall_s, peak KiB
LENGTH = struct.Struct("<I")  # of the text that follows: why a child could not be confined; after start, JSON
OVERSPENT, OVERDUE, FLOODED, ENDED = 1, 2, 4, 8  # why the zygote killed a child; ENDED: its job was over
EXHAUSTED, STARVED = 16, 32  # the kernel killed processes of the job: its cgroup had no memory left, or the host

PATIENCE = 4  # times its wall limit that a job may take while it computes

_LOOK_S, _COMPUTES = 1.0, 0.1  # for how long it is looked at, and the share of a CPU's time that says so
_LOW = 10  # descriptors below are for the child
_MOST_FDS = 1024
_TICK_S = 0.05
_CPUS = os.cpu_count() or 1
_NO_ROOM = b"its limits leave no room for the program to begin: raise them, of memory first (--memory-mb)"
_PROBE = JOB.pack(10.0, 10.0, 1 << 30, 1 << 20, 1 << 20, 1 << 20, 1)

_WARM = (  # imported once, here, so that no program pays for it
    *("bisect", "collections", "copy", "dataclasses", "datetime", "enum", "functools", "heapq", "itertools", "math"),
    *("operator", "random", "re", "string", "threading", "typing"),
)


def start(control: int, settings: Settings, ask: int, answer: int) -> None:
    """Become the zygote and serve until the supervisor is gone. Called in a fresh fork of the keeper.

    ask, answer: pipes to the keeper, which maps the users. What goes wrong before the first job is told to the
    supervisor as the reason why a layer is missing.
    """
    connection, ask, answer = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _LOW) for fd in (control, ask, answer))
    for fd in {int(name) for name in os.listdir("/dev/fd")} - {0, 1, 2, connection, ask, answer}:
        with suppress(OSError):  # the one that listed them is closed already
            os.close(fd)  # the numbers are the supervisor's, and may be larger than what a child closes
    for fd in range(3, _LOW):
        os.dup2(0, fd)  # so that what is opened from now on is out of the way of a child's descriptors
    connection = socket.socket(fileno=connection)
    plan = Plan(settings)
    if settings["level"] == "full":
        reason = enter_namespaces(plan, ask, answer)
        if reason:
            return _tell(connection, {"layers": plan.layers, "missing": {"namespaces": reason}})
    os.close(ask)
    os.close(answer)
    tie_to_parent(os.getppid())
    try:
        plan.prepare()
    except OSError as error:
        return _tell(connection, {"layers": plan.layers, "missing": {"root": str(error)}})
    sys.path.append(plan.packages)
    _import((*_WARM, *settings["preload"]))
    child.prepare()
    plan.measure()
    _probe(plan)
    _tell(connection, {"layers": plan.layers, "missing": plan.missing})
    sharing.settle()
    _serve(connection, plan)


def _import(names: tuple[str, ...]) -> None:
    """Import modules, `random` without what it does after a fork: it would draw another seed for each program."""
    register, os.register_at_fork = os.register_at_fork, lambda **hooks: None
    try:
        __import__("random")
    finally:
        os.register_at_fork = register
    for name in names:
        __import__(name)


def _tell(connection: socket.socket, report: dict[str, object]) -> None:
    text = json.dumps(report).encode()
    connection.sendall(LENGTH.pack(len(text)) + text)


def _probe(plan: Plan) -> None:
    """Find out which steps of the plan this host allows, in a child that ends there, and keep those."""
    reader, writer = os.pipe()
    job = Job(_PROBE)
    plan.make_homes(job)
    pid = plan.fork()
    if pid == 0:
        os.write(writer, json.dumps(plan.attempt(job)).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        text = file.read()
    os.waitpid(pid, 0)
    plan.clean_up(job)
    plan.keep(json.loads(text))


def _serve(connection: socket.socket, plan: Plan) -> None:
    setup, setup_writer = os.pipe()
    os.set_blocking(setup, False)
    while True:
        data, fds, _, _ = socket.recv_fds(connection, JOB.size, 2 * FDS)
        if not data:
            return
        job = Job(data)
        descriptors = [fds[at : at + FDS] for at in range(0, FDS * job.children, FDS)]
        answers = _run(job, descriptors, plan, connection, setup_writer)
        for each in descriptors:
            for fd in each[:5]:
                os.close(fd)
        text = _setup_trouble(setup, answers)
        connection.sendall(b"".join(answers) + LENGTH.pack(len(text)) + text)


class Job:
    """What all children of one job have in common: see `JOB`. child: which of them this process is, in a child."""

    def __init__(self, data: bytes) -> None:
        self.cpu_s, self.wall_s, *rest = JOB.unpack(data)
        self.memory, self.output, self.results, self.file_bytes, self.children = rest
        self.child = 0


def _setup_trouble(setup: int, answers: list[bytes]) -> bytes:
    """Nothing if every child wrote its dot when it was ready to begin; else what it wrote instead."""
    try:
        text = os.read(setup, 4096)
    except BlockingIOError:
        text = b""
    if text == b"." * len(answers):
        return b""
    stopped = any(ANSWER.unpack(answer)[1] & ~ENDED for answer in answers)
    return text.replace(b".", b"") or (_NO_ROOM if stopped else b"a child died while it was confined")


class _Child:
    """A running child, and how it ended."""

    def __init__(self, pid: int, fds: list[int]) -> None:
        self.pid = pid
        self.output, self.results = fds[1:3], fds[4]
        self.pidfd = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
        self.causes = 0
        self.ended = False
        self.status = self.peak = 0
        self.cpu = self.wall = 0.0

    def reap(self, began: float, flags: int = 0) -> bool:
        """Whether it has ended; for a pid namespace's first process, everything in there has then ended too."""
        pid, status, usage = os.wait4(self.pid, flags)
        if pid:
            self.ended = True
            self.status, self.peak = status, usage.ru_maxrss
            self.cpu, self.wall = usage.ru_utime + usage.ru_stime, time.monotonic() - began
            if self.pidfd is not None:
                os.close(self.pidfd)
        return self.ended

    def clock(self) -> float:
        """CPU time it has used, as far as its own clock shows it, seconds."""
        return self.cpu if self.ended else cpu_clock(self.pid) or 0.0

    def overstep(self, job: Job, cpu_s: float) -> int:
        """The cause for which it must be stopped now, or 0. `cpu_s`: what it has used."""
        if cpu_s > job.cpu_s:
            return OVERSPENT
        flooded = any(os.fstat(fd).st_size > job.output for fd in self.output)
        return FLOODED if flooded or os.fstat(self.results).st_size > job.results else 0

    def stop(self, cause: int) -> None:
        """Kill it, and its process group for hosts without pid namespaces."""
        self.causes |= cause
        for kill in (os.killpg, os.kill):
            try:
                kill(self.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue


def _run(job: Job, descriptors: list[list[int]], plan: Plan, connection: socket.socket, setup: int) -> list[bytes]:
    """Fork the children of a job, and watch them until the first has ended. Returns an answer for each."""
    children: list[_Child] = []
    plan.make_homes(job)
    kills, spent = plan.account.memory_kills(), _spent(plan)
    began = time.monotonic()
    for job.child, fds in enumerate(descriptors):
        pid = plan.fork()
        if pid == 0:
            _become_child(job, fds, plan, setup)
        children.append(_Child(pid, fds))
        os.close(fds[5])  # so that each end of a channel is one child's alone, and closed when that ends

    def clocks() -> list[float]:
        """CPU time of each child. What no process's clock shows is the last one's: the program's, not its tests'."""
        each = [one.clock() for one in children]
        if spent is not None and (now := _spent(plan)) is not None:
            each[-1] = max(each[-1], now - spent - sum(each[:-1]))
        return each

    _watch(job, children, clocks, began, connection)
    for one in children:
        if not one.ended:
            one.stop(ENDED)
            one.reap(began)
    cause, (killed, hit) = 0, plan.account.memory_kills()
    if killed > kills[0]:
        cause = EXHAUSTED if hit > kills[1] else STARVED
    answers = [
        ANSWER.pack(one.status, one.causes | cause, cpu_s, one.wall, one.peak)
        for one, cpu_s in zip(children, clocks(), strict=True)
    ]
    plan.clean_up(job)
    return answers


def _spent(plan: Plan) -> float | None:
    """CPU time of all programs so far, seconds: the cgroup's without our own. None if there is no cgroup."""
    own = time.process_time()
    total = plan.account.cpu_s()
    return None if total is None else total - own


def _watch(
    job: Job,
    children: list[_Child],
    clocks: Callable[[], list[float]],
    began: float,
    connection: socket.socket,
) -> None:
    poll = select.poll()
    poll.register(connection, 0)  # only its end is of interest: the next job may be waiting there already
    for one in children:
        if one.pidfd is not None:
            poll.register(one.pidfd, select.POLLIN)
    wall_clock = _WallClock(began, job.wall_s)
    first = children[0]
    wait = min(_TICK_S, job.cpu_s / _CPUS)
    while True:
        if first.pidfd is None:
            wait = 0.001
        for fd, _ in poll.poll(wait * 1000):
            if fd == connection.fileno():
                os._exit(0)  # the supervisor is gone, and so is whatever runs here, by the kernel's hand
            for one in children:
                if one.pidfd == fd and one.reap(began) and one is not first:
                    poll.unregister(fd)
        if first.ended or (first.pidfd is None and first.reap(began, os.WNOHANG)):
            return
        used = clocks()
        overdue = wall_clock.ran_out(sum(used))
        for one, cpu_s in zip(children, used, strict=True):
            if not one.ended and (cause := OVERDUE if overdue else one.overstep(job, cpu_s)):
                one.stop(cause)
                if one is not first:
                    first.stop(ENDED)
                first.reap(began)
                return


class _WallClock:
    """The wall limit of a job: for programs that wait, not for those that wait their turn on a busy machine.

    So it does not run out while the job's CPU clock advances, up to PATIENCE times the limit.
    """

    def __init__(self, began: float, wall_s: float) -> None:
        self._look = min(_LOOK_S, wall_s / 4)
        self._deadline, self._latest = began + wall_s, began + PATIENCE * wall_s
        self._seen: tuple[float, float] | None = None  # when it was looked at, and what it had used

    def ran_out(self, used: float) -> bool:
        """Whether it is to be stopped now. used: seconds of CPU time."""
        now = time.monotonic()
        if now < self._deadline - self._look:
            return False
        if self._seen is None:
            self._seen = now, used
        since, before = self._seen
        if now < max(self._deadline, min(since + self._look, self._latest)):
            return False
        if now >= self._latest or used - before < _COMPUTES * (now - since):
            return True
        self._deadline, self._seen = now + self._look, (now, used)
        return False


def _become_child(job: Job, fds: list[int], plan: Plan, setup: int) -> None:
    """Confine this process, which was forked for one program, and run it. Never returns."""
    status = 1
    try:
        for target, fd in enumerate(fds):
            os.dup2(fd, target)
        try:
            trouble = plan.confine(job).encode()
            request = {} if trouble else child.read_request()
        except MemoryError:
            trouble, request = _NO_ROOM, {}
        os.write(setup, trouble or b".")
        if not trouble:
            os.closerange(FDS if job.children > 1 else child.CHANNEL, _MOST_FDS)
            child.main(request)
            status = 0
    finally:
        os._exit(status)
