"""A cgroup of its own for a worker: a bound on the memory and the number of processes of all its programs together.

Limits of the process kind (`guard.py`) bind each process; a program that starts many adds them up. A cgroup bounds the
sum, and counts what mappings do not show, such as files on the tmpfs, and what nobody waits for: the CPU time of
processes that end with their namespace. Where this user may not make one, the layer is absent, which is said; the
other limits still hold. Groups are made and removed in the keeper, and read in the zygote.

Bounds need the controllers of memory and pids. Version 1 has them for root. In version 2, a group that has processes,
as our own has, hands no controllers on to groups below it, unless it is the root (cgroup-v2.rst, "No Internal Process
Constraint"). So the place for ours is the root, or beside our own group, where that lies alone in one that was
delegated to this user and hands them on. Everywhere else in version 2, a group below our own, where one may be made,
still tells CPU time, which takes no controller.
"""

from __future__ import annotations

import os
import sys

_NAME = "polyturn-"
_BASE_BYTES = 192 << 20  # for the zygote and a second child beside the program


def make_leaf(memory_mb: int, tasks: int) -> tuple[list[str], bool]:
    """Make cgroups for one worker. Returns their folders, and whether they bound both memory and processes."""
    if sys.platform != "linux":
        return [], False
    memory, most = str((memory_mb << 20) + _BASE_BYTES), {"pids.max": str(tasks)}
    places = _own_groups()
    name = f"{_NAME}{os.getpid()}"
    own = places.get("", "")
    for parent in (own, _delegated_above(own)):
        leaf = _make(parent, name, {"memory.max": memory, "memory.swap.max": "0"} | most)
        if leaf:
            return [leaf], True
    leaves: list[str] = []
    for controller, limits in (("memory", {"memory.limit_in_bytes": memory}), ("pids", most), ("cpuacct", {})):
        leaf = _make(places.get(controller, ""), name, limits)
        if leaf:
            leaves.append(leaf)
        elif limits:
            remove(leaves)
            leaf = _make(own, name, {})
            return [leaf] if leaf else [], False
    return leaves, True


def join(leaves: list[str]) -> bool:
    """Put this process into the cgroups; its children are born in them. Whether the host allowed it."""
    try:
        for leaf in leaves:
            _write(f"{leaf}/cgroup.procs", "0")
    except OSError:
        return False
    return True


class Account:
    """What the groups counted. Opened once, for a program's root shows no groups."""

    def __init__(self, leaves: list[str]) -> None:
        """Raises OSError."""
        self._files: dict[str, int] = {}
        for leaf in leaves:
            for name in ("cpuacct.usage", "cpu.stat", "memory.oom_control", "memory.failcnt", "memory.events"):
                if os.path.exists(f"{leaf}/{name}"):
                    self._files[name] = os.open(f"{leaf}/{name}", os.O_RDONLY | os.O_CLOEXEC)

    def cpu_s(self) -> float | None:
        """CPU time of all that ran in the groups, seconds; None if nobody counts it."""
        if "cpuacct.usage" in self._files:
            return int(os.pread(self._files["cpuacct.usage"], 100, 0)) / 1e9
        microseconds = self._read("cpu.stat", b"usage_usec")
        return None if microseconds is None else microseconds / 1e6

    def memory_kills(self) -> tuple[int, int]:
        """How many processes the kernel has killed for want of memory, and how often our own limit was the reason.

        It kills in our groups too when a group around them has no memory left, or the host.
        """
        if "memory.oom_control" in self._files:
            hits = int(os.pread(self._files["memory.failcnt"], 100, 0)) if "memory.failcnt" in self._files else 0
            return self._read("memory.oom_control", b"oom_kill") or 0, hits
        return self._read("memory.events", b"oom_kill") or 0, self._read("memory.events", b"oom") or 0

    def _read(self, name: str, key: bytes) -> int | None:
        if name not in self._files:
            return None
        words = os.pread(self._files[name], 4096, 0).split()
        return int(words[words.index(key) + 1]) if key in words else None


def remove(leaves: list[str]) -> None:
    """Remove cgroups, and end what still runs in them where they can do that (version 2).

    One that is not empty yet stays, for the next worker to sweep.
    """
    for leaf in leaves:
        try:
            if os.path.exists(f"{leaf}/cgroup.kill"):
                _write(f"{leaf}/cgroup.kill", "1")
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


def _delegated_above(own: str) -> str:
    """The group around our own in version 2, if it is this user's and hands on what bounds need; else ""."""
    above = os.path.dirname(own)
    try:
        with open(f"{above}/cgroup.subtree_control") as file:
            handed = {"memory", "pids"} <= set(file.read().split())
        with open(f"{above}/cgroup.procs") as file:
            empty = not file.read()
        delegated = os.geteuid() == os.stat(above).st_uid != 0
    except OSError:
        return ""
    return above if handed and empty and delegated and os.access(f"{above}/cgroup.procs", os.W_OK) else ""


def _make(parent: str, name: str, limits: dict[str, str]) -> str:
    """A new group below `parent` with these limits; "" where the host refuses."""
    if not parent or not os.access(parent, os.W_OK):
        return ""
    _sweep(parent)
    leaf = f"{parent}/{name}"
    try:
        if os.path.isdir(leaf):
            os.rmdir(leaf)  # of a keeper that was killed, and had our number
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
