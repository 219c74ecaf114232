"""A cgroup of its own for a worker: a bound on the memory and the number of processes of all its programs together.

Limits of the process kind (`guard.py`) bind each process; a program that starts many adds them up. A cgroup bounds the
sum, and counts what mappings do not show, such as files on the tmpfs, and what nobody waits for: the CPU time of
processes that end with their namespace. Where this user may not make one, the layer is absent, which is said; the
other limits still hold. Groups are made and removed in the keeper, and read in the zygote.

Version 2 (the controllers must be delegated to our own group) and version 1 (as root) are both tried.
"""

from __future__ import annotations

import os
import sys

_NAME = "polyturn-"
_BASE_BYTES = 192 << 20  # for the zygote and a second child beside the program


def make_leaf(memory_mb: int, tasks: int) -> list[str]:
    """Make cgroups for one worker. Returns their folders: all that is needed for both bounds, or none."""
    if sys.platform != "linux":
        return []
    memory = str((memory_mb << 20) + _BASE_BYTES)
    places = _own_groups()
    name = f"{_NAME}{os.getpid()}"
    if "" in places:
        leaf = _make(places[""], name, {"memory.max": memory, "memory.swap.max": "0", "pids.max": str(tasks)})
        if leaf:
            return [leaf]
    leaves: list[str] = []
    for controller, limits in (("memory", {"memory.limit_in_bytes": memory}), ("pids", {"pids.max": str(tasks)})):
        leaf = _make(places.get(controller, ""), name, limits)
        if not leaf:
            remove(leaves)
            return []
        leaves.append(leaf)
    account = _make(places.get("cpuacct", ""), name, {})
    return [*leaves, account] if account else leaves


def join(leaves: list[str]) -> None:
    """Put this process into the cgroups, if there are any; its children are born in them. Raises OSError."""
    for leaf in leaves:
        _write(f"{leaf}/cgroup.procs", "0")


class Account:
    """What the groups counted. Opened once, for a program's root shows no groups."""

    def __init__(self, leaves: list[str]) -> None:
        """Raises OSError."""
        self._files: dict[str, int] = {}
        for leaf in leaves:
            for name in ("cpuacct.usage", "cpu.stat", "memory.oom_control", "memory.events"):
                if os.path.exists(f"{leaf}/{name}"):
                    self._files[name] = os.open(f"{leaf}/{name}", os.O_RDONLY | os.O_CLOEXEC)

    def cpu_s(self) -> float | None:
        """CPU time of all that ran in the groups, seconds; None if nobody counts it."""
        if "cpuacct.usage" in self._files:
            return int(os.pread(self._files["cpuacct.usage"], 100, 0)) / 1e9
        microseconds = self._read("cpu.stat", b"usage_usec")
        return None if microseconds is None else microseconds / 1e6

    def memory_kills(self) -> int:
        """How many processes the kernel has killed because the groups had no memory left."""
        return self._read("memory.oom_control", b"oom_kill") or self._read("memory.events", b"oom_kill") or 0

    def _read(self, name: str, key: bytes) -> int | None:
        if name not in self._files:
            return None
        words = os.pread(self._files[name], 4096, 0).split()
        return int(words[words.index(key) + 1]) if key in words else None


def remove(leaves: list[str]) -> None:
    """Remove empty cgroups. One that is not empty stays, for the next worker to sweep."""
    for leaf in leaves:
        try:
            os.rmdir(leaf)
        except OSError:
            continue


def _own_groups() -> dict[str, str]:
    """Controller -> the folder of the group this process is in; "" stands for version 2."""
    mounts: dict[str, str] = {}
    groups: dict[str, str] = {}
    try:
        with open("/proc/self/mounts") as file:
            for line in file:
                _, place, kind, options = line.split()[:4]
                if kind == "cgroup2":
                    mounts.setdefault("", place)
                elif kind == "cgroup":
                    for option in options.split(","):
                        mounts.setdefault(option, place)
        with open("/proc/self/cgroup") as file:
            for line in file:
                _, controllers, path = line.rstrip("\n").split(":", 2)
                for controller in controllers.split(","):
                    if controller in mounts:
                        groups[controller] = mounts[controller] + path.rstrip("/")
    except OSError:
        return {}
    return groups


def _make(parent: str, name: str, limits: dict[str, str]) -> str:
    """A new group below `parent` with these limits; "" where the host refuses."""
    if not parent or not os.access(parent, os.W_OK):
        return ""
    _sweep(parent)
    leaf = f"{parent}/{name}"
    try:
        os.mkdir(leaf)
    except OSError:
        return ""
    try:
        for file, value in limits.items():
            if file != "memory.swap.max" or os.path.exists(f"{leaf}/{file}"):
                _write(f"{leaf}/{file}", value)
        return leaf
    except OSError:
        remove([leaf])
        return ""


def _sweep(parent: str) -> None:
    """Remove what keepers that were killed left: groups of ours whose keeper is gone. One in use refuses."""
    for entry in os.listdir(parent):
        number = entry.removeprefix(_NAME)
        if entry != number and number.isdigit() and not os.path.exists(f"/proc/{number}"):
            remove([f"{parent}/{entry}"])


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
