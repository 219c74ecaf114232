"""The opt-out list: owners, repositories, and hashes as git and sha256sum tell them."""

import subprocess
from pathlib import Path

import pytest

from polyturn.data.optout import OptOut
from polyturn.utils.errors import UserError


def listing(folder: Path, text: str) -> OptOut:
    path = folder / "out.txt"
    path.write_text(text)
    return OptOut.load(path)


def test_owners_and_repositories(tmp_path: Path) -> None:
    out = listing(tmp_path, "# asked in March\nSomeone\n\nother/Repo.py # one of theirs\n")
    assert out.lists_repo("someone/anything")
    assert out.lists_repo("SOMEONE")
    assert out.lists_repo("Other/repo.py")
    assert not out.lists_repo("other/repo")
    assert not out.lists_repo("other")
    assert not out.lists_repo("")


def test_groups_of_groups(tmp_path: Path) -> None:
    out = listing(tmp_path, "Group/Sub/tool\nouter\na/b\n")
    assert out.lists_repo("group/sub/TOOL")
    assert not out.lists_repo("group/sub/tools")
    assert not out.lists_repo("group/sub")
    assert out.lists_repo("outer/any/thing")
    assert not out.lists_repo("inner/outer")


def test_what_is_known_only_in_part_is_rather_left_out(tmp_path: Path) -> None:
    out = listing(tmp_path, "someone/tool\n")
    assert out.lists_repo("tool")  # by whom is not known
    assert out.lists_repo("someone/tool")
    assert out.lists_repo("mirror/someone/tool")
    assert out.lists_repo("someone/tool/part")
    assert not out.lists_repo("another/tool")
    assert not out.lists_repo("someone")
    assert out.lists_folder("checkouts/Someone/tool/src")
    assert not out.lists_folder("checkouts/someone/else/tool")
    assert not out.lists_folder("tool")


def test_hashes_as_git_and_sha256sum_tell_them(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"\xef\xbb\xbfprint(1)\r\n")
    for command in (["git", "hash-object", "x"], ["sha256sum", "x"]):
        told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split()[0]
        out = listing(tmp_path, told.upper())
        assert out.lists_bytes(file.read_bytes())
        assert not out.lists_bytes(b"print(1)\r\n")


def test_mistakes_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Line 2 of .* is no owner"):
        listing(tmp_path, "good\nhttps://example.com/a/b\n")
    with pytest.raises(UserError, match="Cannot read the opt-out list"):
        OptOut.load(tmp_path / "none")


@pytest.mark.parametrize(
    "written",
    [
        "https://github.com/alice/x",
        "git@github.com:alice/x.git",
        "ssh://git@host.org:22/alice/x",
        "github.com/alice/x/",
    ],
)
def test_addresses_are_repositories_too(tmp_path: Path, written: str) -> None:
    assert listing(tmp_path, "alice\n").lists_repo(written)
    assert listing(tmp_path, "alice/x\n").lists_repo(written)
    assert not listing(tmp_path, "alice/y\nx\n").lists_repo(written)
