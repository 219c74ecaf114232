"""Training: exact through kills, right in its parts, and able to learn the one thing that matters here."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyturn.data.batches import as_batch
from polyturn.data.packing import Rows, pack
from polyturn.data.repeats import repeats
from polyturn.model.config import ModelConfig
from polyturn.model.decoder import forward
from polyturn.train.config import OptimizerConfig, TrainConfig
from polyturn.train.loop import train
from polyturn.train.step import evaluate, start
from polyturn.utils.errors import UserError
from polyturn.utils.lock import LOCK

MODEL = ModelConfig(layers=2, width=64, heads=4, rotary=8, vocab=64, context=64)
CONFIG = TrainConfig(MODEL, OptimizerConfig(2e-3, 2e-4, 20, beta2=0.99), steps=24, rows=8, log_every=2, save_every=6)


def rows(count: int = 200, length: int = 33) -> Rows:
    return pack(repeats(3, count, range(2, 64), 0, 8, 16), length, pad_id=1)


def log(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "tokens_per_s"} for line in lines]


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path({tests!r})))
from train.test_training import CONFIG, rows
from polyturn.train.loop import train
from train.test_training import held_loss
train(CONFIG, rows(), Path(sys.argv[1]), evaluate=held_loss, report=lambda line: print(line, flush=True))
"""


def held_loss(params) -> dict[str, float]:
    return {"validation_loss": evaluate(CONFIG, params, [as_batch(rows(), np.arange(8))])}


@pytest.mark.slow
def test_kills_change_nothing(tmp_path: Path) -> None:
    """kill -9 at random steps, again and again: bitwise the losses and weights of an unbroken run."""
    whole = train(CONFIG, rows(), tmp_path / "whole", evaluate=held_loss)
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    rng = random.Random(seed)
    tests = str(Path(__file__).parents[1])
    kills = 0
    while True:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD.format(tests=tests), str(tmp_path / "killed")], stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        lines = rng.randint(1, 4) if kills < 3 else 10**6
        for _, _line in zip(range(lines), child.stdout, strict=False):
            pass
        if kills < 3:
            time.sleep(rng.random() * 0.1)
            child.send_signal(signal.SIGKILL)
        child.stdout.close()
        code = child.wait()
        if code == 0:
            break
        assert code == -signal.SIGKILL
        kills += 1
    assert kills == 3
    assert log(tmp_path / "killed") == log(tmp_path / "whole")
    assert sum("validation_loss" in line for line in log(tmp_path / "killed")) == CONFIG.steps // CONFIG.save_every
    again = train(CONFIG, rows(), tmp_path / "killed")
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(whole), strict=True):
        assert np.array_equal(np.asarray(a), np.asarray(b))


def test_stopping_in_time_and_going_on(tmp_path: Path) -> None:
    whole = train(CONFIG, rows(), tmp_path / "a")
    part = train(CONFIG, rows(), tmp_path / "b", stop_after=0.0)
    assert int(part.step) < CONFIG.steps
    rest = train(CONFIG, rows(), tmp_path / "b")
    assert jax.tree.all(jax.tree.map(lambda x, y: bool(jnp.array_equal(x, y)), rest, whole))


def test_a_small_model_learns_to_copy(tmp_path: Path) -> None:
    """The whole of attention, rotary embedding, packing, loss and optimiser: copying must reach 100 %."""
    rng = np.random.default_rng(0)

    def repeated_once(count: int) -> Rows:
        """No token twice before the repeat, so that there is one right answer; one document a row."""
        drawn = [(rng.permutation(62)[: rng.integers(12, 17)] + 2).tolist() for _ in range(count)]
        return pack((([*d, 0, *d], [False] * (len(d) + 1) + [True] * len(d)) for d in drawn), 33, pad_id=1)

    config = replace(CONFIG, steps=800, rows=32, log_every=100, save_every=800)
    config = replace(config, optimizer=replace(config.optimizer, peak_rate=3e-3))
    state = train(config, repeated_once(16_000), tmp_path)
    held = as_batch(repeated_once(200), np.arange(200))
    predicted = np.asarray(forward(state.params, MODEL, jnp.asarray(held.tokens))).argmax(-1)
    counted = held.weights > 0
    assert np.mean(predicted[counted] == held.targets[counted]) == 1.0


def test_another_run_in_the_folder_is_refused(tmp_path: Path) -> None:
    train(CONFIG, rows(), tmp_path, stop_after=0.0)
    with pytest.raises(UserError, match="other settings"):
        train(replace(CONFIG, seed=1), rows(), tmp_path)
    with pytest.raises(UserError, match="other data"):
        train(CONFIG, rows(100), tmp_path)


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    lock = "import fcntl, sys; h = open(sys.argv[1], 'w'); fcntl.flock(h, fcntl.LOCK_EX)"
    holder = f"{lock}; print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path / LOCK)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(UserError, match="Another process"):
            train(CONFIG, rows(), tmp_path)
        child.communicate(b"\n")


def test_a_broken_loss_stops_the_run_and_is_not_saved(tmp_path: Path) -> None:
    train(CONFIG, rows(), tmp_path, stop_after=0.0)
    start_again = jax.tree.map(lambda a: a * jnp.nan, start(CONFIG).params)
    with pytest.raises(UserError, match="not finite"):
        train(CONFIG, rows(), tmp_path / "nan", initial=start_again)
    assert not list((tmp_path / "nan" / "checkpoints").glob("[0-9]*"))
