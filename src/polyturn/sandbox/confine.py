"""How each child is confined: an ordered list of steps, tried once when a worker starts. Runs in the zygote.

A step is a layer's name and a function that engages it in the calling process, or raises OSError. The zygote tries
all of them in a child that ends there. What this host refuses is reported with the reason, and the supervisor decides
whether programs may run without; what it grants is engaged for every program, and a program does not start unless
each of those steps succeeded for it again.

Level `full` confines with namespaces first of all. Level `light` uses none, for hosts that refuse them: a program then
cannot start processes at all, since none could be found again for sure, and sees the file system through Landlock.
"""

from __future__ import annotations

import os
import resource
import sys

from . import cgroup, guard, jail, kernel, landlock, seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypedDict

    from .zygote import Job

    class Settings(TypedDict):
        """What a supervisor asks of a worker, for its whole life.

        level: `full` or `light`. packages: name -> path of what programs may import besides the standard library.
        preload: modules imported beforehand. scratch: an empty folder of the worker's own. user: the host's number
        for programs' user, None where the caller is not root. memory_mb, tasks: bounds of the cgroup. groups: the
        folders of the cgroups it is in, from the keeper. bounded: whether those hold it to the bounds.
        """

        level: str
        packages: dict[str, str]
        preload: list[str]
        scratch: str
        user: int | None
        memory_mb: int
        tasks: int
        groups: list[str]
        bounded: bool


_SIGKILL = 9


def enter_namespaces(plan: Plan, ask: int, answer: int) -> str:
    """Continue as the first process of new namespaces, and open the plan's. Returns why not, or nothing.

    ask, answer: pipes to the keeper, which stays outside and writes the maps of users.
    """
    try:
        os.unshare(jail.namespaces())
    except OSError as error:
        return f"unshare(2): {error.strerror}"
    os.write(ask, b"?")
    trouble = os.read(answer, 1000)
    if trouble != b"\0":
        return trouble.decode()
    if os.fork():
        os._exit(0)
    os.read(answer, 1)  # when the keeper has reaped that process, and so is our parent
    plan.layers += ["user-ns", "pid-ns", "mount-ns", "ipc-ns", "uts-ns", "net-ns"]
    return ""


def tie_to_parent(parent: int) -> None:
    """Die with the parent, the process of this number. It is single-threaded, so that this means the process.

    Raises OSError if it is gone already: its death is then not told any more.
    """
    if sys.platform == "linux":
        kernel.prctl(kernel.PR_SET_PDEATHSIG, _SIGKILL)
    if os.getppid() != parent:
        raise ProcessLookupError("the parent has ended")


