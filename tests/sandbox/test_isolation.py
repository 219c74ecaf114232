"""What a program sees and may touch, on each level of isolation, and what happens where a layer cannot be had."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import polyturn.sandbox
from polyturn.sandbox import (
    Isolation,
    ProgramError,
    Result,
    SandboxError,
    grade_function,
    run_batch,
    run_program,
    run_programs,
    worker,
)
from polyturn.sandbox.kernel import MACHINE, syscall_numbers
from polyturn.sandbox.layers import LAYERS, required
from polyturn.sandbox.pool import close_idle

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="these layers are Linux's")

FULL = Isolation()
LIGHT = Isolation("light", allow_weaker=True)  # as root, it lacks a layer if only root can read the interpreter
NOBODY = 65534
SOURCES = str(Path(str(polyturn.sandbox.__file__)).parents[2])  # on sys.path
OPTIONAL = {"cgroup"}  # where the host delegates none


def error_of(source: str, isolation: Isolation = FULL) -> ProgramError:
    result = run_program(source, isolation=isolation)
    assert result.verdict == "error", result
    assert result.error is not None
    return result.error


def names_of(source: str, isolation: Isolation = FULL) -> set[str]:
    """The list of names that a program prints."""
    result = run_program(source, isolation=isolation)
    assert result.verdict == "passed", result
    (names,) = result.printed[-1]
    assert isinstance(names, list)
    return set(names)


# ---- layers


def test_the_layers_of_a_result_are_all_that_are_required() -> None:
    results = [run_program("print(1)"), run_program("1 / 0"), *run_batch(["print(1)", "1 / 0"])]
    for result in results:
        assert set(result.layers) - OPTIONAL == set(required("full"))
        assert len(set(result.layers)) == len(result.layers)
        assert set(result.layers) <= set(LAYERS)


def test_the_light_level_has_its_own_layers() -> None:
    result = run_program("print(1)", isolation=LIGHT)
    missing = set(required("light")) - set(result.layers)
    assert missing <= {"user"}
    assert not {"user-ns", "pid-ns", "mount-ns", "root", "tmpfs"} & set(result.layers)
    if missing:
        with pytest.raises(SandboxError, match=r"refuses the isolation layer user \(only root can (enter|read) /"):
            run_program("print(1)", isolation=Isolation("light"))
    else:
        assert run_program("print(1)", isolation=Isolation("light")).layers == result.layers


@pytest.fixture
def host_without_gravity(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A host that lacks one layer of the full level; no worker is warm before, nor is one kept."""

    def demanding(level: str) -> tuple[str, ...]:
        return (*required(level), "gravity") if level == "full" else required(level)

    close_idle()
    monkeypatch.setattr("polyturn.sandbox.pool.required", demanding)
    yield
    close_idle()


@pytest.mark.usefixtures("host_without_gravity")
def test_a_layer_that_the_host_refuses_is_named_and_nothing_runs_without_it() -> None:
    for run in (
        lambda: run_program("print(1)"),
        lambda: run_batch(["print(1)"]),
        lambda: list(run_programs(["print(1)"])),
    ):
        with pytest.raises(SandboxError, match=r"refuses the isolation layer gravity .*: run elsewhere"):
            run()


@pytest.mark.usefixtures("host_without_gravity")
def test_without_one_layer_the_others_are_kept_if_that_is_allowed() -> None:
    result = run_program("print(1)", isolation=Isolation(allow_weaker=True))
    assert (result.verdict, result.printed) == ("passed", ((1,),))
    assert set(result.layers) - OPTIONAL == set(required("full"))


@pytest.mark.parametrize("layer", ["user-ns", "root"])
def test_without_what_hides_the_host_the_light_level_is_used_if_allowed(
    layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refused(worker.Worker):
        def __init__(self, level: str, isolation: Isolation, memory_mb: int) -> None:
            super().__init__(level, isolation, memory_mb)
            self.layers = tuple(name for name in self.layers if name != layer)

    close_idle()
    monkeypatch.setattr("polyturn.sandbox.pool.Worker", Refused)
    try:
        with pytest.raises(SandboxError, match=f"refuses the isolation layer {layer}"):
            run_program("print(1)")
        result = run_program("print(1)", isolation=Isolation(allow_weaker=True))
        assert result.verdict == "passed"
        assert set(result.layers) == set(run_program("print(1)", isolation=LIGHT).layers)
    finally:
        close_idle()


def test_an_unknown_level_or_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SandboxError, match="no isolation 'some': give full or light"):
        Isolation("some")  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(SandboxError, match=r"no-such-package, which is not installed: pip install no-such-package"):
        run_program("print(1)", isolation=Isolation(packages=("no-such-package",)))
    assert list(tmp_path.iterdir()) == []


