"""Limits that the kernel holds a process to, and clocks to read what it used. Used inside a worker."""

from __future__ import annotations

import _signal as signal  # pyright: ignore[reportMissingImports]  # without enum, which `signal` imports
import resource
import sys
import time

OPEN_FILES = 256
STACK_BYTES = 8 << 20
# A program may replace those in the module.
_getrusage, _getrlimit, _setrlimit = resource.getrusage, resource.getrlimit, resource.setrlimit
_ADDRESS_SPACE = resource.RLIMIT_AS
RESERVE_BYTES = 64 << 20  # address space kept back for reporting a program that used up all of its own


def limit_worker(tasks: int | None) -> None:
    """Set the limits that are the same for all programs, which inherit them. OSError for one that does not hold.

    tasks: processes and threads of this user in its namespace, None for no limit.
    """
    wanted = [("CORE", 0), ("NOFILE", OPEN_FILES), ("MEMLOCK", 0)]
    if tasks is not None:
        wanted.append(("NPROC", tasks))
    if sys.platform == "linux":
        wanted.append(("MSGQUEUE", 0))
    for name, most in wanted:
        _limit(getattr(resource, f"RLIMIT_{name}"), most, most)


def limit_program(cpu_s: float, address_space: int, file_bytes: int) -> None:
    """Limit this process and what it starts. OSError for a limit that does not hold.

    cpu_s: CPU seconds. The zygote reads the exact clock and ends a program on time; this limit is the backstop for
        processes that the program starts. It is generous, because it counts in clock ticks.
    address_space: bytes, Linux only. file_bytes: of one file.
    """
    seconds = int(2 * cpu_s) + 2
    _limit(resource.RLIMIT_CPU, seconds, seconds + 1)
    _limit(resource.RLIMIT_FSIZE, file_bytes, file_bytes)
    if sys.platform == "linux":
        _limit(resource.RLIMIT_AS, address_space, address_space + RESERVE_BYTES)


def _limit(kind: int, soft: int, hard: int) -> None:
    """Set a resource limit, or keep what is stricter already."""
    most = resource.getrlimit(kind)[1]
    if most != resource.RLIM_INFINITY:
        hard = min(hard, most)
        soft = min(soft, hard)
    try:
        resource.setrlimit(kind, (soft, hard))
    except ValueError as error:  # what Python makes of EINVAL and EPERM here
        raise OSError(f"setrlimit {kind}: {error}") from None


def start_timers(cpu_s: float, wall_s: float) -> None:
    """Let the kernel end this process after so much CPU time, or wall time, from now on.

    For programs of a batch, which share a process: the zygote sees only their sum. The timers count in ticks, and a
    program could undo them; those are programs of our own making.
    """
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    signal.setitimer(signal.ITIMER_REAL, wall_s)


def cpu_seconds() -> float:
    """CPU time of this process. Not time.process_time, which moves in steps of 4 ms once a limit is set."""
    usage = _getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def cpu_clock(pid: int) -> float | None:
    """CPU time that a running process has used, all its threads together; None if it cannot be known.

    Read from the process's own clock, whose number follows from its pid (clock_getcpuclockid(3)). It is out of the
    process's reach, and exact, where timers that count ticks (ITIMER_PROF, RLIMIT_CPU) are not.
    """
    if sys.platform != "linux":
        return None
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return None


def release_reserve() -> None:
    """Raise the memory limit to what was kept back, so that running out of memory can still be reported."""
    if sys.platform == "linux":
        hard = _getrlimit(_ADDRESS_SPACE)[1]
        _setrlimit(_ADDRESS_SPACE, (hard, hard))


def count_children() -> None:
    """Have processes counted that end from now on: those of a parent that ignores their end are not, wait(2)."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def peak_memory_mb() -> float:
    """Peak resident memory of this process so far, MiB."""
    peak = _getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def reset_signals() -> None:
    """A blocked or ignored signal is inherited through exec. Have them all as Python does that inherits none."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def has_usual_stack() -> bool:
    """See to it that the limit on the stack is the usual one, as far as this user may. Whether it was so already.

    The C library reads it at its start, and gives threads stacks of that size; so it takes an exec to be in force.
    """
    soft, hard = _getrlimit(resource.RLIMIT_STACK)
    if soft == STACK_BYTES or (hard != resource.RLIM_INFINITY and hard < STACK_BYTES):
        return True
    _setrlimit(resource.RLIMIT_STACK, (STACK_BYTES, hard))
    return False
