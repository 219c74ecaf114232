"""`polyturn perplexity` on the built-in model."""

import io
import json
from pathlib import Path

import pytest

import polyturn
from polyturn.cli.main import main

TEXTS = {"a.py": "# Set x to 1.\nx = 1\n", "b.py": "x = [1, 2, 3]\nprint(x)\n"}


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for name, text in TEXTS.items():
        (tmp_path / name).write_text(text)
    return [str(tmp_path / name) for name in TEXTS]


@pytest.mark.slow
def test_each_file_alone_and_all_of_them_by_token(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["perplexity", *files, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    model = polyturn.load()
    assert (told["model"], told["digest"]) == (model.name, model.digest)
    for file, row, text in zip(files, told["files"], TEXTS.values(), strict=True):
        assert row == {
            "file": file,
            "tokens": len(model.tokenizer.encode(text)),
            "perplexity": pytest.approx(model.perplexity(text), rel=1e-5),
        }
    assert told["tokens"] == sum(row["tokens"] for row in told["files"])
    product = 1.0
    for row in told["files"]:
        product *= row["perplexity"] ** ((row["tokens"] - 1) / (told["tokens"] - len(files)))
    assert told["perplexity"] == pytest.approx(product, rel=1e-5)


@pytest.mark.slow
def test_standard_input_and_the_table(
    files: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(TEXTS["a.py"].encode())))
    assert main(["perplexity", "-", files[0]]) == 0
    heading, first, second, total = capsys.readouterr().out.splitlines()
    assert heading.split() == ["perplexity", "tokens", "text"]
    assert first.split()[:2] == second.split()[:2] == [total.split()[0], first.split()[1]]
    assert (first.endswith("standard input"), total.endswith("all")) == (True, True)
