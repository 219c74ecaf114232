"""What the kernel's files of a cgroup say, in either version: their texts are those of cgroup-v1 and cgroup-v2.rst."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from polyturn.sandbox import Limits, cgroup
from polyturn.sandbox.cgroup import Account
from polyturn.sandbox.result import of_one
from polyturn.sandbox.worker import Ending

ONE = {
    "cpuacct.usage": "2500000000\n",
    "memory.oom_control": "oom_kill_disable 0\nunder_oom 1\noom_kill 3\n",
    "memory.failcnt": "4\n",
}
TWO = {
    "cpu.stat": "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\nnr_periods 0\n",
    "memory.events": "low 0\nhigh 7\nmax 5\noom 4\noom_kill 3\noom_group_kill 0\n",
}


@pytest.mark.parametrize("texts", [ONE, TWO], ids=["one", "two"])
def test_either_version_counts_alike(texts: dict[str, str], tmp_path: Path) -> None:
    folders: list[str] = []
    for name, text in texts.items():  # version 1 has a folder for each controller
        folder = tmp_path / name.split(".")[0]
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        folders.append(str(folder))
    account = Account(folders)
    assert (account.cpu_s(), account.memory_kills()) == (2.5, (3, 4))


def test_where_there_is_no_group_nobody_counts() -> None:
    account = Account([])
    assert (account.cpu_s(), account.memory_kills()) == (None, (0, 0))


@pytest.mark.parametrize(
    ("exhausted", "starved", "verdict"),
    [(True, False, "memory"), (False, True, "internal-error"), (False, False, "error")],
)
def test_a_program_is_not_blamed_for_the_memory_of_the_host(exhausted: bool, starved: bool, verdict: str) -> None:
    ending = Ending(status=-signal.SIGKILL, exhausted=exhausted, starved=starved)
    assert of_one(ending, Limits()).verdict == verdict


class Kernel:
    """Folders that behave as version 2's groups: a new one has the files that the one above hands on."""

    def __init__(self, top: Path, handed: str, own_processes: str = "1\n") -> None:
        self._mkdir = os.mkdir
        self.own = top / "delegated" / "own"
        self.own.mkdir(parents=True)
        for folder, controllers, processes in ((top / "delegated", handed, ""), (self.own, "", own_processes)):
            (folder / "cgroup.subtree_control").write_text(controllers)
            (folder / "cgroup.procs").write_text(processes)

    def mkdir(self, path: str) -> None:
        self._mkdir(path)
        (Path(path) / "cgroup.procs").touch()
        for controller in (Path(path).parent / "cgroup.subtree_control").read_text().split():
            (Path(path) / f"{controller}.max").touch()


@pytest.mark.parametrize(("handed", "place"), [("cpu memory pids", "delegated"), ("cpu pids", "own"), ("", "own")])
def test_version_two_has_bounds_only_beside_our_group(
    handed: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(tmp_path, handed)
    monkeypatch.setattr(cgroup, "_own_groups", lambda: {"": str(kernel.own)})
    monkeypatch.setattr(os, "mkdir", kernel.mkdir)
    monkeypatch.setattr(os, "rmdir", lambda path: subprocess.run(["rm", "-r", "--", path], check=True))
    owner = os.geteuid() or 1000
    os.chown(tmp_path / "delegated", owner, -1)
    monkeypatch.setattr(os, "geteuid", lambda: owner)
    leaves, bounded = cgroup.make_leaf(64, 10)
    (leaf,) = map(Path, leaves)
    assert (leaf.parent.name, bounded) == (place, place == "delegated")
    if bounded:
        assert (leaf / "pids.max").read_text() == "10"
        assert int((leaf / "memory.max").read_text()) > 64 << 20
    assert cgroup.join(leaves)
    assert (leaf / "cgroup.procs").read_text() == "0"


def test_an_empty_group_of_our_own_number_is_no_obstacle() -> None:
    leaves, bounded = cgroup.make_leaf(64, 10)
    if not leaves:
        pytest.skip("this host delegates no cgroup")
    assert cgroup.make_leaf(64, 10) == (leaves, bounded)
    cgroup.remove(leaves)
    assert not any(map(os.path.exists, leaves))
