"""A held folder is one process's alone, and free again however that process ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from polyturn.utils.errors import UserError
from polyturn.utils.lock import LOCK, hold

HOLDER = """
import sys
from pathlib import Path
from polyturn.utils.lock import hold
with hold(Path(sys.argv[1]), "busy"):
    print("held", flush=True)
    input()
"""


def test_a_held_folder_is_refused_until_its_holder_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "run"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(UserError, match="in use, wait"), hold(folder, "in use, wait"):
            pass
        holder.kill()
    with hold(folder, "in use, wait"):
        pass


def test_an_error_inside_lets_go(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="inside"), hold(tmp_path, "busy"):
        raise ValueError("inside")
    with hold(tmp_path, "busy"):
        pass


def test_what_a_file_of_that_name_held_stays(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text("a user's")
    with hold(tmp_path, "busy"):
        pass
    assert (tmp_path / LOCK).read_text() == "a user's"


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"Cannot write in .*; choose another folder"), hold(tmp_path / "file", "busy"):
        pass
    if os.geteuid():
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(UserError, match="Permission denied"), hold(tmp_path / "closed", "busy"):
            pass
