"""Files and folders are written whole or not at all."""

import os
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
    with pytest.raises(RuntimeError), atomic.replacing(tmp_path / "f") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert (tmp_path / "f").read_text() == "old"
    assert os.listdir(tmp_path) == ["f"]


def test_a_failing_second_rename_brings_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "old").touch()
    rename, calls = os.rename, []

    def failing(source, target) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(UserError, match="No space left"), atomic.replacing(tmp_path / "d") as folder:
        folder.mkdir()
    assert os.listdir(tmp_path / "d") == ["old"]
    assert os.listdir(tmp_path) == ["d"]


@pytest.mark.parametrize("place", ["file/below", "/proc/nothing"])
def test_an_impossible_place_is_one_sentence(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="choose another place"):
        atomic.write_text(tmp_path / place, "x")
