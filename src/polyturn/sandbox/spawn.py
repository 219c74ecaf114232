"""Starts a child and, whatever happens, ends it: exec, environment, folder, descriptors, group. Parent side.

The child is an exec of this interpreter with a clean environment: it inherits no secrets, threads, mappings
or descriptors. The flags:

- `-S` skips `site`, which is slow and runs whatever .pth files are installed. The folders of installed
  packages that the caller uses are handed over by name instead, so that a program finds numpy where the
  caller has it.
- `-s` and `-P` keep user packages and the working directory out of the path. Together with the environment
  given here they do what `-I` would, except that `-I` also ignores PYTHONHASHSEED, and then sets print in
  another order each time.

Nothing of ours runs between fork and exec, so the standard library may use vfork; the child limits itself
(`guard.py`).
"""

import marshal
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

_FOLDER, _PACKAGE = os.path.split(os.path.dirname(os.path.abspath(__file__)))
_BOOT = f"import sys; sys.path.append(sys.argv[1]); from {_PACKAGE}.child import main; main()"
_FLAGS = ("-s", "-P", "-S", "-X", "utf8")

LAYERS = ("process", "clean-env", "closed-fds", "session", "tempdir")  # what `spawn` engages by itself


@dataclass
class Child:
    """A running child: its pid, which is also its group's; our ends of its pipes; its folder."""

    pid: int
    stdout: int
    stderr: int
    results: int
    home: str
    reaped: bool = False
    status: int | None = None  # exit code, or minus the signal; None while unknown
    usage: resource.struct_rusage | None = None

    def exited(self) -> bool:
        """Whether it has ended. Where the system can say so without reaping it, it keeps its pid."""
        if not self.reaped and hasattr(os, "waitid"):  # from Python 3.13 on macOS too
            try:
                return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
            except ChildProcessError:
                self.reaped = True
        return self._reap(os.WNOHANG)

    def end(self) -> None:
        """Kill the child and its whole group, then reap it: until then no other group has its number."""
        with suppress(ProcessLookupError, PermissionError):  # none left; macOS refuses where all are zombies
            os.killpg(self.pid, signal.SIGKILL)
        self._reap(0)

    def _reap(self, flags: int) -> bool:
        if not self.reaped:
            try:
                pid, status, usage = os.wait4(self.pid, flags)
            except ChildProcessError:  # reaped by another wait for any child, elsewhere in this process
                self.reaped = True
            else:
                if pid:
                    self.reaped, self.status, self.usage = True, os.waitstatus_to_exitcode(status), usage
        return self.reaped


@contextmanager
def spawn(request: dict[str, Any], stdin: str) -> Iterator[Child]:
    """Start a child on a request. On leaving, the child, its group, its pipes and its folder are gone.

    Raises OSError where the host refuses: no memory, no disk, too many processes or descriptors.
    """
    with ExitStack() as stack:
        home = tempfile.mkdtemp(prefix="sandbox-")
        stack.callback(_remove_tree, home)
        with ExitStack() as handed:  # what the child holds, and we no longer once it has started
            readers: list[int] = []
            writers: list[int] = []
            for _ in range(3):
                reader, writer = os.pipe()
                stack.callback(os.close, reader)
                handed.callback(os.close, writer)
                os.set_blocking(reader, False)
                readers.append(reader)
                writers.append(writer)
            # Files, not pipes: the child reads them when it likes, and a program of 10 MB can block nobody.
            request_file = handed.enter_context(_file_of(marshal.dumps(request)))
            stdin_file = handed.enter_context(_file_of(stdin.encode("utf-8", "surrogatepass")))
            numbers = (request_file.fileno(), writers[2])
            process = subprocess.Popen(
                [sys.executable, *_FLAGS, "-c", _BOOT, _FOLDER, *map(str, numbers)],
                stdin=stdin_file,
                stdout=writers[0],
                stderr=writers[1],
                pass_fds=numbers,
                env=_environment(home),
                cwd=home,
                umask=0o077,
                start_new_session=True,
            )
            child = Child(process.pid, readers[0], readers[1], readers[2], home)
            stack.callback(_end, child, process)
        yield child


def _end(child: Child, process: subprocess.Popen[bytes]) -> None:
    child.end()
    # Or Popen would wait for it again.
    process.returncode = child.status if child.status is not None else -signal.SIGKILL


def _file_of(data: bytes) -> BinaryIO:
    """A file without a name that holds the data, open at its beginning."""
    if not data:
        return open(os.devnull, "rb")
    file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
    try:
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file  # pyright: ignore[reportReturnType]: unbuffered, but read only by the child


def _environment(home: str) -> dict[str, str]:
    """All that a program sees of the environment: what makes runs alike, and nothing of the caller's.

    One exception: an interpreter linked against a library in an unusual place cannot start without its path.
    """
    environment = {
        "HOME": home,
        "TMPDIR": home,
        "PATH": os.defpath,
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONHASHSEED": "0",
        # One thread each: pools of threads reserve more address space than programs may use.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
    }
    for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"):
        if name in os.environ:
            environment[name] = os.environ[name]
    return environment


def _remove_tree(folder: str) -> None:
    """Remove a folder that may hold anything: folders closed to us, trees too deep to recurse into."""
    try:
        shutil.rmtree(folder)
    except (OSError, RecursionError):
        if os.path.lexists(folder):
            for command in (["chmod", "-R", "u+rwx"], ["rm", "-rf"]):
                subprocess.run([*command, "--", folder], check=False, stderr=subprocess.DEVNULL)
