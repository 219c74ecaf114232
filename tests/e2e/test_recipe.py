"""A recipe from nothing to a model folder, small, stopped on the way."""

import json
from pathlib import Path

import pytest

import polyturn
from polyturn.cli.main import main
from polyturn.recipes import evaluation

pytestmark = pytest.mark.slow

SMALL = [
    *("programs=300", "copies=60", "stages.0.data.repeats=200", "stages.1.data.repeats=20"),
    *("stages.0.train.steps=4", "stages.0.train.rows=2", "stages.0.train.save_every=2", "stages.0.train.log_every=1"),
    *("stages.1.train.steps=4", "stages.1.train.rows=2", "stages.1.train.save_every=2", "stages.1.train.log_every=1"),
    *("stages.0.train.optimizer.warmup=2", "stages.1.train.optimizer.warmup=2"),
    "evaluate=polyturn.recipes.evaluation:held_out_programs",
]


def test_train_stops_resumes_and_leaves_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "PROGRAMS", 2)
    arguments = ["train", "polyturn_micro_mono", "--out", str(tmp_path / "run"), "--set", *SMALL]
    assert main([*arguments, "--stop-after", "0.01s"]) == 0
    assert not (tmp_path / "run" / "model").exists()
    assert main(arguments) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "1-writing" / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["pass_rate"]) for line in lines if "pass_rate" in line] == [(2, 0.0), (4, 0.0)]
    model = polyturn.load(tmp_path / "run" / "model")
    assert len(model.generate("# Set x to 1.\n", max_tokens=4, temperature=0.0)) == 1
    assert main(arguments) == 0  # finished: nothing is done again, nothing breaks
    assert main([*arguments, "stages.1.train.save_every=3"]) == 0  # how often it saves may change
    assert main([*arguments, "evaluate=polyturn.recipes.evaluation:nothing"]) == 2
    assert "evaluate names no function" in capsys.readouterr().err
    assert main([*arguments, "programs=400"]) == 2
    assert "another recipe" in capsys.readouterr().err
