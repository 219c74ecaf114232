"""What a grader's programs leave behind in the system: processes, cgroups. Looked at from outside.

A process that leaves its group and its session still has a parent; when that ends, it becomes the child of the nearest
process that asked for orphans (`driver.py` asks). So everything that descends from the grader is found by following
parents, however it tried to get away, and in whatever namespaces it is: the kernel shows all of them in /proc here.
"""

import os
import re
import signal
import time


def descendants(pid: int) -> set[int]:
    """The processes that descend from one, it excluded; those that have ended and wait for their parent too."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as file:
                    parents[int(entry)] = int(file.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError):  # ended meanwhile
                continue
    found: set[int] = set()
    pending = [pid]
    while pending:
        parent = pending.pop()
        born = {child for child, its in parents.items() if its == parent} - found
        found |= born
        pending += born
    return found


def name_of(pid: int) -> str:
    """What to call a process."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(200).split(b"\0")
    except OSError:
        return f"process {pid}"
    return f"process {pid} ({os.path.basename(words[0]).decode(errors='replace')})"


def kill_descendants(pid: int, within_s: float = 10) -> None:
    """Kill everything that descends from a process. What forks as fast as it can is stopped first."""
    end = time.monotonic() + within_s
    while (found := descendants(pid)) and time.monotonic() < end:
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for child in found:
                try:
                    os.kill(child, number)
                except ProcessLookupError:
                    continue
        time.sleep(0.01)


def cgroups_of(pids: set[int]) -> set[str]:
    """Folders of cgroups below our own, on every hierarchy, whose name has the number of one of these processes."""
    found: set[str] = set()
    for top in own_cgroups():
        try:
            entries = os.listdir(top)
        except OSError:
            continue
        for entry in entries:
            if {int(number) for number in re.findall(r"\d+", entry)} & pids and os.path.isdir(f"{top}/{entry}"):
                found.add(f"{top}/{entry}")
    return found


def own_cgroups() -> set[str]:
    """The folders of the cgroups that this process is in, one for each hierarchy."""
    paths: dict[str, str] = {}
    with open("/proc/self/cgroup") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            paths |= dict.fromkeys(controllers.split(","), path.rstrip("/"))
    found: set[str] = set()
    with open("/proc/self/mounts") as file:
        for line in file:
            _, place, kind, options = line.split()[:4]
            if kind == "cgroup2" and "" in paths:
                found.add(place + paths[""])
            elif kind == "cgroup":
                found |= {place + paths[option] for option in options.split(",") if option in paths}
    return found
