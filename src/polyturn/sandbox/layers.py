"""The layers of isolation: what each keeps a program from, and which must be there. Supervisor side.

The names are those in `Result.layers`.
"""

import os
from collections.abc import Iterable

LAYERS = {
    "process": "sharing memory, threads and descriptors with the caller",
    "clean-env": "reading the caller's environment",
    "user-ns": "any right outside, were the program to become root inside",
    "pid-ns": "seeing or signalling processes outside; outliving its run",
    "mount-ns": "changing what others see of the file system",
    "ipc-ns": "sharing memory segments, queues and semaphores",
    "uts-ns": "reading or changing the host's name",
    "net-ns": "any network, and abstract sockets of the host",
    "root": "seeing host files: only the interpreter's library and the allowed packages, read-only",
    "tmpfs": "filling the disk; leaving files: /tmp is memory of its own, 64 MiB",
    "tempdir": "leaving files: its folder is removed",
    "user": "acting as root, or as the caller: a user number of its own",
    "no-new-privs": "gaining rights by executing a file",
    "no-capabilities": "every privileged call",
    "parent-death-signal": "outliving a caller that is killed",
    "landlock": "opening files beyond the allowed folders, executing any, TCP, signals outwards",
    "seccomp": "system calls no honest program needs: sockets, exec, mounts, ptrace, bpf, io_uring, keys",
    "rlimits": "more memory, CPU time, file size, open files or (full) processes than allowed",
    "cgroup": "more memory, CPU time or processes in sum, all its processes together",
}

_BOTH = ("no-new-privs", "no-capabilities", "landlock", "seccomp", "rlimits")
_HIDING = ("user-ns", "pid-ns", "mount-ns", "ipc-ns", "uts-ns", "net-ns", "root")
_NAMESPACES = (*_HIDING, "tmpfs")


def required(level: str) -> tuple[str, ...]:
    """The layers that must hold on a level. A cgroup is not among them: most hosts delegate none."""
    own = _NAMESPACES if level == "full" else ("tempdir", "parent-death-signal")
    return ("process", "clean-env", *own, *(("user",) if os.geteuid() == 0 else ()), *_BOTH)


def lacking(engaged: Iterable[str]) -> tuple[str, ...]:
    """The layers that full isolation has and a run had not, from its result's `layers`."""
    there = set(engaged)
    return tuple(layer for layer in required("full") if layer not in there)


def hides_host(engaged: Iterable[str]) -> bool:
    """Whether the layers are there that only level `full` has, which hide the host's files, processes and network."""
    return set(_HIDING) <= set(engaged)


def reason(layer: str, missing: dict[str, str]) -> str:
    """Why a layer is missing, from a worker's report."""
    for name in (layer, "namespaces", "root"):
        if name in missing:
            return missing[name]
    return "this system does not have it"
