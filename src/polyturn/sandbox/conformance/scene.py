"""What attacks aim at, made for one grader's session: files, a secret, a neighbour, listeners. And what became of it.

    FOLDER/keep/file    to be changed or deleted       FOLDER/home/.ssh, .cache  keys, a token, solutions
    FOLDER/drop/        to be written to               FOLDER/site/              what an interpreter might load
    FOLDER/closed/      where a careless chmod shows   FOLDER/socket             a listener; others by number and name
    FOLDER/log          open in the grader's process
    FOLDER/tmp, cwd     the grader's own

Everything but `home` may be written by every user, so that it is not mere file rights that hold a program back. The
neighbour is a process of the same user, with the secret in its environment and in an open file, and with a text in its
memory. Listeners count who comes, and hand out the secret.
"""

import ctypes
import os
import re
import resource
import secrets
import select
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading

_OTHER_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")
_PATIENCE_S = 5.0
_MEMORY = "untouched"
_NEIGHBOUR = f"""
import ctypes, sys
memory = ctypes.create_string_buffer(b"{_MEMORY}")
print(ctypes.addressof(memory), flush=True)
for line in sys.stdin:
    print(memory.value.decode(errors="replace"), flush=True)
"""


class Scene:
    """A fresh scene. `changes` says what became of it; `close` removes it and ends the neighbour."""

    def __init__(self) -> None:
        self.secret = f"secret-{secrets.token_hex(16)}"
        self.mark = f"polyturn-mark-{secrets.token_hex(8)}"
        self.key = secrets.randbelow(1 << 30) + 1
        self.folder = tempfile.mkdtemp(prefix="conformance-")
        self._make_files()
        self._listeners = _Listeners(self.path("socket"), self.mark, self.secret)
        with open(self.path("home/.ssh/id_ed25519")) as key:
            self._neighbour = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _NEIGHBOUR],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**interpreter_environment(), "POLYTURN_SECRET": self.secret},
                pass_fds=[key.fileno()],
            )
        self._address = int(self._ask_neighbour() or 0)
        self._before: dict[str, object] = {}
        self._before = self._state()

    def path(self, name: str) -> str:
        """A path in the scene."""
        return os.path.join(self.folder, name)

    def fill(self, source: str, wait_s: float = 1.0) -> str:
        """A probe's text with the scene's places and names in it (`probe.py`)."""
        values = {
            "FOLDER": self.folder,
            "PID": self._neighbour.pid,
            "ADDRESS": self._address,
            "PORT": self._listeners.port,
            "UDP": self._listeners.udp,
            "MARK": self.mark,
            "KEY": self.key,
            "WAIT": wait_s,
            "SECRET": self.secret,
        }
        return re.sub("@([A-Z]+)@", lambda match: str(values[match[1]]), source)

    def changes(self) -> list[str]:
        """What is not as it was: one phrase each."""
        after = self._state()
        names = sorted(self._before.keys() | after.keys())
        found = [name for name in names if self._before.get(name) != after.get(name)]
        return found + self._listeners.visits()

    def in_tmp(self) -> set[str]:
        """What lies in the grader's folder for temporary files, at any depth."""
        found: set[str] = set()
        for folder, folders, files in os.walk(self.path("tmp")):
            found |= {os.path.relpath(os.path.join(folder, name), self.folder) for name in folders + files}
        return found

    def close(self) -> None:
        """Remove everything, also what programs left under the scene's mark and key."""
        self._neighbour.kill()
        self._neighbour.communicate()
        self._listeners.close()
        for path in self._marked():
            os.unlink(path)
        _remove_segment(self.key)
        try:
            shutil.rmtree(self.folder)
        except (OSError, RecursionError):  # folders closed to their owner, or too deep
            for command in (["chmod", "-R", "u+rwx"], ["rm", "-rf"]):
                subprocess.run([*command, "--", self.folder], check=False, stderr=subprocess.DEVNULL)

    def _make_files(self) -> None:
        os.chmod(self.folder, 0o777)
        files = {
            "keep/file": "kept",
            "closed/file": "kept",
            "site/readme": "modules go here",
            "log": "a log\n",
            "home/.ssh/id_ed25519": self.secret,
            "home/.cache/huggingface/token": self.secret,
            "home/.cache/benchmark/solutions.py": "def double(x):\n    return 2 * x\n",
            "home/.cache/benchmark/tests.pkl": "tests",
        }
        for name, content in files.items():
            os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
            with open(self.path(name), "w") as file:
                file.write(content)
            os.chmod(self.path(name), 0o666)
        for name in ("drop", "tmp", "cwd"):
            os.mkdir(self.path(name))
        for name in ("keep", "drop", "site", "tmp", "cwd"):
            os.chmod(self.path(name), 0o777)
        os.chmod(self.path("closed"), 0o577)

    def _state(self) -> dict[str, object]:
        state: dict[str, object] = {}
        for name in ("keep", "closed", "drop", "site", "home", "log"):
            paths = [self.path(name)]
            for folder, folders, files in os.walk(self.path(name)):
                paths += [os.path.join(folder, entry) for entry in folders + files]
            state |= {f"changed {os.path.relpath(path, self.folder)}": _look(path) for path in paths}
        state |= {f"left {path}": True for path in self._marked()}
        return state | self._state_of_neighbour()

    def _state_of_neighbour(self) -> dict[str, object]:
        pid = self._neighbour.pid
        reply = self._ask_neighbour("\n")
        if not reply:
            what = "killed a neighbour" if self._neighbour.poll() is not None else "stopped a neighbour"
            return {name: self._before[name] for name in self._before if "a neighbour's" in name} | {what: True}
        return {
            "changed a neighbour's priority": os.getpriority(os.PRIO_PROCESS, pid),
            "changed a neighbour's limits": resource.prlimit(pid, resource.RLIMIT_NOFILE),
            "wrote a neighbour's memory": reply,
        }

    def _ask_neighbour(self, line: str = "") -> str:
        """What it answers; nothing if it is dead, which shows at once, or has been stopped."""
        process = self._neighbour
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(line.encode())
            process.stdin.flush()
        except BrokenPipeError:
            process.wait()
            return ""
        ready, _, _ = select.select([process.stdout], [], [], _PATIENCE_S)
        answer = process.stdout.readline() if ready else b""
        if ready and not answer:
            process.wait()
        return answer.decode().strip()

    def _marked(self) -> list[str]:
        found: list[str] = []
        for folder in _OTHER_FOLDERS:
            if os.access(folder, os.R_OK | os.X_OK):
                found += [os.path.join(folder, name) for name in os.listdir(folder) if self.mark in name]
        return found


