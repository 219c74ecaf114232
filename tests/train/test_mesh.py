"""A step on a mesh of eight emulated devices is the step on one, for every shape of the mesh."""

from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import jax
import numpy as np
import pytest

from polyturn.data.batches import Batch, with_targets
from polyturn.model import native
from polyturn.model.compute import Compute
from polyturn.model.config import ModelConfig
from polyturn.model.params import initialise
from polyturn.parallel.mesh import BATCH, MeshShape
from polyturn.parallel.rules import make_mesh, sharding, spec
from polyturn.train.config import OptimizerConfig, TrainConfig
from polyturn.train.step import State, evaluate_batch, shardings, start, train_step
from polyturn.utils.errors import UserError

MODEL = ModelConfig(layers=3, width=64, heads=8, rotary=4, vocab=96, context=32)
CONFIG = TrainConfig(MODEL, OptimizerConfig(2e-3, 2e-4, 2), steps=20, rows=16, z_loss=1e-3, compute=Compute("float32"))
SHAPES = [MeshShape(*sizes) for sizes in product((1, 2, 4, 8), repeat=3) if np.prod(sizes) == 8]


def batch(seed: int) -> Batch:
    """Documents of many lengths, some of them not wanted, and padding at the end of each row."""
    draw = np.random.default_rng(seed)
    tokens = draw.integers(0, MODEL.vocab, (16, 32))
    segments = 1 + np.cumsum(draw.random((16, 32)) < 0.15, axis=1)
    segments[:, 28:] = 0
    return with_targets(tokens, segments, (draw.random((16, 32)) < 0.7) & (segments > 0))


def on(mesh: jax.sharding.Mesh, b: Batch) -> Batch:
    return jax.tree.map(lambda a: jax.device_put(a, sharding(mesh, ("batch",))), b)


def steps(config: TrainConfig, place, count: int = 3) -> tuple[State, list[dict[str, float]]]:
    state, lines = start(config), []
    for step in range(count):
        state, metrics = train_step(config, state, place(batch(step)))
        lines.append({name: float(value) for name, value in metrics.items()})
    return state, lines


@pytest.fixture(scope="module")
def alone() -> tuple[State, list[dict[str, float]]]:
    return steps(CONFIG, lambda b: b)


def assert_same(state: State, lines, alone) -> None:
    whole, wanted = alone
    for line, other in zip(lines, wanted, strict=True):
        assert line == pytest.approx(other, rel=2e-5)
    for one, other in zip(jax.tree.leaves(state.moments.mean), jax.tree.leaves(whole.moments.mean), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-6)
    for one, other in zip(jax.tree.leaves(state.params), jax.tree.leaves(whole.params), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)  # Adam divides: a gradient of almost nothing may turn about


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_mesh_takes_the_steps_of_one_device(shape: MeshShape, alone) -> None:
    mesh = make_mesh(shape)
    with jax.set_mesh(mesh):
        state, lines = steps(CONFIG, lambda b: on(mesh, b))
    assert_same(state, lines, alone)


def test_native_products_are_refused_on_a_mesh() -> None:
    if reason := native._missing():
        pytest.skip(f"no native products: {reason}")
    mesh = make_mesh(MeshShape(2, 2, 2))
    config = replace(CONFIG, compute=Compute("bfloat16", products="native"))
    with jax.set_mesh(mesh), pytest.raises(UserError, match="without a mesh"):
        steps(config, lambda b: on(mesh, b), count=1)


@pytest.mark.parametrize("remat", ["attention", "products", "full"])
def test_accumulating_on_a_mesh_with_less_kept(remat: str, alone) -> None:
    mesh = make_mesh(MeshShape(2, 2, 2))
    config = replace(CONFIG, accumulate=2, compute=Compute("float32", remat=remat))
    with jax.set_mesh(mesh):
        state, lines = steps(config, lambda b: on(mesh, b))
    assert_same(state, lines, alone)


def test_bfloat16_on_a_mesh_stays_near_one_device() -> None:
    config = replace(CONFIG, compute=Compute("bfloat16"))
    _, wanted = steps(config, lambda b: b)
    mesh = make_mesh(MeshShape(2, 2, 2))
    with jax.set_mesh(mesh):
        _, lines = steps(config, lambda b: on(mesh, b))
    for line, other in zip(lines, wanted, strict=True):
        assert line["loss"] == pytest.approx(other["loss"], rel=5e-3)
        assert line["gradient_norm"] == pytest.approx(other["gradient_norm"], rel=2e-2)


def test_each_device_holds_its_part_of_weights_and_moments() -> None:
    with jax.set_mesh(make_mesh(MeshShape(2, 2, 2))):
        state = start(CONFIG)
    for tree in (state.params, state.moments.mean, state.moments.square):
        parts = {leaf.sharding.shard_shape(leaf.shape) for leaf in (tree.blocks.w_in,)}
        assert parts == {(3, 32, 7, 32)}
        assert tree.blocks.w_out.sharding.shard_shape(tree.blocks.w_out.shape) == (3, 5, 32, 32)
        assert tree.embedding.sharding.shard_shape(tree.embedding.shape) == (48, 32)


def test_each_device_draws_only_its_part_of_fresh_weights() -> None:
    """The same weights as on one device, in less memory than all of them would take."""
    config = replace(CONFIG, model=ModelConfig(layers=4, width=256, heads=8, rotary=32, vocab=4096))
    wanted = start(config).params
    with jax.set_mesh(make_mesh(MeshShape(1, 8, 1))):
        draw = jax.jit(partial(initialise, config.model), out_shardings=shardings(config).params)
        drawing = draw.lower(jax.random.key(0)).compile()
        drawn = start(config).params
    memory: Any = drawing.memory_analysis()
    assert memory.temp_size_in_bytes < config.model.parameters * 4 / 3
    for one, other in zip(jax.tree.leaves(drawn), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_evaluation_on_a_mesh(accumulate: int) -> None:
    whole, count = evaluate_batch(CONFIG, start(CONFIG).params, batch(0))
    mesh = make_mesh(MeshShape(2, 2, 2))
    config = replace(CONFIG, accumulate=accumulate)
    with jax.set_mesh(mesh):
        value, counted = evaluate_batch(config, start(config).params, on(mesh, batch(0)))
    assert float(value) == pytest.approx(float(whole), rel=1e-5)
    assert float(counted) == float(count)


def test_a_mesh_that_does_not_divide_the_shapes_is_refused() -> None:
    model = replace(MODEL, heads=4, rotary=8)
    with jax.set_mesh(make_mesh(MeshShape(1, 1, 8))), pytest.raises(UserError, match="8 devices along tensor"):
        start(replace(CONFIG, model=model))
    with pytest.raises(UserError, match="16 rows a step do not share out"):
        CONFIG.micro_rows(MeshShape(data=3))


def test_no_array_is_cut_twice_by_one_axis() -> None:
    assert spec(("vocab", "embed")) == jax.sharding.PartitionSpec("tensor", "fsdp")
    assert spec(("batch", None)) == jax.sharding.PartitionSpec(BATCH)
    with pytest.raises(ValueError, match="cut twice"):
        spec(("vocab", "inner"))
