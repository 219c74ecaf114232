"""Runs Python as an ordinary user, for tests that are run by root.

The interpreter, its packages or the checkout often lie in folders that only root can enter. So the command gets mounts
of its own, which end with it: there, such a folder is empty but for what the command needs. Nothing outside changes.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import polyturn.sandbox

USER = 61_000  # of nobody: beyond the accounts of people and below those that services are given for a while
SOURCES = str(Path(str(polyturn.sandbox.__file__)).parents[2])  # on sys.path

# Arguments: how many folders the command needs, the folders, the command.
_BECOME = f"""
import os, sys
from polyturn.sandbox import kernel

def closed(path):
    "The first folder on the way to `path` that not everybody may enter."
    above = [path[:end] for end in range(1, len(path)) if path[end] == "/"]
    return next((folder for folder in above if not os.stat(folder).st_mode & 0o001), None)

count = int(sys.argv[1])
needed, command = sys.argv[2 : 2 + count], sys.argv[2 + count :]
covers = {{path: closed(path) for path in needed}}
if any(covers.values()):
    os.unshare(os.CLONE_NEWNS)
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    opened = {{path: os.open(path, os.O_PATH) for path in needed if covers[path]}}
    for folder in {{covers[path] for path in opened}}:
        kernel.mount("tmpfs", folder, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=1777")
    for path, fd in opened.items():
        os.makedirs(path, exist_ok=True)
        kernel.mount(f"/proc/self/fd/{{fd}}", path, None, kernel.MS_BIND | kernel.MS_REC)
os.setgroups([])
os.setresgid({USER}, {USER}, {USER})
os.setresuid({USER}, {USER}, {USER})
os.chdir("/")
os.execv(command[0], command)
"""
_TRY = "import os, polyturn.sandbox.run; os.unshare(os.CLONE_NEWUSER)"

type Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def ordinary_home(tmp_path: Path) -> Path:
    """The home folder of the ordinary user, and its folder for temporary files."""
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o777)
    return home


@pytest.fixture
def run_as_ordinary_user(ordinary_home: Path) -> Run:
    """Runs this interpreter with the arguments given, as an ordinary user. Skips the test where that cannot be."""
    if os.geteuid() != 0:
        pytest.skip("the whole suite runs as an ordinary user already")
    named = [str(ordinary_home), SOURCES, sys.prefix, sys.base_prefix, *filter(os.path.isdir, sys.path)]
    needed = sorted({path for name in named for path in (os.path.abspath(name), os.path.realpath(name))})
    places = {"PYTHONPATH": SOURCES, "HOME": str(ordinary_home), "TMPDIR": str(ordinary_home)}
    environment = {**os.environ, **places, "PYTHONDONTWRITEBYTECODE": "1"}

    def run(*arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", _BECOME, str(len(needed)), *needed, sys.executable, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout)

    tried = run("-c", _TRY)
    if tried.returncode:
        why = tried.stderr.strip().rpartition("\n")[2]
        pytest.skip(f"no ordinary user can start this interpreter here and make namespaces: {why}")
    return run
