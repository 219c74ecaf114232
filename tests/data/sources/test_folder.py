"""Folders: everything in one is read or told why not, whose it is, and nothing outside of it is touched."""

import json
import os
import socket
import subprocess
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from polyturn.data.config import Config, Filter, load
from polyturn.data.sources import Dropped, Raw, Unit, folder, read, units
from polyturn.utils.errors import UserError

MIT = "SPDX-License-Identifier: MIT\n"


def config(path: Path, **rules: Any) -> Config:
    """All languages and licences of a folder, with other rules where given."""
    whole = load("mono", source=str(path))
    return replace(whole, data=replace(whole.data, languages=()), filter=replace(Filter(licences=()), **rules))


def everything(c: Config) -> list[Raw | Dropped]:
    return [each for unit in units(c) for each in read(c, unit)]


def kept(c: Config) -> dict[str, Raw]:
    return {each.path: each for each in everything(c) if isinstance(each, Raw)}


def reasons(c: Config) -> dict[str, str]:
    return {each.id.partition("/")[2]: each.reason for each in everything(c) if isinstance(each, Dropped)}


def write(path: Path, data: str | bytes = "x = 1\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def test_files_in_order_with_ids_bytes_and_languages(tmp_path: Path) -> None:
    write(tmp_path / "c" / "b" / "x.py", "b\n")
    write(tmp_path / "c" / "a.go", "a\r\n")
    write(tmp_path / "c" / "B.md", "\ufeffWords.\n")
    found = everything(config(tmp_path / "c"))
    assert [(r.id, r.path, r.data, r.language) for r in found if isinstance(r, Raw)] == [
        ("c/B.md", "B.md", b"Words.\n", "Text"),  # without the mark of the byte order
        ("c/a.go", "a.go", b"a\r\n", "Go"),
        ("c/b/x.py", "b/x.py", b"b\n", "Python"),
    ]


def test_bytes_that_are_no_document(tmp_path: Path) -> None:
    write(tmp_path / "nul.py", b"a\0b")
    write(tmp_path / "latin.py", "é".encode("latin-1"))
    write(tmp_path / "cut.py", "é".encode()[:1])
    write(tmp_path / "surrogate.py", b"\xed\xa0\x80")
    write(tmp_path / "wide.py", "é".encode("utf-16"))
    write(tmp_path / "empty.py", "")
    write(tmp_path / "data.npy", "text")
    write(tmp_path / "odd.xyz")
    write(tmp_path / "noending")
    write(tmp_path / "both.m", "(* neither *)")
    write(tmp_path / "good.py")
    c = config(tmp_path)
    assert set(kept(c)) == {"good.py"}
    assert reasons(c) == {
        "nul.py": "binary",
        "latin.py": "not-utf-8",
        "cut.py": "not-utf-8",
        "surrogate.py": "not-utf-8",
        "wide.py": "binary",
        "empty.py": "empty",
        "data.npy": "binary",
        "odd.xyz": "unknown-language",
        "noending": "unknown-language",
        "both.m": "unknown-language",
    }


def test_only_the_languages_that_are_wanted(tmp_path: Path) -> None:
    write(tmp_path / "x.py")
    write(tmp_path / "x.go")
    write(tmp_path / "tool", "#!/usr/bin/env python3\n")
    write(tmp_path / "c.h", "int f(int);\n")
    c = config(tmp_path)
    c = replace(c, data=replace(c.data, languages=("Python", "C++")))
    assert set(kept(c)) == {"x.py", "tool"}
    dropped = [each for each in everything(c) if isinstance(each, Dropped)]
    assert [(d.reason, d.language, d.size) for d in dropped] == [("language", "C", 12), ("language", "Go", 6)]


def test_what_is_not_wanted_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "x.go")
    write(tmp_path / "x.pyc")
    write(tmp_path / "x.xyz")
    c = config(tmp_path)
    c = replace(c, data=replace(c.data, languages=("Python",)))
    opened = []
    monkeypatch.setattr(folder, "content", lambda *a: opened.append(a))
    assert len(reasons(c)) == 3
    assert opened == []


