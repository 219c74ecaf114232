"""What the parent asks the system about other processes, through /proc: Linux only, and nothing elsewhere."""

import functools
import os
import signal
import sys
import time

from .guard import peak_of_status

_SPARE_TASKS = 512  # processes and threads a program may add to those its user runs already
_PASSES = 10


def task_limit() -> int | None:
    """RLIMIT_NPROC for a child, or None where that limit does not bind: for root, and without /proc.

    The system counts all tasks of the user, so the limit is what runs now and some more. Counted afresh every
    few seconds: a stale count could refuse an honest program its threads.
    """
    if os.getuid() == 0 or not os.path.isdir("/proc/self/task"):
        return None
    return _tasks_of_user(os.getuid(), int(time.monotonic() / 5)) + _SPARE_TASKS


@functools.lru_cache(maxsize=1)
def _tasks_of_user(uid: int, _moment: int) -> int:
    tasks = 0
    for entry in _processes():
        try:
            if os.stat(f"/proc/{entry}").st_uid == uid:
                tasks += os.stat(f"/proc/{entry}/task").st_nlink - 2
        except OSError:  # ended meanwhile
            continue
    return tasks


def cpu_seconds(pid: int) -> float | None:
    """CPU time that a running process has used, all its threads together; None if it cannot be known.

    Read from the process's own clock, whose number follows from its pid (clock_getcpuclockid(3)). It is out
    of the process's reach, and exact, where timers that count ticks (ITIMER_PROF, RLIMIT_CPU) are not.
    """
    if sys.platform != "linux":
        return None
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return None


def peak_memory_mb(pid: int) -> float:
    """Peak resident memory of a running process, MiB; 0 if it cannot be known."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            return peak_of_status(file.read(4096))
    except OSError:
        return 0.0


def kill_started_from(home: str) -> None:
    """Kill every process whose environment names `home` as HOME, wherever it has moved since.

    A process that put itself into a session of its own is out of reach of its group's signals, but keeps the
    environment it began with unless it execs with another. `home` is the folder of one run, so no other
    matches.
    """
    mark = f"HOME={home}".encode()
    for _ in range(_PASSES):  # again, for what was forked during a pass
        found = False
        for entry in _processes():
            try:
                with open(f"/proc/{entry}/environ", "rb") as file:
                    if mark not in file.read().split(b"\0"):
                        continue
                os.kill(int(entry), signal.SIGKILL)
                found = True
            except OSError:  # ended meanwhile, or another user's
                continue
        if not found:
            return


def _processes() -> list[str]:
    try:
        return [entry for entry in os.listdir("/proc") if entry.isdigit()]
    except OSError:
        return []
