"""Landlock: what a process held to a ruleset can still open, change and reach."""

import errno
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from polyturn.sandbox import kernel, landlock

VERSION = landlock.supported()


def since(version: int) -> Callable[[Callable[..., None]], pytest.MarkDecorator]:
    return pytest.mark.skipif(version > VERSION, reason=f"Landlock {VERSION} here, needs {version}")


# `attempt` prints how each call ends: "ok", or the name of the errno.
BEGIN = f"""
import errno, fcntl, os, signal, socket, stat, sys
sys.path[:0] = {sys.path!r}
from polyturn.sandbox import kernel, landlock

def hold(read, write):
    rules = landlock.ruleset(read, write)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    landlock.restrict(rules)
    os.close(rules)

def attempt(function, *arguments):
    try:
        function(*arguments)
    except OSError as error:
        print(errno.errorcode[error.errno])
    else:
        print("ok")

home = os.getcwd()
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder that programs start in: one to read, one to write, and a file of neither."""
    (tmp_path / "read" / "deep").mkdir(parents=True)
    (tmp_path / "read" / "deep" / "file").write_text("text")
    (tmp_path / "write").mkdir()
    (tmp_path / "secret").write_text("secret")
    return tmp_path


def run(source: str, home: Path, *arguments: str) -> list[str]:
    """The words that a program prints, run by a Python of its own in `home`."""
    command = [sys.executable, "-c", BEGIN + source, *arguments]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=60, start_new_session=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@since(1)
def test_only_what_is_named_can_be_read(home: Path) -> None:
    source = """
hold([home + "/read"], [home + "/write"])
attempt(open, home + "/read/deep/file")
attempt(os.listdir, home + "/read/deep")
attempt(open, home + "/secret")
attempt(os.listdir, home)
attempt(os.listdir, "/")
attempt(open, home + "/read/../secret")
"""
    assert run(source, home) == ["ok", "ok", "EACCES", "EACCES", "EACCES", "EACCES"]


@since(1)
def test_what_is_for_reading_cannot_be_changed_or_run(home: Path) -> None:
    for path in (home / "read" / "program", home / "write" / "program"):
        path.write_text("no program at all")  # else ENOEXEC
        path.chmod(0o755)
    source = """
hold([home + "/read", "/bin", "/usr", "/lib"], [home + "/write"])
attempt(open, home + "/read/deep/file", "a")
attempt(open, home + "/read/new", "w")
attempt(os.mkdir, home + "/read/new")
attempt(os.unlink, home + "/read/deep/file")
attempt(os.rename, home + "/read/deep", home + "/read/new")
attempt(os.symlink, "/", home + "/read/new")
attempt(os.execv, home + "/read/program", ["program"])
attempt(os.execv, home + "/write/program", ["program"])
attempt(os.execv, "/bin/sh", ["sh"])
"""
    assert run(source, home) == ["EACCES"] * 9
    assert (home / "read" / "deep" / "file").read_text() == "text"


@since(3)
def test_what_is_for_writing_can_be_changed_in_every_way(home: Path) -> None:
    source = """
hold([], [home + "/write"])
os.chdir(home + "/write")
attempt(os.mkdir, "a")
attempt(os.mkdir, "b")
with open("a/file", "w") as file:
    attempt(file.write, "text")
attempt(os.link, "a/file", "a/other")
attempt(os.rename, "a/file", "b/file")
attempt(os.truncate, "b/file", 2)
attempt(os.symlink, "b/file", "link")
attempt(os.mkfifo, "pipe")
attempt(socket.socket(socket.AF_UNIX).bind, "socket")
attempt(os.unlink, "a/other")
attempt(os.rmdir, "a")
attempt(os.listdir, ".")
print(open("link").read())
"""
    assert run(source, home) == ["ok"] * 12 + ["te"]
    assert sorted(path.name for path in (home / "write").iterdir()) == ["b", "link", "pipe", "socket"]


@since(1)
def test_no_devices_are_made(home: Path) -> None:
    source = """
hold([], [home + "/write"])
attempt(os.mknod, home + "/write/zero", 0o600 | stat.S_IFCHR, os.makedev(1, 5))
attempt(os.mknod, home + "/write/disk", 0o600 | stat.S_IFBLK, os.makedev(7, 0))
"""
    refused = run(source, home)
    assert set(refused) <= {"EACCES", "EPERM"}  # the latter without the privilege that it takes anyway
    assert refused == ["EACCES"] * 2 or os.geteuid() != 0
    assert list((home / "write").iterdir()) == []


@since(1)
def test_one_file_may_be_named(home: Path) -> None:
    source = """
hold(["/dev/zero"], ["/dev/null", home + "/secret"])
attempt(open, "/dev/zero", "rb")
attempt(open, "/dev/zero", "wb")
attempt(open, "/dev/null", "wb")
attempt(open, home + "/secret", "w")
attempt(os.unlink, home + "/secret")
attempt(open, "/dev/full", "rb")
"""
    assert run(source, home) == ["ok", "EACCES", "ok", "ok", "EACCES", "EACCES"]
    assert (home / "secret").read_text() == ""


@since(5)
def test_devices_are_not_controlled(home: Path) -> None:
    source = """
hold([], ["/dev"])
with open("/dev/zero", "r+b", buffering=0) as file:
    attempt(fcntl.ioctl, file, 0x5401, bytes(64))
"""
    assert run(source, home) == ["EACCES"]  # else ENOTTY