def test_sizes_at_the_limits(tmp_path: Path) -> None:
    for size in (9, 10, 20, 21):
        write(tmp_path / f"{size}.py", "#" * size)
    c = config(tmp_path, smallest=10, largest=20)
    assert set(kept(c)) == {"10.py", "20.py"}
    assert reasons(c) == {"9.py": "too-small", "21.py": "too-large"}


def test_a_huge_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(tmp_path / "huge.py", "wb") as file:
        file.truncate(500_000_000)  # a hole: it takes no room on the disk
    c = config(tmp_path)
    monkeypatch.setattr(folder, "open", None, raising=False)  # it would be called to read
    [dropped] = everything(c)
    assert dropped == Dropped(f"{tmp_path.name}/huge.py", 500_000_000, "Python", "too-large")


def test_a_file_that_grows_while_it_is_read_is_not_read_further(tmp_path: Path) -> None:
    path = write(tmp_path / "x.py", "#" * 100)
    assert folder.content(str(path), 99) == "too-large"
    assert folder.content(str(path), 99, cut=True) == b"#" * 99
    if Path("/proc/self/maps").exists():  # its size is told as 0, and it has more
        assert folder.content("/proc/self/maps", 10) == "too-large"


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside" / "secret.py")
    root = tmp_path / "root"
    write(root / "in" / "x.py")
    (root / "in" / "loop").symlink_to(root)
    (root / "self").symlink_to("self")
    (root / "again.py").symlink_to("in/x.py")
    (root / "out.py").symlink_to(outside)
    (root / "outfolder").symlink_to(outside.parent)
    (root / "gone.py").symlink_to("nowhere.py")
    (tmp_path / "roots").symlink_to(root)  # the folder itself may be one
    for path in (root, tmp_path / "roots"):
        c = config(path)
        assert set(kept(c)) == {"in/x.py"}
        assert reasons(c) == {
            "in/loop": "link",
            "self": "link-broken",
            "again.py": "link",
            "out.py": "link-outside",
            "outfolder": "link-outside",
            "gone.py": "link-broken",
        }


def test_other_things_than_files_are_neither_read_nor_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket.py")
        write(tmp_path / "x.py")
        assert reasons(config(tmp_path)) == {"pipe.py": "not-a-file", "socket.py": "not-a-file"}
    (tmp_path / "link.py").symlink_to("x.py")  # put in the place of a file after it was looked at
    assert folder.content(str(tmp_path / "link.py"), 100) == "unreadable"


