"""A training run of seconds, for tests to kill, stop and resume; in this process or in one of its own.

python small_run.py FOLDER '{"config": {"steps": 8}, "data": {"hang_at": 5}}'      prints each line of the log
"""

import atexit
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np

from polyturn.data import shards
from polyturn.data.batches import Batch
from polyturn.data.packing import Packed, best_fit
from polyturn.data.repeats import repeats
from polyturn.data.sampler import InOrder, Mixture
from polyturn.data.shards import About, Shards
from polyturn.model.config import ModelConfig
from polyturn.parallel.mesh import MeshShape
from polyturn.parallel.start import processes
from polyturn.train.config import OptimizerConfig, TrainConfig
from polyturn.train.loop import train
from polyturn.train.meter import TIMED
from polyturn.train.step import State
from polyturn.utils.exits import exit_code

MODEL = ModelConfig(layers=2, width=64, heads=4, rotary=8, vocab=64, context=64)
CONFIG = TrainConfig(
    MODEL, OptimizerConfig(2e-3, 2e-4, 20, beta2=0.99), steps=24, rows=8, log_every=2, save_every=6, validate_every=6
)


@cache
def rows(count: int = 200, vocab: int = 64) -> Shards:
    """Rows of 33 tokens below `vocab`, in a folder that lasts as long as this process."""
    ids, wanted = zip(*repeats(3, count, range(2, vocab), 0, 8, 16), strict=True)
    return written(best_fit(ids, 33, vocab, 1, wanted), vocab)


def written(packed: Packed, vocab: int) -> Shards:
    folder = tempfile.TemporaryDirectory(prefix="rows-")
    atexit.register(folder.cleanup)
    shards.write(Path(folder.name) / "rows", [packed], vocab=vocab, pad_id=1, about=About("", "", 0))
    return shards.open(Path(folder.name) / "rows")


def source(count: int = 200, vocab: int = 64, seed: int = 0) -> Mixture:
    return Mixture([(rows(count, vocab), 1)], seed)


def run(folder: Path, config: TrainConfig = CONFIG, **options: Any) -> State:
    options = {"source": source(seed=config.seed), "validation": InOrder(rows(20)), **options}
    return train(config, folder=folder, **options)


def log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a log without what depends on the machine."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in TIMED} for line in lines]


def events(folder: Path) -> list[str]:
    return [line["event"] for line in log(folder) if "event" in line]


def numbers(folder: Path) -> list[dict[str, Any]]:
    return [line for line in log(folder) if "event" not in line]


def same(one: State, other: State) -> bool:
    """Whether two states are equal to the bit."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs)


class Slow(Mixture):
    """Data that takes its time, or never comes, or is broken in the last host's part."""

    def __init__(self, pause_s: float = 0.0, hang_at: int = -1, bad_at: int = -1, seed: int = CONFIG.seed) -> None:
        super().__init__([(rows(), 1)], seed)
        self.pause_s, self.hang_at, self.bad_at = pause_s, hang_at, bad_at

    def batch(self, step: int, size: int, host: int = 0, hosts: int = 1) -> Batch:
        time.sleep(10**6 if step == self.hang_at else self.pause_s)
        batch = super().batch(step, size, host, hosts)
        if step == self.bad_at and host == hosts - 1:
            batch.tokens[0, 0] = MODEL.vocab
        return batch


def start_child(folder: Path, devices: int = 8, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, str(folder), json.dumps(options)]
    env = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def main(
    folder: Path,
    config: dict[str, Any],
    mesh: str = "",
    job: tuple[str, int, int] | None = None,
    data: dict[str, Any] | None = None,
    **options: Any,
) -> None:
    def show(line: Any) -> None:
        print(json.dumps(line), flush=True)

    chosen = replace(CONFIG, mesh=MeshShape.parse(mesh), **config)
    with processes(*job) if job else nullcontext():
        run(folder, chosen, source=Slow(**data or {}), report=show, **options)


if __name__ == "__main__":
    options = {"config": {}, **json.loads(sys.argv[2])}
    sys.exit(exit_code("small_run", lambda: main(Path(sys.argv[1]), **options)))
