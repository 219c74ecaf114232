"""What the kernel's files of a cgroup say, in either version: their texts are those of cgroup-v1 and cgroup-v2.rst."""

from pathlib import Path

import pytest

from polyturn.sandbox.cgroup import Account

ONE = {
    "cpuacct.usage": "2500000000\n",
    "memory.oom_control": "oom_kill_disable 0\nunder_oom 1\noom_kill 3\n",
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
        folder.mkdir()
        (folder / name).write_text(text)
        folders.append(str(folder))
    account = Account(folders)
    assert (account.cpu_s(), account.memory_kills()) == (2.5, 3)


def test_where_there_is_no_group_nobody_counts() -> None:
    account = Account([])
    assert (account.cpu_s(), account.memory_kills()) == (None, 0)
