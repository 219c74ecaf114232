"""Files and folders are written whole or not at all."""

import os
import sys
import threading
from pathlib import Path

import pytest

from polyturn.utils import atomic
from polyturn.utils.errors import UserError


def test_a_file_replaces_the_old_one(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "sub" / "f", "one")
    atomic.write_text(tmp_path / "sub" / "f", "two")
    assert (tmp_path / "sub" / "f").read_text() == "two"
    assert os.listdir(tmp_path / "sub") == ["f"]


def test_a_folder_replaces_the_old_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with atomic.replacing(tmp_path / "d") as folder:
            folder.mkdir()
            (folder / name).write_text(name)
    assert os.listdir(tmp_path / "d") == ["b"]
    assert os.listdir(tmp_path) == ["d"]


def test_an_error_leaves_the_old_one(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "f", "old")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError), atomic.replacing(tmp_path / "f") as temporary:
        fail(temporary)
    assert (tmp_path / "f").read_text() == "old"
    assert os.listdir(tmp_path) == ["f"]


def test_the_name_is_on_the_disk_when_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last thing done is to flush the folder, after the rename."""
    seen: list[tuple[bool, list[str]]] = []
    look = lambda path: seen.append((path.is_dir(), os.listdir(tmp_path)))  # noqa: E731
    monkeypatch.setattr(atomic, "sync", look)
    atomic.write_text(tmp_path / "f", "new")
    assert [is_folder for is_folder, _ in seen] == [False, True]
    assert "f" not in seen[0][1]
    assert seen[1][1] == ["f"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges names")
def test_a_folder_is_there_at_every_moment_of_its_replacement(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    missing, done = [], threading.Event()

    def look() -> None:
        while not done.is_set():
            if not os.path.exists(tmp_path / "d"):
                missing.append(1)

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for _ in range(300):
            with atomic.replacing(tmp_path / "d") as folder:
                folder.mkdir()
    finally:
        done.set()
        reader.join()
    assert not missing
    assert os.listdir(tmp_path) == ["d"]


def test_a_folder_is_replaced_where_names_cannot_be_exchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
    test_a_folder_replaces_the_old_one(tmp_path)


@pytest.mark.parametrize(
    ("error", "raised"), [(OSError(28, "No space left on device"), UserError), (KeyboardInterrupt(), KeyboardInterrupt)]
)
def test_a_failing_second_rename_brings_the_old_folder_back(
    error: BaseException, raised: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "old").touch()
    rename, calls = os.rename, []

    def failing(source, target) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise error
        rename(source, target)

    monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(raised), atomic.replacing(tmp_path / "d") as folder:
        folder.mkdir()
    assert os.listdir(tmp_path / "d") == ["old"]
    assert os.listdir(tmp_path) == ["d"]


@pytest.mark.parametrize("place", ["file/below", "/proc/nothing"])
def test_an_impossible_place_is_one_sentence(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="choose another place"):
        atomic.write_text(tmp_path / place, "x")


def test_a_file_never_replaces_a_folder_nor_a_folder_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "precious").touch()
    (tmp_path / "file").write_text("precious")
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(UserError, match=rf"{name} is not a file, .*; choose another place"):
            atomic.write_text(tmp_path / name, "x")
    for name in ("file", "pipe"):
        with (
            pytest.raises(UserError, match=rf"{name} is not a folder, .*; choose another place"),
            atomic.replacing(tmp_path / name) as folder,
        ):
            folder.mkdir()
    assert (tmp_path / "file").read_text() == "precious"
    assert (tmp_path / "folder" / "precious").exists()
    assert (tmp_path / "pipe").is_fifo()
    assert sorted(os.listdir(tmp_path)) == ["file", "folder", "pipe"]


def test_the_current_folder_can_be_written_by_its_short_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with atomic.replacing(".") as folder:
        folder.mkdir()
        (folder / "f").touch()
    assert os.listdir(tmp_path / "here") == ["f"]
    assert os.listdir(tmp_path) == ["here"]
    with pytest.raises(UserError, match="choose another place"), atomic.replacing("/"):
        pass


def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "big" / "disk").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "big" / "disk")
    with atomic.replacing(tmp_path / "link") as folder:
        folder.mkdir()
        (folder / "new").touch()
    assert (tmp_path / "link").is_symlink()
    assert os.listdir(tmp_path / "big" / "disk") == ["new"]
    assert sorted(os.listdir(tmp_path)) == ["big", "link"]


def test_only_a_folder_without_other_files_is_replaceable(tmp_path: Path) -> None:
    atomic.check_replaceable(tmp_path / "new", {"a"})
    (tmp_path / "a").touch()
    atomic.check_replaceable(tmp_path, {"a", "b"})
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=r"notes\.txt for one; choose a new folder"):
        atomic.check_replaceable(tmp_path, {"a", "b"})
    with pytest.raises(UserError, match=r"Not a directory.*; choose another place"):
        atomic.check_replaceable(tmp_path / "a", {"a"})
