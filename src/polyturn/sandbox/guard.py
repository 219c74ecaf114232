"""What a child does to itself before it runs a program: limits, and ties to its parent. Runs in the child.

The limits are set here and not between fork and exec in the parent, because only then can the parent start
the child with vfork: a parent with threads or tens of gigabytes mapped (one that computes with JAX) can be
forked safely and cheaply in no other way. The code is ours, and runs before any line of the program.

Each step returns the name of the layer it engaged, and only if the system says that it holds. Steps that a
system does not offer (prctl and address-space limits outside Linux) are left out of the list, never reported
as done.
"""

from __future__ import annotations

import _signal as signal  # pyright: ignore[reportMissingImports]  # without enum, which `signal` imports
import os
import resource
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

FILE_BYTES = 64 << 20  # one file a program writes
OPEN_FILES = 256
RESERVE_BYTES = 64 << 20  # address space kept back for reporting a program that used up all of its own

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_PR_SET_NO_NEW_PRIVS, _PR_GET_NO_NEW_PRIVS = 38, 39


def confine(memory_mb: int, processes: int | None, parent: int) -> list[str]:
    """Engage every layer this system has. Returns their names, in order."""
    _reset_signals()
    layers: list[str] = []
    for name, kind, soft, hard in (
        ("rlimit-core", resource.RLIMIT_CORE, 0, 0),
        ("rlimit-fsize", resource.RLIMIT_FSIZE, FILE_BYTES, FILE_BYTES),
        ("rlimit-nofile", resource.RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES),
    ):
        if _limit(kind, soft, hard):
            layers.append(name)
    if sys.platform == "linux":
        if processes is not None and _limit(resource.RLIMIT_NPROC, processes, processes):
            layers.append("rlimit-nproc")
        layers += _tie_to_parent(parent)
        # Last, because it counts from what is mapped now.
        soft = _mapped_bytes() + (memory_mb << 20)
        if _limit(resource.RLIMIT_AS, soft, soft + RESERVE_BYTES):
            layers.append("rlimit-as")
    return layers


def start_clock(cpu_s: float, last: bool) -> bool:
    """Bound the CPU time this process may use from now on. Returns whether the system holds it to that.

    On Linux the parent reads our CPU clock and ends us on time (`processes.cpu_seconds`). The limit set here
    is the backstop for processes that the program starts and for a parent that is gone. It is generous,
    because it counts in clock ticks, which are far off on a busy machine. Elsewhere the parent cannot look,
    and an interval timer ends us, by the default action of its signal: there is no handler for a program to
    swallow. `last`: no program follows, so the limit may be made final.
    """
    seconds = int(cpu_seconds() + 2 * cpu_s) + 2
    if sys.platform != "linux":
        signal.setitimer(signal.ITIMER_PROF, cpu_s)
    return _limit(resource.RLIMIT_CPU, seconds, seconds + 1 if last else resource.RLIM_INFINITY)


def cpu_seconds() -> float:
    """CPU time of this process. Not time.process_time, which moves in steps of 4 ms once a limit is set."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def release_reserve() -> None:
    """Raise the memory limit to what was kept back, so that running out of memory can still be reported."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def peak_memory_mb() -> float:
    """Peak resident memory of this process so far, MiB.

    Not ru_maxrss on Linux: it survives exec, and after vfork it begins with the size of the parent.
    """
    if sys.platform == "linux":
        fd = os.open("/proc/self/status", os.O_RDONLY)
        try:
            return peak_of_status(os.read(fd, 4096))
        finally:
            os.close(fd)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def peak_of_status(status: bytes) -> float:
    """VmHWM of a /proc/PID/status text, MiB; 0 where there is none (a process that has ended)."""
    _, found, rest = status.partition(b"VmHWM:")
    return int(rest.split(None, 1)[0]) / 1024 if found else 0.0


def _reset_signals() -> None:
    """A blocked or ignored signal is inherited through exec; one that ends a program must do so."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in (signal.SIGPROF, signal.SIGXCPU, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)


def _limit(kind: int, soft: int, hard: int) -> bool:
    """Set a resource limit, or keep what is stricter already. Returns whether the limit now holds."""
    _, most = resource.getrlimit(kind)
    if most != resource.RLIM_INFINITY:
        hard = most if hard == resource.RLIM_INFINITY else min(hard, most)
        soft = min(soft, hard)
    try:
        resource.setrlimit(kind, (soft, hard))
    except (OSError, ValueError):
        return False
    return resource.getrlimit(kind) == (soft, hard)


def _mapped_bytes() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _tie_to_parent(parent: int) -> list[str]:
    prctl = _prctl()
    if prctl is None:
        return []
    layers: list[str] = []
    if prctl(_PR_SET_PDEATHSIG, 9) == 0:
        if os.getppid() != parent:  # it died before the tie was made
            os._exit(1)
        layers.append("parent-death-signal")
    # Processes that a program daemonises become children of this one, where they can be seen.
    if prctl(_PR_SET_CHILD_SUBREAPER, 1) == 0:
        layers.append("subreaper")
    if prctl(_PR_SET_NO_NEW_PRIVS, 1) == 0 and prctl(_PR_GET_NO_NEW_PRIVS, 0) == 1:
        layers.append("no-new-privs")
    return layers


def _prctl() -> Callable[[int, int], int] | None:
    try:
        import ctypes

        function = ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):  # built without libffi, or no such call
        return None
    word = ctypes.c_ulong
    return lambda option, value: function(option, word(value), word(0), word(0), word(0))