def interpreter_environment() -> dict[str, str]:
    """What an interpreter may need of our environment to start."""
    return {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}


def _look(path: str) -> tuple[object, ...]:
    status = os.lstat(path)
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            return status.st_mode, status.st_nlink, status.st_mtime_ns, file.read(10_000)
    return (status.st_mode,)


def _remove_segment(key: int) -> None:
    """Remove System V shared memory and queues that a program left under the scene's key."""
    libc = ctypes.CDLL(None, use_errno=True)
    remove = 0  # IPC_RMID
    segment = libc.shmget(key, 0, 0)
    if segment >= 0:
        libc.shmctl(segment, remove, None)
    queue = libc.msgget(key, 0)
    if queue >= 0:
        libc.msgctl(queue, remove, None)


class _Listeners:
    """Sockets of four kinds on this host, and a thread that notes who comes."""

    def __init__(self, path: str, name: str, secret: str) -> None:
        self._reply = f"HTTP/1.0 200 OK\r\nContent-Length: {len(secret)}\r\n\r\n{secret}".encode()
        self._visits: list[str] = []
        tcp, udp = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
        tcp.bind(("127.0.0.1", 0))
        udp.bind(("127.0.0.1", 0))
        self.port: int = tcp.getsockname()[1]
        self.udp: int = udp.getsockname()[1]
        file, abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        file.bind(path)
        os.chmod(path, 0o777)
        abstract.bind(f"\0{name}")
        self._sockets = {tcp: "by TCP", udp: "by UDP", file: "by a socket file", abstract: "by an abstract socket"}
        for line in (tcp, file, abstract):
            line.listen()
        for line in self._sockets:
            line.setblocking(False)
        self._end, self._ended = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name="listeners", daemon=True)
        self._thread.start()

    def visits(self) -> list[str]:
        """Who came: one phrase each."""
        return sorted(set(self._visits))

    def close(self) -> None:
        self._end.close()
        self._thread.join()
        for line in (*self._sockets, self._ended):
            line.close()

    def _serve(self) -> None:
        while True:
            ready, _, _ = select.select([*self._sockets, self._ended], [], [])
            if self._ended in ready:
                return
            for line in ready:
                self._visits.append(f"came {self._sockets[line]}")
                try:
                    if line.type == socket.SOCK_DGRAM:
                        line.recv(1000)
                        continue
                    with line.accept()[0] as visitor:
                        visitor.settimeout(1)
                        visitor.sendall(self._reply)
                        visitor.shutdown(socket.SHUT_WR)
                        visitor.recv(10_000)
                except OSError:  # the visitor has left
                    continue
