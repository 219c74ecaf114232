"""Verifying a build: everything that the report says must be there, and nothing else."""

import json
import shutil
from pathlib import Path

import pytest

from polyturn.data.build import build
from polyturn.data.config import load
from polyturn.data.runner import open_runner
from polyturn.data.verify import verify
from polyturn.hub.catalogue import DEFAULT, resolve
from polyturn.utils.errors import UserError

CONFIG = """
[[source]]
kind = "folder"
path = "corpus"
[filter]
licences = []
comment_ratio = [0.0, 1.0]
[pack]
row = 64
[shard]
validation = 0.3
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify")
    (folder / "corpus").mkdir()
    for number in range(20):
        text = "".join(f"name_{number}_{i} = {number * 31 + i} * other_{i * number}\n" for i in range(9))
        (folder / "corpus" / f"{number}.py").write_text(text)
    (folder / "mine.toml").write_text(CONFIG)
    build(load(folder / "mine.toml"), folder / "out", resolve(DEFAULT), open_runner("plain", 1))
    return folder / "out"


@pytest.fixture
def copied(built: Path, tmp_path: Path) -> Path:
    return shutil.copytree(built, tmp_path / "copied")


def test_a_build_as_it_was_written_has_no_problems(built: Path) -> None:
    assert verify(built) == []
    assert verify(built / "train") == []


@pytest.mark.parametrize("name", ["train", "validation"])
def test_shards_that_are_missing_or_changed(copied: Path, name: str) -> None:
    tokens = copied / name / "00000.tokens"
    data = bytearray(tokens.read_bytes())
    data[0] ^= 1
    tokens.write_bytes(data)
    assert any("SHA-256 differs" in problem and f"/{name}:" in problem for problem in verify(copied))
    shutil.rmtree(copied / name)
    [problem] = verify(copied)
    assert problem.startswith(f"{copied / name} is missing; run `polyturn data build`")


def test_shards_of_another_build_are_told(built: Path, copied: Path) -> None:
    """They are whole in themselves."""
    shutil.rmtree(copied / "train")
    shutil.copytree(built / "validation", copied / "train")
    problems = verify(copied)
    assert len(problems) == 5
    assert all("train: report.json says" in problem for problem in problems)


def test_validation_that_nobody_asked_for(copied: Path) -> None:
    report = json.loads((copied / "report.json").read_text())
    del report["sets"]["validation"]
    (copied / "report.json").write_text(json.dumps(report))
    assert verify(copied) == [f"{copied / 'validation'} is not in report.json."]


def test_what_is_no_finished_build(copied: Path, tmp_path: Path) -> None:
    (copied / "report.json").unlink()
    with pytest.raises(UserError, match="is not finished; run `polyturn data build` again"):
        verify(copied)
    with pytest.raises(UserError, match="holds neither a build nor shards"):
        verify(tmp_path)