def test_what_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By refusals of our own, as the tests may be run by root, who may read everything."""
    write(tmp_path / "closed.py")
    write(tmp_path / "shut" / "x.py")
    write(tmp_path / "gone.py")
    write(tmp_path / "open.py")
    scandir, open_ = os.scandir, os.open

    def refuse(function, names):
        def asked(path, *args):
            if Path(path).name in names:
                raise PermissionError(13, "Permission denied")
            return function(path, *args)

        return asked

    c = config(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", refuse(scandir, {"shut"}))
        listed = list(units(c))
    (tmp_path / "gone.py").unlink()  # between listing and reading
    monkeypatch.setattr(os, "open", refuse(open_, {"closed.py"}))
    found = [each for unit in listed for each in read(c, unit)]
    assert {each.id.partition("/")[2] for each in found if isinstance(each, Raw)} == {"open.py"}
    dropped = {each.id.partition("/")[2]: each.reason for each in found if isinstance(each, Dropped)}
    assert dropped == {"closed.py": "unreadable", "shut": "unreadable", "gone.py": "unreadable"}


def test_names_that_are_no_text(tmp_path: Path) -> None:
    write(tmp_path / "new\nline.py")
    try:
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.py"))).write_text("x")
    except OSError:
        pytest.skip("this file system takes no such name")
    c = config(tmp_path)
    assert set(kept(c)) == {"new\nline.py"}
    [(id, reason)] = reasons(c).items()
    assert (id, reason) == ("\\udcff.py", "name")


def test_folders_deeper_than_python_can_call(tmp_path: Path) -> None:
    place = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("d", dir_fd=place)
        inner = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(os.open("x.py", os.O_CREAT | os.O_WRONLY, dir_fd=place))
    os.close(place)
    try:
        assert list(reasons(config(tmp_path))) == ["d/" * 1100 + "x.py"]
    finally:  # pytest would call itself as deep to remove it
        subprocess.run(["rm", "-r", tmp_path / "d"], check=True)


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir(), lambda p: p.write_text("x")])
def test_a_folder_that_holds_nothing_stops_the_build(tmp_path: Path, make) -> None:
    path = tmp_path / "corpus"
    make(path)
    with pytest.raises(UserError, match=r"(holds nothing|Cannot read the folder).*check"):
        list(units(config(path)))


def test_units_are_plain_json_of_about_one_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(50):
        write(tmp_path / f"{n:02}.py", "#" * 100)
        write(tmp_path / f"{n:02}.pyc", "#" * 10_000)  # not opened, so it weighs nothing
    monkeypatch.setattr(folder, "UNIT_BYTES", 1000)
    c = config(tmp_path)
    found = list(units(c))
    assert len(found) == 6
    assert all(unit == Unit(**json.loads(json.dumps(asdict(unit)))) for unit in found)
    assert [len(list(read(c, unit))) for unit in found] == [19, 20, 20, 20, 20, 1]
    assert found == list(units(c))


def git(folder: Path, *arguments: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


def test_repositories_and_their_licences(tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    write(root / "LICENSE", "SPDX-License-Identifier: ISC\n")
    write(root / "loose.py")
    write(root / "plain" / "deep" / "x.py")
    write(root / "own" / "x.py")
    write(root / "own" / "COPYING", MIT)
    write(root / "declared" / "x.py")
    write(root / "declared" / "pyproject.toml", '[project]\nlicense = "Zlib"\n')
    for remote in ("https://me:key@example.com/Some/Repo.git", "git@example.com:Some/Other.git"):
        place = root / "checkouts" / remote[-9:-4].strip("/")
        git(place, "init", "-q")
        git(place, "remote", "add", "origin", remote)
        write(place / "src" / "x.py")
        write(place / "src" / "LICENSE", MIT)
        write(place / "src" / "own" / "x.py", "# SPDX-License-Identifier: Zlib\n")
        write(place / "src" / "own" / "deep" / "x.py")
        write(place / "other.py")
    git(root / "checkouts" / "bare", "init", "-q")
    write(root / "checkouts" / "bare" / "x.py")
    found = {path: (raw.repo, raw.licence) for path, raw in kept(config(root)).items()}
    assert found == {
        "loose.py": ("", "ISC"),
        "plain/deep/x.py": ("plain", "ISC"),
        "own/x.py": ("own", "MIT"),
        "declared/x.py": ("declared", "Zlib"),
        "declared/pyproject.toml": ("declared", "Zlib"),
        **{
            f"checkouts/{name}/{path}": (f"Some/{name}", licence)
            for name in ("Repo", "Other")
            for path, licence in (
                ("src/x.py", "MIT"),
                ("src/own/x.py", "Zlib"),
                ("src/own/deep/x.py", "MIT"),
                ("other.py", ""),  # not that of the folder around the checkout
            )
        },
        "checkouts/bare/x.py": ("checkouts/bare", ""),
    }


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://gitlab.example.com/Group/Sub/tool.git", "Group/Sub/tool"),
        ("git@gitlab.example.com:Group/Sub/tool", "Group/Sub/tool"),
        ("ssh://git@example.com:2222/Group/Sub/tool.git/", "Group/Sub/tool"),
        ("example.com:tool.git", "tool"),
        ("file:///srv/git/owner/tool.git", "owner/tool"),
        ("/srv/git/owner/tool.git", "owner/tool"),
        ("../owner/tool", "owner/tool"),
    ],
)
def test_the_names_of_remotes(tmp_path: Path, url: str, name: str) -> None:
    git(tmp_path, "init", "-q")
    git(tmp_path, "remote", "add", "upstream", url)  # where there is no origin, the first one
    write(tmp_path / "x.py")
    assert [raw.repo for raw in kept(config(tmp_path)).values()] == [name]


def test_a_worktree_is_of_the_repository_that_it_was_made_from(tmp_path: Path) -> None:
    main = tmp_path / "main"
    git(main, "init", "-q")
    git(main, "remote", "add", "origin", "https://example.com/some/repo")
    write(main / "x.py")
    git(main, "add", ".")
    git(main, "-c", "user.name=n", "-c", "user.email=e", "commit", "-qm", "x")
    git(main, "worktree", "add", str(tmp_path / "corpus" / "tree"))
    assert {path: raw.repo for path, raw in kept(config(tmp_path / "corpus")).items()} == {"tree/x.py": "some/repo"}


def test_the_licence_of_a_file_decides_for_it(tmp_path: Path) -> None:
    write(tmp_path / "LICENSE", MIT)
    write(tmp_path / "x.py")
    write(tmp_path / "other.py", "# SPDX-License-Identifier: GPL-3.0-only\nx = 1\n")
    write(tmp_path / "closed" / "LICENSE", "All rights reserved.")
    write(tmp_path / "closed" / "x.py")
    write(tmp_path / "closed" / "open.py", "# SPDX-License-Identifier: MIT\nx = 2\n")
    c = config(tmp_path, licences=("MIT", ""))
    assert set(kept(c)) == {"x.py", "closed/open.py"}
    assert reasons(c)["other.py"] == reasons(c)["closed/x.py"] == "licence"
    assert "closed/x.py" in kept(config(tmp_path, licences=("MIT", "other")))


def test_who_opted_out_is_left_out_wherever_it_is_named(tmp_path: Path) -> None:
    listing = write(tmp_path / "out.txt", "someone/tool\n")
    for place in ("tool", "someone/tool", "mirror/someone/tool/src", "someone/else"):
        write(tmp_path / "corpus" / place / "x.py")
    c = config(tmp_path / "corpus", optout=str(listing))
    assert set(kept(c)) == {"someone/else/x.py"}
    assert reasons(c) == dict.fromkeys(("tool/x.py", "someone/tool/x.py", "mirror/someone/tool/src/x.py"), "opt-out")


def test_a_submodule_is_a_repository_of_its_own(tmp_path: Path) -> None:
    write(tmp_path / ".git" / "config", '[core]\n\tbare\n[remote "origin"]\n\turl = https://example.com/a/outer\n')
    write(
        tmp_path / ".git" / "modules" / "m" / "config", '[remote "origin"]\n\turl = ssh://git@example.com:22/b/inner/\n'
    )
    write(tmp_path / "m" / ".git", "gitdir: ../.git/modules/m\n")
    write(tmp_path / "m" / "x.py")
    write(tmp_path / "src" / "x.py")
    found = {path: raw.repo for path, raw in kept(config(tmp_path)).items()}
    assert found == {"m/x.py": "b/inner", "src/x.py": "a/outer"}


def test_licences_and_the_opt_out_list(tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    for owner, licence in (("free", "MIT"), ("strict", "GPL-3.0-only"), ("asked", "MIT")):
        write(root / owner / "LICENSE", f"SPDX-License-Identifier: {licence}\n")
        write(root / owner / "x.py", f"{owner!r}\n")
    bom = write(root / "free" / "y.py", "\ufeffy = 1\n")
    write(root / "unknown" / "x.py", "u\n")
    blob = subprocess.run(["git", "hash-object", bom], capture_output=True, text=True, check=True).stdout
    listed = write(tmp_path / "out.txt", f"ASKED\n{blob}")
    c = config(root, licences=("MIT",), optout=str(listed))
    assert set(kept(c)) == {"free/x.py"}
    told = reasons(c)
    assert {path: told[path] for path in told if path.endswith(".py")} == {
        "free/y.py": "opt-out",
        "strict/x.py": "licence",
        "asked/x.py": "opt-out",
        "unknown/x.py": "licence",
    }
    assert "unknown/x.py" in kept(config(root, licences=("MIT", "")))


def test_prose_of_python_files(tmp_path: Path) -> None:
    body = '    """Of a class.\n\n    More.\n    """\n    def f(self):\n        "Of f."\n        x = "not this"\n'
    source = '"""Module."""\nclass A:\n' + body
    write(tmp_path / "x.py", source)
    write(tmp_path / "none.py", "x = 1\n")
    write(tmp_path / "broken.py", '"""Words."""\ndef f(:\n')
    write(tmp_path / "odd.py", '"""A\\udc00\\0B \\d"""\n')
    write(tmp_path / "deep.py", "(" * 5000)
    write(tmp_path / "notes.md", "# Notes\n")
    write(tmp_path / "pkg" / "METADATA", "Name: a\nDescription-Content-Type: text/markdown\n\n# A\n")
    write(tmp_path / "x.c", "int x;\n")
    c = config(tmp_path)
    c = replace(
        c,
        source=(replace(c.source[0], prose=True),),
        data=replace(c.data, languages=("Text", "Markdown", "reStructuredText")),
    )
    found = {path: (raw.language, raw.data.decode()) for path, raw in kept(c).items()}
    assert found == {
        "x.py": ("Text", "Module.\n\nOf a class.\n\nMore.\n\nOf f.\n"),
        "odd.py": ("Text", "A?B \\d\n"),
        "notes.md": ("Markdown", "# Notes\n"),
        "pkg/METADATA": ("Markdown", "# A\n"),
    }
    told = reasons(c)
    assert told == {"none.py": "no-prose", "broken.py": "no-prose", "deep.py": "no-prose", "x.c": "language"}


@pytest.mark.parametrize(
    ("target", "licence"),
    [
        ("../LICENSE", "MIT"),
        ("../chained", "ISC"),  # by way of another link
        ("../texts", "BSD-2-Clause"),  # a folder is no licence file, so the metadata beside it decides
        ("../elsewhere", "other"),
        ("LICENSE", "other"),  # to itself
        ("../loop", "other"),
        ("../../outside", "other"),
        ("../leaving/outside", "other"),
        ("../leaving/corpus/LICENSE", "MIT"),  # out of the folder and back into it
    ],
)
def test_a_licence_file_that_is_a_link_says_what_it_points_to_within_the_folder(
    tmp_path: Path, target: str, licence: str
) -> None:
    """What it says is not known otherwise, and what the folder above says is not what it says."""
    root = tmp_path / "corpus"
    write(tmp_path / "outside", MIT)
    write(root / "LICENSE", MIT)
    write(root / "texts" / "ISC.txt", "SPDX-License-Identifier: ISC\n")
    (root / "chained").symlink_to("texts/ISC.txt")
    (root / "loop").symlink_to("sub/LICENSE")
    (root / "leaving").symlink_to(tmp_path)
    write(root / "sub" / "x.py")
    write(root / "sub" / "pyproject.toml", '[project]\nlicense = "BSD-2-Clause"\n')
    (root / "sub" / "LICENSE").symlink_to(target)
    (tmp_path / "named").symlink_to(root)  # the folder itself may be a link
    for path in (root, tmp_path / "named"):
        assert kept(config(path))["sub/x.py"].licence == licence


def test_metadata_that_is_a_link_is_read_within_the_folder(tmp_path: Path) -> None:
    write(tmp_path / "pyproject.toml", '[project]\nlicense = "ISC"\n')
    for name in ("corpus/one", "corpus/other"):
        write(tmp_path / name / "x.py")
    write(tmp_path / "corpus" / "shared" / "project.toml", '[project]\nlicense = "Zlib"\n')
    (tmp_path / "corpus" / "one" / "pyproject.toml").symlink_to("../shared/project.toml")
    (tmp_path / "corpus" / "other" / "pyproject.toml").symlink_to("../../pyproject.toml")
    found = kept(config(tmp_path / "corpus"))
    assert (found["one/x.py"].licence, found["other/x.py"].licence) == ("Zlib", "")
