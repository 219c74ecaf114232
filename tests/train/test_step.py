"""The step: optax on the plain loss, its schedule, its guard, its precision."""

from collections.abc import Iterable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_run import CONFIG, MODEL, rows

from polyturn.data.batches import Batch
from polyturn.data.sampler import as_batch
from polyturn.model.compute import Compute
from polyturn.model.decoder import forward, hidden
from polyturn.train import optimizer
from polyturn.train.config import GuardConfig, OptimizerConfig
from polyturn.train.optimizer import decay_mask
from polyturn.train.step import State, evaluate, start, train_step
from polyturn.utils.errors import UserError


def batch(step: int) -> Batch:
    return as_batch(rows().read(np.arange(8 * step, 8 * step + 8) % len(rows())))


def same(one: object, other: object) -> bool:
    return jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.array_equal(a, b)), one, other))


def test_batches_without_targets_leave_no_nan() -> None:
    b = batch(0)
    empty = replace(b, weights=np.zeros_like(b.weights))
    state, metrics = train_step(CONFIG, start(CONFIG), empty)
    assert float(metrics["loss"]) == 0.0
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state.params))


def rates(config: OptimizerConfig, steps: int, which: Iterable[int]) -> object:
    """What the schedule gives for steps by number, counted from 1, to be compared up to float32."""
    return pytest.approx([float(optimizer.rate(config, steps, jnp.int32(step - 1))) for step in which], rel=1e-5)


def test_the_schedule_is_the_papers() -> None:
    o = OptimizerConfig(3e-4, 3e-5, 3000)
    middle = 3000 + (350_000 - 3000) // 2
    wanted = [1e-7, 1.5e-4, 3e-4, (3e-4 + 3e-5) / 2, 3e-5]
    assert wanted == rates(o, 350_000, (1, 1500, 3000, middle, 350_000))


def test_the_schedule_follows_optax() -> None:
    o = OptimizerConfig(3e-4, 3e-5, 100)
    theirs = optax.warmup_cosine_decay_schedule(0.0, 3e-4, 100, 1000, 3e-5)
    with jax.numpy_dtype_promotion("standard"):
        wanted = [float(np.asarray(theirs(step))) for step in range(1, 1001, 37)]
    assert wanted == rates(o, 1000, range(1, 1001, 37))


def test_the_papers_schedule_is_flat_at_the_end() -> None:
    """NL: 350,000 steps, of which the rate goes down over 300,000 after the warm-up."""
    o = OptimizerConfig(3e-4, 3e-5, 3000, anneal=300_000)
    assert rates(o, 350_000, (303_000, 350_000, 153_000)) == [3e-5, 3e-5, (3e-4 + 3e-5) / 2]


def test_warm_up_stable_decay() -> None:
    o = OptimizerConfig(1e-3, 1e-4, 10, anneal=20, schedule="wsd")
    assert rates(o, 100, (5, 10, 50, 80, 90, 100)) == [5e-4, 1e-3, 1e-3, 1e-3, 5.5e-4, 1e-4]


def test_matrices_decay_and_stacked_biases_do_not() -> None:
    mask = decay_mask(CONFIG)
    assert mask.embedding
    assert mask.head
    assert mask.blocks.w_in
    assert mask.blocks.w_out
    vectors = (mask.blocks.b_in, mask.blocks.b_out, mask.blocks.norm_scale, mask.norm_bias, mask.head_bias)
    assert not any(vectors)


def test_steps_are_optax_on_the_plain_loss() -> None:
    """Three float32 steps against optax.adamw and gradients taken through the full logits."""
    config = replace(CONFIG, compute=Compute("float32"))
    ours = start(config)
    params = jax.tree.map(jnp.copy, ours.params)
    theirs = optax.warmup_cosine_decay_schedule(0.0, 2e-3, 20, config.steps, 2e-4)
    adamw = optax.adamw(lambda done: theirs(done + 1), b2=0.99, weight_decay=0.1, mask=decay_mask(config))
    chain = optax.chain(optax.clip_by_global_norm(1.0), adamw)
    moments = chain.init(params)
    for step in range(3):
        b = batch(step)
        assert set(np.unique(b.segments)) <= {0, 1}  # so that logits of whole rows are right

        def plain(p, b=b):
            logits = jax.nn.log_softmax(forward(p, MODEL, jnp.asarray(b.tokens)))
            picked = jnp.take_along_axis(logits, jnp.asarray(b.targets)[..., None], axis=-1)[..., 0]
            return -(picked * b.weights).sum() / b.weights.sum()

        value, gradient = jax.value_and_grad(plain)(params)
        with jax.numpy_dtype_promotion("standard"):
            updates, moments = chain.update(gradient, moments, params)
        params = optax.apply_updates(params, updates)
        ours, metrics = train_step(config, ours, b)
        assert float(metrics["loss"]) == pytest.approx(float(value), rel=1e-5)
        assert float(metrics["gradient_norm"]) == pytest.approx(float(optax.tree.norm(gradient)), rel=1e-4)
    moved = jax.tree.map(lambda p, q: float(jnp.abs(p - q).max()), params, start(config).params)
    apart = jax.tree.map(lambda p, q: float(jnp.abs(p - q).max()), params, ours.params)
    assert min(moved.embedding, moved.head, moved.blocks.w_in, moved.blocks.w_out) > 1e-5
    assert max(jax.tree.leaves(apart)) < 1e-5


