"""From files to a model: shards built, a recipe stopped and carried on, a model trained further on answers alone."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polyturn
from polyturn.cli.main import main
from polyturn.data import shards
from polyturn.data.encode import digest
from polyturn.data.packing import best_fit
from polyturn.data.sampler import Mixture
from polyturn.data.shards import About
from polyturn.hub.catalogue import resolve
from polyturn.recipes import pretraining
from polyturn.recipes.one_device import polyturn_3m
from polyturn.recipes.overrides import override
from polyturn.tokenizer.bpe import load
from polyturn.train import loop

TOKENIZER = load(resolve("polyturn-micro-mono"))
SMALL = [
    "train.steps=6",
    "train.rows=2",
    "train.optimizer.warmup=2",
    "train.save_every=3",
    "train.log_every=1",
    "row=64",
]

HEADS = [f"stages.{n}.train.model.heads=2" for n in (0, 1)]
ROWS = [f"stages.{n}.train.model.vocab=8000" for n in (0, 1)]


def write(folder: Path, texts: list[str], prompts: list[str] | None = None) -> None:
    """Shards of rows of 64 tokens; of a prompt and its answer, the answer alone is to be learned."""
    ends = [[*TOKENIZER.encode(text), TOKENIZER.eos_id] for text in texts]
    begins = [TOKENIZER.encode(prompt) for prompt in prompts or [""] * len(texts)]
    wanted = [[False] * len(a) + [True] * len(b) for a, b in zip(begins, ends, strict=True)] if prompts else None
    ids = [a + b for a, b in zip(begins, ends, strict=True)]
    packed = best_fit(ids, 64, TOKENIZER.size, TOKENIZER.pad_id, wanted)
    about = About("", digest(TOKENIZER), len(texts))
    shards.write(folder, [packed], vocab=TOKENIZER.size, pad_id=TOKENIZER.pad_id, about=about)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    draw = np.random.default_rng(0)
    for name, count in (("train", 60), ("validation", 10)):
        write(folder / name, [f"value_{n} = {draw.integers(10**6)}\n" for n in range(count)])
    return folder


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "small"
    command = ["train", "polyturn_3m", "--data", str(corpus), "--out", str(out), "--set", *SMALL]
    assert main([*command, "--stop-after", "0.01s"]) == 0
    assert not (out / "model").exists()
    assert main(command) == 0
    return out


@pytest.mark.slow
def test_a_recipe_on_shards_stops_goes_on_and_leaves_a_model(trained: Path) -> None:
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in lines if "validation_loss" in line] == [3, 6]
    model = polyturn.load(trained / "model")
    assert len(model.generate("value_1 =", max_tokens=3, temperature=0.0)) == 1


@pytest.mark.slow
def test_a_model_is_trained_further_on_answers_alone(trained: Path, tmp_path: Path) -> None:
    """The loss counts no token of a prompt: as many as the sampler says of each batch, and fewer than there are."""
    write(tmp_path / "mine", [f"answer_{n}\n" for n in range(40)], [f"# question {n}\n" for n in range(40)])
    command = ["train", "finetune", "--start", str(trained), "--data", str(tmp_path / "mine"), "--out"]
    assert main([*command, str(tmp_path / "run"), "--set", *SMALL]) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    opened = shards.open(tmp_path / "mine")
    assert opened.index.masked
    batches = [Mixture([(opened, 1)], 0).batch(k, 2) for k in range(6)]
    assert [line["targets"] for line in lines if "targets" in line] == [b.weights.sum() for b in batches]
    assert all(b.weights.sum() < (b.segments[:, 1:] > 0).sum() - 2 * 5 for b in batches)  # a prompt has some tokens
    before, after = polyturn.load(trained / "model"), polyturn.load(tmp_path / "run" / "model")
    ids = np.array([TOKENIZER.encode("# question 1\n")])
    assert (np.asarray(before.logits(ids)) != np.asarray(after.logits(ids))).any()


def test_a_refused_command_says_nothing_of_the_run(
    trained: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other settings, or other weights to begin with: what is written of the run stays as it was."""
    before = [(trained / name).read_bytes() for name in ("recipe.json", "run.json")]
    command = ["train", "polyturn_3m", "--data", str(corpus), "--out", str(trained)]
    assert main([*command, "--set", *SMALL, "train.seed=2"]) == 2
    assert "holds a run with other settings (seed) and data; choose" in capsys.readouterr().err
    rate = "train.optimizer.peak_rate=0.1"
    assert main([*command, "--set", *SMALL, rate]) == 2
    assert "other settings (optimizer.peak_rate); choose" in capsys.readouterr().err
    assert main([*command, "--start", str(trained), "--set", *SMALL]) == 2
    assert "holds a run with other start" in capsys.readouterr().err
    assert [(trained / name).read_bytes() for name in ("recipe.json", "run.json")] == before
    assert (
        main([*command, "--set", *SMALL, "evaluate=polyturn.recipes.evaluation:held_out_programs"]) == 0
    )  # may change