# ---- files

# Folders on the way to the interpreter's library: they are there, with nothing else in them.
ON_THE_WAY = {
    str(parent) for path in (os.__file__, os.environ.get("LD_LIBRARY_PATH", "/")) for parent in Path(path).parents
}

# Tries what one can do with a path, and prints what did not fail. A test of a sandbox must do no harm where the
# sandbox fails: what changes anything is tried on CANARIES alone, files and folders that the test made to be lost.
TOUCH = """import os, shutil
done = []
def attempt(name, act):
    try:
        act()
    except OSError:
        return
    done.append(name)
for path in PLACES + CANARIES:
    attempt('read ' + path, lambda: open(path).read())
    attempt('list ' + path, lambda: os.listdir(path))
for path in CANARIES:
    attempt('write ' + path, lambda: open(path, 'a'))
    attempt('create in ' + path, lambda: open(path + '/new', 'w'))
    attempt('mkdir in ' + path, lambda: os.mkdir(path + '/folder'))
    attempt('link ' + path, lambda: os.link(path, 'linked'))
    attempt('through a link ' + path, lambda: (os.symlink(path, 'soft'), open('soft').read()))
    attempt('chmod ' + path, lambda: os.chmod(path, 0o777))
    attempt('utime ' + path, lambda: os.utime(path))
    attempt('truncate ' + path, lambda: os.truncate(path, 0))
    attempt('cut off ' + path, lambda: os.open(path, os.O_RDONLY | os.O_TRUNC))
    attempt('rename ' + path, lambda: os.rename(path, path + '.moved'))
    attempt('remove ' + path, lambda: os.remove(path))
print(done)
"""


@pytest.mark.parametrize("isolation", [FULL, LIGHT], ids=["full", "light"])
def test_a_program_touches_no_host_file(isolation: Isolation, tmp_path: Path) -> None:
    canary, folder = tmp_path / "canary", tmp_path / "folder"
    canary.write_text("sings")
    folder.mkdir()
    canary.chmod(0o644)
    os.utime(canary, (1, 1))
    before, folder_mode = canary.stat(), folder.stat().st_mode
    places = [str(tmp_path), __file__, "/etc/hosts", "/root", "/home", "/var", "/sys", "/proc"]
    head = f"PLACES, CANARIES = {places!r}, {[str(canary), str(folder)]!r}\n"
    touched = names_of(head + TOUCH, isolation)
    if isolation is LIGHT:  # told that it did, for the sake of shutil
        touched -= {f"{act} {path}" for act in ("chmod", "utime") for path in (canary, folder)}
    assert touched - {f"list {folder}" for folder in ON_THE_WAY} == set()
    after = canary.stat()
    assert (canary.read_text(), after.st_mode, after.st_mtime, after.st_nlink) == ("sings", before.st_mode, 1, 1)
    assert (folder.stat().st_mode, after.st_ctime_ns) == (folder_mode, before.st_ctime_ns)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["canary", "folder"]


