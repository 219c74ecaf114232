"""One training step on a real GPU with each attention, against the same step in float32 on the processor."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from polyturn.data.batches import Batch, with_targets
from polyturn.model.attention import choose
from polyturn.model.compute import Compute
from polyturn.model.config import ModelConfig
from polyturn.train.config import OptimizerConfig, TrainConfig
from polyturn.train.step import start, train_step
from polyturn.utils.errors import UserError

MODEL = ModelConfig(layers=3, width=256, heads=4, rotary=32, vocab=1000, context=512)
CONFIG = TrainConfig(
    model=MODEL,
    optimizer=OptimizerConfig(peak_rate=1e-3, end_rate=1e-4, warmup=2),
    steps=10,
    rows=4,
    compute=Compute(dtype="float32", attention="reference"),
)


@cache
def batch() -> Batch:
    draw = np.random.default_rng(0)
    segments = np.sort(draw.integers(1, 5, (4, 512))).astype(np.int32)
    segments[1, 400:] = 0
    tokens = draw.integers(0, MODEL.vocab, segments.shape).astype(np.int32)
    return with_targets(tokens, segments, segments > 0)


def step(config: TrainConfig, platform: str) -> tuple[dict[str, float], list[np.ndarray]]:
    """The metrics of the first step and Adam's moments after it, which are the gradient and its square, scaled."""
    with jax.default_device(jax.local_devices(backend=platform)[0]):
        state, metrics = train_step(config, start(config), batch())
        arrays: list[Any] = [a for a in jax.tree.leaves(state.moments) if a.ndim]
        return {name: float(value) for name, value in metrics.items()}, [np.asarray(a) for a in arrays]


@cache
def wanted() -> tuple[dict[str, float], list[np.ndarray]]:
    return step(CONFIG, "cpu")


@pytest.mark.parametrize("backend", ["reference", "chunked", "cudnn", "tokamax"])
@pytest.mark.parametrize("remat", ["none", "full"])
def test_a_step_equals_the_reference_step_on_the_processor(backend: str, remat: str):
    try:
        name = choose(backend, jax.devices()[0], MODEL.head_width, MODEL.context, "bfloat16")
    except UserError as error:
        pytest.skip(str(error))
    config = replace(CONFIG, compute=Compute(dtype="bfloat16", attention=name, remat=remat))
    metrics, moments = step(config, "gpu")
    metrics_wanted, moments_wanted = wanted()
    for key, tolerance in (("loss", 2e-3), ("gradient_norm", 2e-2), ("targets", 0.0)):
        assert metrics[key] == pytest.approx(metrics_wanted[key], rel=tolerance), key
    for ours, theirs in zip(moments, moments_wanted, strict=True):
        assert np.linalg.norm(ours - theirs) <= 0.05 * np.linalg.norm(theirs)


DIGEST = """
import hashlib, sys, jax, numpy as np
from polyturn.parallel.start import prepare_gpus
prepare_gpus(deterministic=True)
sys.path.insert(0, sys.argv[1])
from dataclasses import replace
from test_step import CONFIG, batch
from polyturn.model.compute import Compute
from polyturn.train.step import start, train_step
config = replace(CONFIG, compute=Compute(attention=sys.argv[2]))
state = start(config)
for _ in range(5):
    state, _ = train_step(config, state, batch())
print(hashlib.sha256(b"".join(np.asarray(a).tobytes() for a in jax.tree.leaves(state))).hexdigest())
"""


@pytest.mark.parametrize("backend", ["chunked", "cudnn", "tokamax"])
def test_runs_asked_to_be_deterministic_have_the_same_bits(backend: str):
    try:
        name = choose(backend, jax.devices()[0], MODEL.head_width, MODEL.context, "bfloat16")
    except UserError as error:
        pytest.skip(str(error))
    command = [sys.executable, "-c", DIGEST, str(Path(__file__).parent), name]
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    digests = {subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout for _ in range(2)}
    assert len(digests) == 1
