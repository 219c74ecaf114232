"""`polyturn data`: a build from a folder, what is shown of it, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest

from polyturn.cli.main import main

PROGRAM = "# the {n}th\ndef name_{n}(argument_{n}):\n    return argument_{n} * {n} + other_{n}(argument_{n}, {n})\n"
PLAIN = ["--runner", "plain", "--workers", "1"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "code"
    folder.mkdir()
    (folder / "LICENSE").write_text("SPDX-License-Identifier: MIT\n")
    for n in range(9):
        (folder / f"{n}.py").write_text(PROGRAM.format(n=n))
    (folder / "tool.go").write_text("package tool\n")
    return folder


@pytest.fixture(scope="module")
def built(corpus: Path) -> Path:
    out = corpus.parent / "out"
    assert main(["data", "build", "mono", "--source", str(corpus), "--out", str(out), *PLAIN]) == 0
    return out


def test_a_build_is_shown_and_verified(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "show", str(built), "--samples", "2"]) == 0
    shown = capsys.readouterr().out
    assert "Python            kept                           9" in shown
    assert "--- sample 2 of 2 ---" not in shown  # nine documents fit into one row
    assert "--- sample 1 of 1 ---" in shown
    assert "return argument_" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert main(["data", "show", str(built), "--dropped", "language"]) == 0
    assert "language\t13\tcode/tool.go\n" in capsys.readouterr().out
    assert main(["data", "show", str(built), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sets"]["train"]["documents"] == 9
    assert main(["data", "verify", str(built)]) == 0
    assert capsys.readouterr().out == f"{built / 'train'}: 1 rows, {tokens(built)} tokens, as they were written.\n"


def tokens(built: Path) -> int:
    return json.loads((built / "report.json").read_text())["sets"]["train"]["tokens"]


def test_a_build_that_is_not_whole_is_told(built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copied = shutil.copytree(built, tmp_path / "copied")
    shutil.rmtree(copied / "train")
    assert main(["data", "verify", str(copied)]) == 1
    assert capsys.readouterr().out.startswith(f"{copied / 'train'} is missing;")
    (copied / "report.json").unlink()
    assert main(["data", "verify", str(copied)]) == 2
    assert "is not finished" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["build", "mono", "--source", "s3://bucket/x", "--out", "out"], "s3://bucket/x is not on one"),
        (["build", "mono", "--out", "s3://bucket/x"], "is not on one; give a folder"),
        (["build", "none.toml", "--out", "out"], "installed, nl, multi, mono"),
        (["show", "BUILT", "--samples", "-1"], "There are no -1 samples to show"),
        (["show", "none"], "none holds no finished build"),
        (["verify", "none"], "none holds neither a build nor shards"),
    ],
)
def test_mistakes_are_one_sentence(
    built: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data", *(str(built) if word == "BUILT" else word for word in words)]) == 2
    said = capsys.readouterr()
    assert says in said.err
    assert said.out == ""
    assert not list(tmp_path.iterdir())