def test_the_root_holds_the_interpreters_library_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "canary-file").touch()
    unwanted = ["canary-file", "hosts", "shadow", "cmdline", Path(__file__).name, "pytest", "_pytest"]
    source = (
        f"import os\nfound, unwanted = set(), {{'os.py', *{unwanted!r}}}\n"
        "for folder, folders, files in os.walk('/'):\n    found |= unwanted & {*folders, *files}\n"
        "    if folder.endswith(('/python3/dist-packages', os.path.dirname(os.__file__) + '/site-packages')):\n"
        "        found.update(os.listdir(folder))\n"
        "print(sorted(found))"
    )
    assert names_of(source) == {"os.py"}
    top = names_of("import os\nprint(os.listdir('/'))")
    assert {"dev", "etc", "packages", "tmp"} <= top
    hidden = {"proc", "sys", "home", "var", "run", "boot", "mnt", "opt", "sbin"}
    assert not {f"/{name}" for name in hidden & top} - ON_THE_WAY
    assert names_of("import os\nprint(os.listdir('/dev'))") == {"null", "zero", "full", "random", "urandom", "shm"}
    assert names_of("import os\nprint(os.listdir('/etc'))") <= {"passwd", "ld.so.cache"}
    assert names_of("import os\nprint(os.listdir('/tmp'))") == set()


def test_nothing_outside_tmp_can_be_written_and_nothing_executed() -> None:
    source = (
        "import os\nfound = []\n"
        "for folder, _, names in os.walk('/'):\n"
        "    if folder.startswith('/tmp'): continue\n"
        "    for path in [folder, *(os.path.join(folder, name) for name in names)]:\n"
        "        if os.access(path, os.W_OK) and not os.path.realpath(path).startswith('/dev/'): found.append(path)\n"
        "for path in ('/', '/usr', '/packages', '/etc', os.path.dirname(os.__file__)):\n"
        "    try:\n        os.mkdir(path + '/new-folder')\n    except OSError:\n        continue\n"
        "    os.rmdir(path + '/new-folder')\n    found.append(path)\n"
        "print(found)"
    )
    assert names_of(source) == set()
    script = "open('x', 'w').write('#!/usr/bin/true')\nimport os\nos.chmod('x', 0o755)\nos.execv('./x', ['x'])"
    for isolation in (FULL, LIGHT):
        assert error_of(script, isolation).type == "PermissionError"


def test_devices_work_and_are_the_five_harmless_ones() -> None:
    source = (
        "import os\nprint(open('/dev/zero', 'rb').read(3), len(os.urandom(4)), open('/dev/urandom', 'rb').read(0))\n"
        "open('/dev/null', 'w').write('gone')\nprint(os.path.exists('/dev/mem'), os.path.exists('/dev/tty'))"
    )
    assert run_program(source).stdout == "b'\\x00\\x00\\x00' 4 b''\nFalse False\n"
    assert error_of("import os\nos.mknod('null', 0o20666, os.makedev(1, 3))").type == "PermissionError"


def test_a_programs_files_of_devices_are_not_for_it_to_change() -> None:
    source = (
        "import os\nchanged = []\n"
        "for path in ('/dev/null', '/dev/zero', '/dev/full', '/dev/random', '/dev/urandom'):\n"
        "    for act in (os.utime, lambda path: os.utime(os.open(path, os.O_WRONLY))):\n"
        "        try:\n            act(path)\n        except OSError:\n            continue\n"
        "        changed.append(path)\nprint(changed)"
    )
    before = os.stat("/dev/full").st_mtime_ns
    assert names_of(source) == set()
    names_of(source, LIGHT)  # told that it did
    assert os.stat("/dev/full").st_mtime_ns == before


def test_of_the_linkers_path_a_program_sees_what_the_interpreter_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "canary").write_text("sings")
    needed = os.environ.get("LD_LIBRARY_PATH", "")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{tmp_path}:{needed}:/home:relative")
    close_idle()
    source = (
        f"import os\nfound = []\nfor path in ({str(tmp_path)!r}, '/home'):\n    try:\n"
        "        found += [path, os.listdir(path)]\n    except OSError:\n        continue\nprint(found)"
    )
    try:
        for isolation in (FULL, LIGHT):
            assert names_of(source, isolation) == set()
    finally:
        close_idle()


# ---- what else a program might look at