def test_a_token_used_often_gets_its_whole_gradient() -> None:
    """4,096 uses of one token, each pulling alike: a sum in bfloat16 would stop at 256."""
    model = replace(MODEL, layers=1)
    params = start(replace(CONFIG, model=model)).params
    tokens = np.full((64, 64), 5, np.int32)

    def pull(dtype: str):
        ones, compute = jnp.ones((64, 64), jnp.int32), Compute(dtype)

        def first(p):
            return hidden(p, model, jnp.asarray(tokens), ones, compute).astype(jnp.float32)[..., 0].sum()

        return jax.grad(first)(params).embedding[5]

    exact, ours = pull("float32"), pull("bfloat16")
    assert float(jnp.linalg.norm(ours - exact) / jnp.linalg.norm(exact)) < 0.02


def test_more_warm_up_than_steps() -> None:
    with pytest.raises(UserError, match="warm up"):
        replace(CONFIG, steps=20)


def test_evaluation_counts_every_position_once() -> None:
    state = start(CONFIG)
    together = evaluate(CONFIG, state.params, [as_batch(rows().read(np.arange(16)))])
    apart = evaluate(CONFIG, state.params, [batch(0), batch(1)])
    assert together == pytest.approx(apart, rel=1e-3)


def test_a_broken_step_is_left_out() -> None:
    """A gradient that is not finite changes nothing but the counts; the next good step goes on."""
    config = replace(CONFIG, compute=Compute("float32"))
    state, _ = train_step(config, start(config), batch(0))
    kept = jax.tree.map(jnp.copy, state)
    b = batch(1)
    broken = replace(b, weights=np.where(b.weights > 0, np.nan, 0).astype(np.float32))
    state, metrics = train_step(config, state, broken)
    assert (float(metrics["skipped"]), float(metrics["skipped_in_a_row"])) == (1.0, 1.0)
    assert same((state.params, state.moments), (kept.params, kept.moments))
    assert int(state.step) == 2
    state, metrics = train_step(config, state, batch(2))
    assert (float(metrics["skipped"]), float(metrics["skipped_in_a_row"])) == (0.0, 0.0)


def test_a_spike_is_left_out_and_noise_is_not() -> None:
    config = replace(CONFIG, guard=GuardConfig(deviations=8.0, window=8), steps=100)
    state, lines = start(config), []
    for step in range(12):
        state, metrics = train_step(config, state, batch(step))
        lines.append({name: float(value) for name, value in metrics.items()})
    assert not any(line["skipped"] for line in lines)
    assert float(state.guard.mean) == pytest.approx(lines[-1]["loss"], rel=0.2)
    wrong = replace(state.params, head=-50 * state.params.head)
    kept = jax.tree.map(jnp.copy, wrong)
    state, metrics = train_step(config, State(state.step, wrong, state.moments, state.guard), batch(12))
    assert float(metrics["skipped"]) == 1.0
    assert same(state.params, kept)


def test_a_batch_without_targets_is_not_held_against_the_run() -> None:
    b = batch(0)
    state, metrics = train_step(CONFIG, start(CONFIG), replace(b, weights=np.zeros_like(b.weights)))
    assert (float(metrics["skipped"]), float(metrics["skipped_in_a_row"])) == (1.0, 0.0)
    assert same(state.params, start(CONFIG).params)


@pytest.mark.parametrize("turns", [2, 4])
def test_accumulating_gives_the_step_of_the_whole_batch(turns: int) -> None:
    config = replace(CONFIG, compute=Compute("float32"))
    whole, wanted = train_step(config, start(config), batch(0))
    parts, metrics = train_step(replace(config, accumulate=turns), start(config), batch(0))
    assert float(metrics["loss"]) == pytest.approx(float(wanted["loss"]), rel=1e-6)
    for one, other in zip(jax.tree.leaves(parts.moments.mean), jax.tree.leaves(whole.moments.mean), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("remat", ["attention", "products", "full"])
def test_what_a_layer_keeps_changes_no_result(remat: str) -> None:
    config = replace(CONFIG, compute=Compute("float32"))
    whole, wanted = train_step(config, start(config), batch(0))
    again, metrics = train_step(replace(config, compute=Compute("float32", remat=remat)), start(config), batch(0))
    assert float(metrics["loss"]) == pytest.approx(float(wanted["loss"]), rel=1e-6)
    for one, other in zip(jax.tree.leaves(again.moments.mean), jax.tree.leaves(whole.moments.mean), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
