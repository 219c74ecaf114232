"""tools/find_python.sh, run on made-up machines: folders of scripts that pose as Pythons of any version."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "find_python.sh"

# Runs `python -c CODE ARGUMENTS` as a Python of another version would, one at this path.
POSE = """#!/bin/sh
exec {real} -c '
import sys
sys.version_info, sys.executable = ({version}, 0, "final", 0), "'"$0"'"
{more}
exec(sys.argv.pop(1))
' "$2" "$3"
"""
SHIM = "#!/bin/sh\necho 'pyenv: python3: command not found' >&2\nexit 127\n"
NO_VENV = 'sys.modules["ensurepip"] = None'


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def pose(path: Path, version: str, more: str = "") -> Path:
    """A script that answers as a Python `version` at `path`."""
    return put(path, POSE.format(real=sys.executable, version=version.replace(".", ","), more=more))


def find(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script with the home folder, and by default the PATH, of `tmp_path`."""
    environment = {"HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "bin"), **environment}
    command = ["/bin/sh", str(SCRIPT), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_is_valid_posix_shell():
    for script in SCRIPT.parent.glob("*.sh"):
        subprocess.run(["/bin/sh", "-n", str(script)], check=True)


def test_shim_that_refuses_to_run_is_passed_over_for_the_real_python(tmp_path: Path):
    put(tmp_path / "bin/python3.97", SHIM)
    real = pose(tmp_path / "home/.pyenv/versions/3.97.1/bin/python3.97", "3.97")
    assert find(tmp_path, "3.97").stdout == f"{real}\n"


def test_later_folder_of_path_is_tried_when_the_first_fails(tmp_path: Path):
    put(tmp_path / "shims/python3.12", SHIM)
    real = pose(tmp_path / "bin/python3.12", "3.12")
    assert find(tmp_path, PATH=f"{tmp_path}/shims:{tmp_path}/bin").stdout == f"{real}\n"


@pytest.mark.parametrize("version", ["3.12", "3.13", "3.14"])
def test_plain_python3_is_taken_where_its_version_fits(tmp_path: Path, version: str):
    pose(tmp_path / "a/python3", "3.11")
    real = pose(tmp_path / "b/python3", version)
    assert find(tmp_path, PATH=f"{tmp_path}/a:{tmp_path}/b").stdout == f"{real}\n"


@pytest.mark.parametrize(
    ("version", "more"),
    [
        ("3.11", ""),
        ("3.15", ""),
        ("2.7", ""),
        ("3.12", NO_VENV),
        ("3.12", 'sys.implementation.name = "pypy"'),
        ("3.14", 'import sysconfig; sysconfig.get_config_vars()["Py_GIL_DISABLED"] = 1'),
    ],
    ids=["too old", "too new", "python 2", "no ensurepip", "not CPython", "free-threaded"],
)
def test_python_that_cannot_serve_is_passed_over(tmp_path: Path, version: str, more: str):
    pose(tmp_path / "a/python3.12", version, more)
    real = pose(tmp_path / "b/python3.12", "3.12")
    assert find(tmp_path, PATH=f"{tmp_path}/a:{tmp_path}/b").stdout == f"{real}\n"


@pytest.mark.parametrize(
    "folder",
    [
        ".pyenv/versions/3.97.1/bin",
        ".asdf/installs/python/3.97.1/bin",
        ".local/share/mise/installs/python/3.97.1/bin",
        ".local/share/rtx/installs/python/3.97.1/bin",
        ".local/share/uv/python/cpython-3.97.1-linux-x86_64-gnu/bin",
        "miniconda3/bin",
        "anaconda3/bin",
        "mambaforge/bin",
        "miniforge3/bin",
    ],
)
def test_version_managers_folders_are_searched(tmp_path: Path, folder: str):
    real = pose(tmp_path / "home" / folder / "python3.97", "3.97")
    assert find(tmp_path, "3.97").stdout == f"{real}\n"


@pytest.mark.parametrize(
    ("variable", "folder"),
    [
        ("PYENV_ROOT", "versions/3.97.1/bin"),
        ("ASDF_DATA_DIR", "installs/python/3.97.1/bin"),
        ("MISE_DATA_DIR", "installs/python/3.97.1/bin"),
        ("UV_PYTHON_INSTALL_DIR", "cpython-3.97.1/bin"),
        ("XDG_DATA_HOME", "uv/python/cpython-3.97.1/bin"),
    ],
)
def test_version_manager_that_was_moved_is_found(tmp_path: Path, variable: str, folder: str):
    moved = tmp_path / "a place with spaces"
    real = pose(moved / folder / "python3.97", "3.97")
    assert find(tmp_path, "3.97", **{variable: str(moved)}).stdout == f"{real}\n"


def test_python_given_by_the_user_goes_before_path(tmp_path: Path):
    pose(tmp_path / "bin/python3.12", "3.12")
    mine = pose(tmp_path / "my tools/py", "3.13")
    assert find(tmp_path, PYTHON=str(mine)).stdout == f"{mine}\n"
    by_name = pose(tmp_path / "bin/special", "3.14")
    assert find(tmp_path, PYTHON="special").stdout == f"{by_name}\n"


def test_unsuitable_python_given_by_the_user_is_an_error_not_replaced(tmp_path: Path):
    pose(tmp_path / "bin/python3.12", "3.12")
    old = pose(tmp_path / "old", "3.9")
    for wrong in (str(old), "no-such-python"):
        result = find(tmp_path, PYTHON=wrong)
        assert result.returncode == 1
        assert result.stdout == ""
        assert result.stderr.startswith(f"PYTHON={wrong} is no Python 3.12 to 3.14")


def test_wanted_version_ignores_the_python_given_for_everything_else(tmp_path: Path):
    mine = pose(tmp_path / "mine", "3.12")
    eleven = pose(tmp_path / "bin/python3.11", "3.11")
    assert find(tmp_path, "3.11", PYTHON=str(mine)).stdout == f"{eleven}\n"


def test_no_python_is_one_sentence_that_says_what_to_install(tmp_path: Path):
    result = find(tmp_path, "3.97")
    assert result.returncode == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("No Python 3.97 ")
    assert "apt-get install" in line
    assert "brew install" in line


def test_what_it_finds_on_this_machine_makes_environments(tmp_path: Path):
    environment = {**os.environ, "PYTHON": sys.executable}
    found = subprocess.check_output(["/bin/sh", str(SCRIPT)], env=environment, text=True).strip()
    subprocess.run([found, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    assert (tmp_path / "venv/bin/python").exists()