class Plan:
    """The steps for one worker, and what the zygote itself does around each program.

    layers: engaged so far. missing: name of a layer -> why this host refuses it. packages: the folder to import from.
    account: what the worker's cgroups count.
    """

    def __init__(self, settings: Settings) -> None:
        self.layers: list[str] = ["process", "clean-env", *(["cgroup"] if settings["bounded"] else [])]
        self.missing: dict[str, str] = {}
        self.settings = settings
        self.full = settings["level"] == "full"
        self.packages = ""
        self.account = cgroup.Account(settings["groups"])
        self._home = "/tmp"
        self._mapped = 0  # bytes of address space of the zygote, and so of a child before its program
        self._steps: list[tuple[str, Callable[[Job], None]]] = []
        self._pid_namespace = -1
        self._tmp: tuple[int, ...] | None = None
        self._readable = ["/"]
        self._ruleset = -1
        self._statm = -1
        self._proc = -1

    # ---- once

    def prepare(self) -> None:
        """Make the folders that programs see, and list the steps. Raises OSError."""
        guard.limit_worker(self.settings["tasks"] if self.full else None)
        if sys.platform != "linux":
            self._prepare_anywhere()
            return
        self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if self.full:
            self._prepare_full()
        else:
            self._prepare_light()

    def _prepare_full(self) -> None:
        self._pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        jail.build(self.settings["scratch"], self.settings["packages"])
        self.layers += ["root"]
        self.packages = jail.PACKAGES
        user = self.settings["user"]
        if user is not None:
            os.setgroups([])
        kernel.drop_bounding_set()
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        self.layers.append("no-new-privs")
        program = seccomp.build(namespaces=True)
        self._steps = [
            ("tmpfs", self._enter_tmp),
            *([("user", lambda job: _become(jail.USER))] if user is not None else []),
            ("no-capabilities", _drop_capabilities),
            ("landlock", lambda job: landlock.restrict(self._ruleset)),
            ("rlimits", self._limit),
            ("seccomp", lambda job: seccomp.install(program)),
        ]

    def _prepare_light(self) -> None:
        scratch, packages, user = self.settings["scratch"], self.settings["packages"], self.settings["user"]
        self._link_packages()
        self._home = f"{scratch}/home"
        os.environ["HOME"] = os.environ["TMPDIR"] = self._home
        self._readable = [*jail.library_folders(), self.packages, *packages.values(), *jail.DEVICES]
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        self.layers.append("no-new-privs")
        program, zygote = seccomp.build(namespaces=False), os.getpid()
        self._steps = [
            ("tempdir", self._enter_home),
            *([("user", lambda job: self._become_other(user))] if user is not None else []),
            ("no-capabilities", _drop_capabilities),
            ("parent-death-signal", lambda job: tie_to_parent(zygote)),
            ("landlock", lambda job: landlock.restrict(self._ruleset)),
            ("rlimits", self._limit),
            ("seccomp", lambda job: seccomp.install(seccomp.for_process(program, os.getpid()))),
        ]

    def _prepare_anywhere(self) -> None:
        self._link_packages()
        self._home = f"{self.settings['scratch']}/home"
        os.environ["HOME"] = os.environ["TMPDIR"] = self._home
        self._steps = [("tempdir", self._enter_home), ("rlimits", self._limit)]

    def _link_packages(self) -> None:
        self.packages = f"{self.settings['scratch']}/packages"
        os.mkdir(self.packages)
        for name, path in self.settings["packages"].items():
            os.symlink(path, f"{self.packages}/{name}")
        if self.settings["user"] is not None:
            os.chmod(self.settings["scratch"], 0o711)

    def measure(self) -> None:
        """Note the size of this process, now that it has imported everything."""
        if self._statm >= 0:
            self._mapped = int(os.pread(self._statm, 100, 0).split()[0]) * resource.getpagesize()
            os.close(self._statm)

    def attempt(self, job: Job) -> dict[str, str]:
        """Engage in this process what can be. Returns layer -> why not, of those that cannot.

        A root in which the confined user cannot read the interpreter's library, or a package, is none.
        """
        missing: dict[str, str] = {}
        for name, step in self._steps:
            try:
                step(job)
            except OSError as error:
                missing[name] = str(error)
        if self.full:
            closed = _closed([os.__file__, *(f"{self.packages}/{name}" for name in self.settings["packages"])])
            if closed:
                missing["root"] = closed
        return missing

    def keep(self, missing: dict[str, str]) -> None:
        """Drop the steps that this host refuses."""
        self._steps = [step for step in self._steps if step[0] not in missing]
        self.layers = [name for name in self.layers if name not in missing] + [name for name, _ in self._steps]
        self.missing |= missing

    # ---- for each program

    def make_homes(self, job: Job) -> None:
        """Make the folders that the job's children start in. Raises OSError."""
        if self.full:
            mark = jail.fresh_tmp(self._tmp)
            changed, self._tmp = mark != self._tmp, mark
        else:
            changed = True
            for at in range(job.children):
                os.mkdir(self._home_of(at), 0o700)
                if self.settings["user"] is not None and "user" not in self.missing:
                    os.chown(self._home_of(at), self.settings["user"], self.settings["user"])
        if changed:
            self._renew_ruleset(self._home)

    def _home_of(self, at: int) -> str:
        return f"{self._home}-{at}" if at else self._home

    def _enter_tmp(self, job: Job) -> None:
        """Start in /tmp: the worker's, or for a second child a new one that the first does not see."""
        if job.child:
            os.unshare(os.CLONE_NEWNS)
            jail.mount_tmp()
            self._renew_ruleset("/tmp")
        os.chdir("/tmp")

    def _enter_home(self, job: Job) -> None:
        home = self._home_of(job.child)
        if job.child:
            os.environ["HOME"] = os.environ["TMPDIR"] = home
            self._renew_ruleset(home)
        os.chdir(home)

    def _renew_ruleset(self, home: str) -> None:
        """Landlock's rules hold for a folder itself, not for what is found under its name."""
        if sys.platform != "linux":
            return
        if self._ruleset >= 0:
            os.close(self._ruleset)
            self._ruleset = -1
        if landlock.supported():
            self._ruleset = landlock.ruleset(self._readable, [home, "/dev/null"])

    def fork(self) -> int:
        """os.fork, into a pid namespace of the child's own on level `full`."""
        if not self.full:
            return os.fork()
        os.unshare(os.CLONE_NEWPID)
        pid = -1
        try:
            pid = os.fork()
        finally:
            if pid:  # the next namespace must not become a child of this one
                os.setns(self._pid_namespace, os.CLONE_NEWPID)
        return pid

    def confine(self, job: Job) -> str:
        """Engage all steps in this process, a fresh fork. Returns why that failed, or nothing."""
        os.setsid()
        if self._proc >= 0:
            self._offer_to_be_killed()
        for name, step in self._steps:
            try:
                step(job)
            except OSError as error:
                return f"{name}: {error}"
        return ""

    def _offer_to_be_killed(self) -> None:
        """Should memory run out, in the cgroup or on the host, it is the program that must go, and not the zygote.

        The kernel would choose the largest process, and a program can be many small ones.
        """
        fd = os.open("self/oom_score_adj", os.O_WRONLY, dir_fd=self._proc)
        os.write(fd, b"1000")
        os.close(fd)

    def clean_up(self, job: Job) -> None:
        """Leave nothing of a job behind, where the end of its namespaces does not see to that."""
        if not self.full:
            _kill_strays()
            for at in range(job.children):
                remove_tree(self._home_of(at))

    def _limit(self, job: Job) -> None:
        guard.limit_program(job.cpu_s, self._mapped + job.memory, job.file_bytes)

    def _become_other(self, user: int) -> None:
        os.setgroups([])
        _become(user)
        closed = _closed([os.__file__, *self.settings["packages"].values()])
        if closed:
            raise OSError(closed)


