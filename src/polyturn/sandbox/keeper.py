"""The keeper of a worker: starts its zygote, waits for it, and leaves nothing behind. Runs in a process of its own.

The supervisor runs

    python -s -P -S -X utf8 -c BOOT FOLDER CONTROL_FD SETTINGS_FD

(`pool.py` says why so). The keeper stays in the host's namespaces with the caller's rights, because writing the maps
of users and removing a cgroup needs both. It reads nothing that a program wrote. The zygote dies with its keeper by
the kernel's hand; the keeper ends when the zygote does, which in turn ends when the supervisor's end of the control
socket is closed, be it by a kill -9.
"""

from __future__ import annotations

import marshal
import os
import sys

from . import cgroup, guard, kernel, zygote
from .confine import remove_tree
from .jail import USER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .confine import Settings


def main() -> None:
    """Keep one worker, and exit when it has ended."""
    os.umask(0o022)  # the caller's may close to a program's user what is made for it; and a program's is always this
    if sys.platform == "linux" and not guard.has_usual_stack():
        os.execv(sys.executable, sys.orig_argv)
    folder, control, settings_fd = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with open(settings_fd, "rb") as file:
        settings: Settings = marshal.load(file)
    sys.path.remove(folder)
    guard.reset_signals()
    if sys.platform == "linux":
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)  # the zygote's first parent ends at once
    leaf, bounded = cgroup.make_leaf(settings["memory_mb"], settings["tasks"])
    ask_read, ask_write = os.pipe()
    answer_read, answer_write = os.pipe()
    starter = os.fork()
    if starter == 0:
        os.close(ask_read)
        os.close(answer_write)
        _in_zygote(control, settings, leaf, bounded, ask_write, answer_read)
    os.close(control)
    os.close(ask_write)
    os.close(answer_read)
    if os.read(ask_read, 1):  # it is in a user namespace, and waits for its map
        trouble = _write_maps(starter, settings["user"])
        os.write(answer_write, trouble.encode() or b"\0")
        if not trouble:  # it goes on as its own child, the first process of the pid namespace
            os.waitpid(starter, 0)
            os.write(answer_write, b"\0")
    os.close(ask_read)
    os.close(answer_write)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
    cgroup.remove(leaf)
    remove_tree(settings["scratch"])


def _in_zygote(control: int, settings: Settings, leaf: list[str], bounded: bool, ask: int, answer: int) -> None:
    status = 1
    try:
        joined = cgroup.join(leaf)
        settings["groups"], settings["bounded"] = (leaf, bounded) if joined else ([], False)
        zygote.start(control, settings, ask, answer)
        status = 0
    finally:
        if status:
            sys.excepthook(*sys.exc_info())  # pyright: ignore[reportArgumentType]
            sys.stderr.flush()
        os._exit(status)


def _write_maps(pid: int, user: int | None) -> str:
    """Map the users of a new user namespace. Returns why that failed, or nothing.

    user: the host's number for programs, mapped besides our own; None where only our own can be.
    """
    uid, gid = os.geteuid(), os.getegid()
    if user is None:
        users, groups = f"{USER} {uid} 1", f"{USER} {gid} 1"
    else:
        users, groups = f"0 {uid} 1\n{USER} {user} 1", f"0 {gid} 1\n{USER} {user} 1"
    try:
        if user is None:  # without privilege, only a group that cannot be dropped may be mapped
            _write(f"/proc/{pid}/setgroups", "deny")
        _write(f"/proc/{pid}/uid_map", users)
        _write(f"/proc/{pid}/gid_map", groups)
    except OSError as error:
        return f"writing {error.filename}: {error.strerror}"
    return ""


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())  # at once: these files take one write
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(fd)