@since(4)
def test_there_is_no_network(home: Path) -> None:
    source = """
free = socket.create_server(("127.0.0.1", 0))
hold([], [])
attempt(socket.socket().bind, ("127.0.0.1", 0))
attempt(socket.socket().connect, free.getsockname())
"""
    assert run(source, home) == ["EACCES", "EACCES"]


@since(6)
def test_other_processes_are_out_of_reach(home: Path) -> None:
    name = f"\0polyturn-test-{os.getpid()}"
    source = """
hold([], [])
attempt(os.kill, os.getppid(), 0)
attempt(os.kill, os.getpid(), 0)
attempt(socket.socket(socket.AF_UNIX).connect, bytes.fromhex(sys.argv[1]))
"""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        assert run(source, home, name.encode().hex()) == ["EPERM", "ok", "EPERM"]


@since(1)
def test_it_holds_for_threads_and_processes_and_cannot_be_widened(home: Path) -> None:
    source = """
import threading
hold([home + "/read"], [])
thread = threading.Thread(target=attempt, args=(open, home + "/secret"))
thread.start()
thread.join()
sys.stdout.flush()
if os.fork() == 0:
    attempt(open, home + "/secret")
    sys.stdout.flush()
    os._exit(0)
os.wait()
attempt(hold, ["/"], ["/"])
attempt(open, home + "/secret")
"""
    told = run(source, home)
    assert told[:2] == ["EACCES", "EACCES"]
    assert told[-1] == "EACCES"


@since(1)
def test_one_ruleset_serves_many_processes(home: Path) -> None:
    source = """
rules = landlock.ruleset([home + "/read"], [])
kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
for _ in range(3):
    if os.fork() == 0:
        landlock.restrict(rules)
        attempt(open, home + "/read/deep/file")
        attempt(open, home + "/secret")
        sys.stdout.flush()
        os._exit(0)
    os.wait()
attempt(open, home + "/secret")
"""
    assert run(source, home) == ["ok", "EACCES"] * 3 + ["ok"]


@since(1)
def test_a_missing_path_is_an_error_and_leaves_nothing_open(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(FileNotFoundError):
        landlock.ruleset([str(tmp_path)], [str(tmp_path / "missing")])
    assert os.listdir("/proc/self/fd") == before


@since(1)
def test_a_ruleset_closes_on_exec(tmp_path: Path) -> None:
    rules = landlock.ruleset([str(tmp_path)], [])
    assert not os.get_inheritable(rules)
    os.close(rules)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
@pytest.mark.parametrize("version", range(1, 12))
def test_nothing_is_asked_that_a_version_does_not_know(
    version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the kernel refuses the whole ruleset. The highest right of each version, from linux/landlock.h."""
    asked: list[tuple[int, int, int]] = []
    rules: list[int] = []
    monkeypatch.setattr(kernel, "landlock_version", lambda: version)
    monkeypatch.setattr(
        kernel, "landlock_create_ruleset", lambda text: asked.append(struct.unpack("3Q", text)) or os.dup(0)
    )
    monkeypatch.setattr(kernel, "landlock_allow_beneath", lambda fd, access, folder: rules.append(access))
    (tmp_path / "file").touch()
    paths = [str(tmp_path), str(tmp_path / "file")]
    os.close(landlock.ruleset(paths, paths))
    ((files, network, scopes),) = asked
    highest = {1: "MAKE_SYM", 2: "REFER", 3: "TRUNCATE", 4: "TRUNCATE"}.get(version, "IOCTL_DEV")
    names = (
        "EXECUTE WRITE_FILE READ_FILE READ_DIR REMOVE_DIR REMOVE_FILE MAKE_CHAR MAKE_DIR MAKE_REG MAKE_SOCK MAKE_FIFO"
    )
    bits = [*names.split(), "MAKE_BLOCK", "MAKE_SYM", "REFER", "TRUNCATE", "IOCTL_DEV", "RESOLVE_UNIX"]
    assert files == 2 ** (bits.index("RESOLVE_UNIX" if version >= 9 else highest) + 1) - 1
    assert network == (0 if version < 4 else 0b11 if version < 10 else 0b1111)
    assert scopes == (0 if version < 6 else 0b11)
    # What rules give, they must also have been asked to handle.
    assert all(access and access & ~files == 0 for access in rules)


@since(1)
@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_the_kernel_takes_what_is_asked_of_each_version(version: int, home: Path) -> None:
    source = f"""
kernel.landlock_version = lambda: {version}
hold([home + "/read"], [home + "/write", "/dev/null"])
attempt(open, home + "/read/deep/file")
attempt(open, home + "/write/file", "w")
attempt(open, home + "/secret")
attempt(socket.socket().bind, ("127.0.0.1", 0))
"""
    assert run(source, home) == ["ok", "ok", "EACCES", "ok" if version < 4 else "EACCES"]


@since(1)
def test_without_privileges_that_cannot_grow_nothing_is_held(home: Path) -> None:
    if kernel.prctl(kernel.PR_GET_NO_NEW_PRIVS):
        pytest.skip("privileges cannot grow here in any process")
    source = """
rules = landlock.ruleset([], [])
kernel.drop_capabilities()
attempt(landlock.restrict, rules)
"""
    assert run(source, home) == ["EPERM"]


def test_a_kernel_without_it_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise OSError(errno.EOPNOTSUPP, "landlock_create_ruleset: disabled")

    monkeypatch.setattr(kernel, "landlock_version", refuse)
    assert landlock.supported() == 0
    with pytest.raises(OSError, match="disabled"):
        landlock.ruleset([], [])