def _closed(paths: list[str]) -> str:
    """Why this process cannot read one of these files and folders, or nothing."""
    for path in paths:
        try:
            os.close(os.open(path, os.O_RDONLY))
        except OSError as error:
            why = _barrier(path) if isinstance(error, PermissionError) else str(error)
            return f"{why}; use a Python, and packages, that every user can read"
    return ""


def _barrier(path: str) -> str:
    """Why this user cannot read a path."""
    for folder in (path[:end] for end in range(1, len(path)) if path[end] == "/"):
        if not os.access(folder, os.X_OK):
            return f"only root can enter {folder}, where Python or a package lies"
    return f"only root can read {path}"


def _drop_capabilities(job: Job) -> None:
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)  # a handler of core dumps outside ignores the limit on their size


def _become(user: int) -> None:
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def _kill_strays() -> None:
    """Kill processes that a program left, where neither a namespace nor seccomp kept it from that."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return
        try:
            with open(f"/proc/self/task/{os.getpid()}/children") as file:
                strays = [int(word) for word in file.read().split()]
        except OSError:
            return
        for pid in strays:
            os.kill(pid, _SIGKILL)


def remove_tree(folder: str) -> None:
    """Remove a folder that may hold anything: folders closed to us, trees too deep to recurse into."""
    import shutil

    try:
        shutil.rmtree(folder)
    except (OSError, RecursionError):
        if os.path.lexists(folder):
            import subprocess

            for command in (["chmod", "-R", "u+rwx"], ["rm", "-rf"]):
                subprocess.run([*command, "--", folder], check=False, stderr=subprocess.DEVNULL)