@pytest.mark.parametrize("isolation", [FULL, LIGHT], ids=["full", "light"])
def test_the_environment_holds_nothing_of_the_callers(isolation: Isolation, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SECRET_TOKEN", "PYTHONSTARTUP", "LD_PRELOAD_X", "VIRTUAL_ENV", "USER"):
        monkeypatch.setenv(name, "hunter2")
    close_idle()
    result = run_program("import os\nprint(dict(os.environ))", isolation=isolation)
    (environment,) = result.printed[0]
    assert isinstance(environment, dict)
    inherited = {"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"} & set(os.environ)
    assert set(environment) - inherited == {
        *("HOME", "TMPDIR", "PATH", "LC_ALL", "TZ", "PYTHONHASHSEED", "MALLOC_ARENA_MAX"),
        *("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"),
    }
    assert "hunter2" not in result.stdout
    if isolation is FULL:
        assert environment["HOME"] == environment["TMPDIR"] == "/tmp"


def test_a_program_is_nobody_alone_in_a_nameless_host() -> None:
    source = (
        "import os\nprint(os.getpid(), os.getpgrp(), os.getsid(0), os.getppid())\n"
        "print(os.getuid(), os.geteuid(), os.getgid(), os.getegid())\nprint(os.uname().nodename)"
    )
    assert run_program(source).stdout == f"1 1 1 0\n{NOBODY} {NOBODY} {NOBODY} {NOBODY}\nsandbox\n"


def test_only_the_packages_that_are_allowed_can_be_imported() -> None:
    assert run_program("import numpy\nprint(numpy.arange(3).sum())").stdout == "3\n"
    for name in ("pytest", "hypothesis", "pip", "polyturn", "sandbox", "sandbox.values", "_pytest", "site_packages"):
        assert error_of(f"import {name}").type == "ModuleNotFoundError", name
    packages = names_of("import os\nprint(os.listdir('/packages'))")
    assert all(name.startswith("numpy") for name in packages)


def test_packages_are_the_callers_choice_with_what_they_require() -> None:
    bare = Isolation(packages=())
    assert error_of("import numpy", bare).type == "ModuleNotFoundError"
    tested = Isolation(packages=("pytest",))
    assert run_program("import pytest, pluggy\nprint(pytest.__name__)", isolation=tested).stdout == "pytest\n"
    assert error_of("import numpy", tested).type == "ModuleNotFoundError"


def test_the_sandbox_itself_is_not_among_the_modules() -> None:
    source = "import sys\nprint([name for name in sys.modules if 'sandbox' in name or 'polyturn' in name])"
    assert names_of(source) == set()
    (path,) = run_program("import sys\nprint(sys.path)").printed[0]
    assert isinstance(path, list)
    assert not [entry for entry in path if str(entry).startswith(SOURCES)]


def test_there_is_no_network() -> None:
    for source in (
        "import socket\nsocket.create_connection(('127.0.0.1', 9))",
        "import socket\nsocket.socket(socket.AF_UNIX)",
        "import socket\nsocket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    ):
        for isolation in (FULL, LIGHT):
            assert error_of(source, isolation).type == "PermissionError"


@pytest.mark.parametrize(
    "call",
    [
        *("ptrace, 0, 0, 0, 0", "mount, 0, 0, 0, 0", "unshare, 0x10000000", "bpf, 0, 0, 0", "setns, 3, 0"),
        *("process_vm_readv, 1, 0, 0, 0, 0", "add_key, 0, 0, 0, 0", "io_uring_setup, 1, 0"),
    ],
)
def test_what_only_an_attack_does_is_forbidden(call: str) -> None:
    name, _, arguments = call.partition(", ")
    number = syscall_numbers(MACHINE)[name]
    for isolation in (FULL, LIGHT):
        source = f"import ctypes\nctypes.CDLL(None).syscall({number}, {arguments})"
        result = run_program(source, isolation=isolation)
        assert result.error is not None
        assert (result.verdict, result.error.type) == ("forbidden", "SystemCall")


# ---- the light level


def test_a_light_program_is_one_process() -> None:
    for source in ("import os\nos.fork()", "import os, signal\nos.kill(os.getppid(), 0)", "import os\nos.killpg(0, 0)"):
        assert error_of(source, LIGHT).type == "PermissionError"
    threads = "import threading\nt = threading.Thread(target=print, args=(1,))\nt.start()\nt.join()"
    assert run_program(threads, isolation=LIGHT).stdout == "1\n"
    killed = error_of("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", LIGHT)
    assert (killed.type, killed.message) == ("Signal", "it was ended by SIGKILL")


def test_the_light_level_judges_alike() -> None:
    sources = [
        "import numpy as np\nprint(np.arange(2))",
        "print(1)\n1 / 0",
        "import os\nos._exit(3)",
        "x = [0] * 10**10",
        "while True: print('x' * 9999)",
        "import random, numpy\nprint(random.random(), numpy.random.rand(), {'a', 'b', 'c'})",
    ]

    def told(result: Result) -> tuple[object, ...]:
        return result.verdict, result.stdout, result.printed, result.error

    with_full = [told(run_program(source)) for source in sources]
    assert [told(run_program(source, isolation=LIGHT)) for source in sources] == with_full
    batches = [[told(result) for result in run_batch(sources[:2], isolation=kind)] for kind in (FULL, LIGHT)]
    assert batches[0] == batches[1]


# ---- an ordinary user


ORDINARY = """
import json, os, sys
from polyturn.sandbox import Isolation, Limits, run_batch, run_program
from polyturn.sandbox.layers import required
bare = Isolation(packages=())
results = [
    run_program("import os\\nprint(os.getpid(), os.getuid(), sorted(os.listdir('/tmp')))", isolation=bare),
    run_program("import os\\nif os.fork() == 0: os._exit(7)\\nprint(os.waitstatus_to_exitcode(os.wait()[1]))",
                isolation=bare),
    run_program("open('/etc/hosts')", isolation=bare),
    run_program("while True: pass", Limits(cpu_s=0.2), isolation=bare),
    *run_batch(["print(2)"], isolation=bare),
    run_program("import os\\nprint(os.uname().nodename)", isolation=Isolation("light", packages=())),
]
print(json.dumps([os.geteuid(), required("full"), required("light"), [result.to_json() for result in results]]))
"""


def test_an_ordinary_user_gets_full_isolation_too(
    run_as_ordinary_user: Callable[..., subprocess.CompletedProcess[str]], ordinary_home: Path
) -> None:
    done = run_as_ordinary_user("-c", ORDINARY)
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(ordinary_home) == []
    user, full, light, results = json.loads(done.stdout)
    assert user not in (0, NOBODY)
    assert [result["verdict"] for result in results] == ["passed", "passed", "error", "timeout", "passed", "passed"]
    assert [result["stdout"] for result in results[:2]] == [f"1 {NOBODY} []\n", "7\n"]
    assert results[2]["error"]["type"] == "FileNotFoundError"
    assert {"user-ns", "pid-ns", "mount-ns", "root", "landlock", "seccomp"} <= set(full)
    assert all(set(result["layers"]) - OPTIONAL == set(full) for result in results[:5])
    assert set(results[5]["layers"]) - OPTIONAL == set(light)


# ---- a caller who keeps files to itself

CHECK = "def check(candidate):\n    assert candidate(2) == 4\n"
READS = (
    "import json, os, sqlite3, tempfile, numpy.fft\nopen('made', 'w')\nos.mkdir('folder')\n"
    "print(os.umask(0o22), oct(os.stat('made').st_mode & 0o777), oct(os.stat('folder').st_mode & 0o777))\n"
)


@pytest.fixture(params=[0o027, 0o077], ids=["027", "077"])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    close_idle()
    before = os.umask(request.param)
    yield
    os.umask(before)
    close_idle()


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("isolation", [FULL, LIGHT], ids=["full", "light"])
def test_the_callers_umask_is_not_the_programs(isolation: Isolation) -> None:
    result = run_program(READS, isolation=isolation)
    assert (result.verdict, result.stdout) == ("passed", "18 0o644 0o755\n"), result.error
    program = READS + "def double(x): return 2 * x"
    assert grade_function(program, CHECK, "double", isolation=isolation).verdict == "passed"
    assert run_batch([READS], isolation=isolation)[0].stdout == "18 0o644 0o755\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="a user's own files are open to the user's programs")
def test_a_package_that_programs_cannot_read_is_told_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir(0o700)
    monkeypatch.setattr(worker, "package_paths", lambda names: {"closed": str(tmp_path / "closed")})
    with pytest.raises(SandboxError, match=r"layer root \(only root can read /packages/closed; use .* every user"):
        run_program("print(1)", isolation=Isolation(packages=()))