def test_stopping_and_going_on_are_said_and_what_evaluate_gives_is_checked(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "measures.py").write_text("def three(model):\n    return 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    command = ["train", "polyturn_3m", "--data", str(corpus), "--out", str(tmp_path / "run"), "--set", *SMALL]
    assert main([*command, "--stop-after", "0.01s"]) == 0
    (stopped,) = (tmp_path / "run" / "checkpoints").glob("*.json")
    assert f"Stopped after step {stopped.stem} of 6; run again to go on." in capsys.readouterr().err
    assert main([*command, "evaluate=measures:three"]) == 2
    said = capsys.readouterr().err
    assert f"Going on from step {stopped.stem}." in said
    assert "measures:three must return numbers by name, as in {'pass_rate': 0.5}, not 3." in said


def test_a_run_that_went_wrong_goes_on_in_a_new_folder(trained: Path, corpus: Path, tmp_path: Path) -> None:
    """As the message of a run that gives up says: from its newest checkpoint, with a lower rate and another seed."""
    (trained.parent / "tokenizer").mkdir()  # whatever lies beside a run is not its own
    assert main(["train", "export", str(trained), "--out", str(tmp_path / "good")]) == 0
    (trained.parent / "tokenizer").rmdir()
    command = ["train", "polyturn_3m", "--data", str(corpus), "--out", str(tmp_path / "run"), "--start"]
    command += [str(tmp_path / "good"), "--set", *SMALL]  # the tokenizer is exported too
    command += ["train.seed=1", "train.optimizer.peak_rate=1e-9", "train.optimizer.end_rate=1e-9"]
    assert main(command) == 0
    good, after = (polyturn.load(place) for place in (tmp_path / "good", tmp_path / "run" / "model"))
    ids = np.array([TOKENIZER.encode("value_1 =")])
    assert np.allclose(np.asarray(good.logits(ids)), np.asarray(after.logits(ids)), atol=1e-3)


def test_the_time_to_stop_is_counted_from_the_command(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What opening the shards takes is part of it."""
    given: list[float] = []

    class Enough(Exception):
        pass

    def train(*_: Any, stop_after: float, **__: Any) -> None:
        given.append(stop_after)
        raise Enough

    opening = shards.open
    monkeypatch.setattr(loop, "train", train)
    monkeypatch.setattr(shards, "open", lambda folder: time.sleep(0.1) or opening(folder))
    recipe = override(polyturn_3m(), SMALL)
    with pytest.raises(Enough):
        pretraining.run(recipe, tmp_path / "run", [str(corpus)], stop_after=60.0)
    assert 0 < given[0] <= 60.0 - 0.2  # training and validation


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["polyturn_3m"], "name them with --data"),
        (["finetune", "--data", "CORPUS"], "name it with --start"),
        (["codegen_350m_multi", "--data", "CORPUS"], "begins with the weights of codegen_350m_nl"),
        (["polyturn_3m", "--data", "CORPUS"], "has rows of 64 tokens and polyturn_3m reads 512"),
        (["polyturn_3m", "--data", "CORPUS=x"], "DIR or DIR=WEIGHT"),
        (["polyturn_3m", "--data", "NOWHERE"], "is no folder of shards"),
        (["polyturn_3m", "--data", "CORPUS", "--start", "polyturn-micro-mono"], "model of another shape"),
        (["polyturn_micro_mono", "--data", "CORPUS"], "makes its own data"),
        (
            ["polyturn_3m", "--data", "CORPUS", "--set", "row=64", "train.model.heads=2"],
            "number of heads that 4 divides",
        ),
        (["polyturn_micro_mono", "--set", *HEADS], "number of heads that 4 divides"),
        (["polyturn_micro_mono", "--set", *ROWS], "vocabulary only 8000 rows"),
        (["polyturn_3m", "--data", "CORPUS", "--set", "row=64", "train.rows=2", "train.mesh.data=16"], "does not fit"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_begun(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    words = [word.replace("CORPUS", str(corpus)) for word in arguments]
    assert main(["train", *words[:1], "--out", str(tmp_path / "run"), *words[1:]]) == 2
    assert told in capsys.readouterr().err
    assert not list((tmp_path / "run").glob("*.json"))


def test_shards_of_another_tokenizer_are_refused(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(corpus / "train", tmp_path / "other")
    packed = best_fit([[5, 6, 7]], 64, TOKENIZER.size, TOKENIZER.pad_id)
    shards.write(
        tmp_path / "other", [packed], vocab=TOKENIZER.size, pad_id=TOKENIZER.pad_id, about=About("", "another", 1)
    )
    command = ["train", "polyturn_3m", "--data", str(tmp_path / "other"), "--out", str(tmp_path / "run")]
    assert main([*command, "--set", *SMALL]) == 2
    assert "another tokenizer" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_with_cut_weights_leave_one_model(corpus: Path, tmp_path: Path) -> None:
    """To the end, and once more when all is done; and what they measure on the way is the leading one's."""
    out = tmp_path / "run"
    measure = "def tokens(model):\n    return {'tokens_written': len(model.generate('a', max_tokens=3)[0].ids)}\n"
    (tmp_path / "measure.py").write_text(measure)
    model = [f"train.model.{setting}" for setting in ("layers=2", "width=32", "heads=4", "rotary=8")]
    command = [sys.executable, "-m", "polyturn.cli.main", "train", "polyturn_3m", "--data", str(corpus)]
    command += [
        "--out",
        str(out),
        "--processes",
        "2",
        "--set",
        *SMALL,
        *model,
        "train.mesh.fsdp=2",
        "evaluate=measure:tokens",
    ]
    env = {**os.environ, "JAX_NUM_CPU_DEVICES": "1", "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        jobs = [[*command, "--coordinator", address, "--process", str(index)] for index in range(2)]
        both = [subprocess.Popen(job, env=env, stderr=subprocess.PIPE, text=True) for job in jobs]
        try:
            said = [process.communicate(timeout=300)[1] for process in both]
        finally:
            for process in both:
                process.kill()
        assert [process.returncode for process in both] == [0, 0], said
        assert len(polyturn.load(out / "model").generate("value_1 =", max_tokens=3, temperature=0.0)) == 1
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert sum("tokens_written" in line for line in lines) == 2
