"""The built-in model through the whole house: folder, engine, session, sandbox, score, command line."""

import json
from pathlib import Path

import pytest

import polyturn
from polyturn.bench.curriculum import score
from polyturn.cli.main import main
from polyturn.engine.types import Sampling
from polyturn.hub.catalogue import resolve

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model():
    return polyturn.load()


def test_it_is_as_small_as_promised(model) -> None:
    folder = resolve(model.name)
    assert 3e6 <= model.config.parameters <= 6e6
    assert sum(f.stat().st_size for f in folder.iterdir()) <= 12 * 2**20


def test_a_session_copies_names_and_values_it_never_saw(model) -> None:
    session = polyturn.Session(model, sampling=Sampling(temperature=0.0, max_tokens=64))
    session.turn("Assign the list [41, 7, 93] to a variable named zubrelk.")
    step = session.turn("Print zubrelk.")
    assert step.output == "[41, 7, 93]\n"


def test_it_writes_most_held_out_programs(model) -> None:
    """A guard against damage; the score itself stands in the README, measured on more programs."""
    assert score(model, "test", 60).pass_rate >= 0.6


def test_the_demo_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo"]) == 0
    assert "3 of 3 programs ran to their end" in capsys.readouterr().out


def test_synth_and_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "turns.txt").write_text("Set zub to 47.\nPrint zub.\n")
    assert main(["synth", str(tmp_path / "turns.txt"), "--out", str(tmp_path / "p.json"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "p.json").read_text())
    assert printed["turns"][-1]["output"] == "47\n"


def test_sample_prints_n(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", "# Set zub to 47.\n", "--n", "2", "--max-tokens", "16", "--json"]) == 0
    assert len([json.loads(line) for line in capsys.readouterr().out.splitlines()]) == 2
