"""Which layers of isolation this host could give a sandbox, found out without the sandbox.

A probe that gets through where the host offers nothing to hold it is "not available"; anywhere else the grader failed.
Asking the sandbox itself would let it excuse its own faults.
"""

import ctypes
import functools
import os
import platform
import subprocess
import sys

from .residue import own_cgroups

_UNSHARE = """
import os
os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNS | os.CLONE_NEWPID | os.CLONE_NEWIPC | os.CLONE_NEWNET)
"""
_LANDLOCK_CREATE_RULESET, _LANDLOCK_VERSION = 444, 1
_SIGNAL_SCOPE = 6  # the version of Landlock that can keep signals and abstract sockets in
_PR_GET_SECCOMP = 21


@functools.cache
def offers() -> frozenset[str]:
    """The features there are, of namespaces, landlock, seccomp and cgroup."""
    libc = ctypes.CDLL(None, use_errno=True)
    found: set[str] = set()
    if subprocess.run([sys.executable, "-I", "-S", "-c", _UNSHARE], capture_output=True, check=False).returncode == 0:
        found.add("namespaces")
    if libc.syscall(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_VERSION) >= _SIGNAL_SCOPE:
        found.add("landlock")
    if libc.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0) == 0 and platform.machine() in ("x86_64", "aarch64"):
        found.add("seccomp")
    if any(_holds_memory(group) for group in own_cgroups()):
        found.add("cgroup")
    return frozenset(found)


def _holds_memory(group: str) -> bool:
    """Whether a group below this one could be made, with a limit on memory."""
    if not os.access(group, os.W_OK):
        return False
    if os.path.exists(f"{group}/memory.limit_in_bytes"):
        return True
    try:
        with open(f"{group}/cgroup.subtree_control") as file:
            return "memory" in file.read().split()
    except OSError:
        return False
