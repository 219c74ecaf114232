"""Training: right in its parts, and able to learn the one thing that matters here."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_run import CONFIG, MODEL, rows

from polyturn.data.batches import as_batch
from polyturn.data.packing import Rows, pack
from polyturn.model.decoder import forward, hidden
from polyturn.train.config import OptimizerConfig
from polyturn.train.data import Shuffled
from polyturn.train.loop import train
from polyturn.train.optimizer import decay_mask, schedule
from polyturn.train.step import evaluate, start, train_step
from polyturn.utils.errors import UserError


def test_a_small_model_learns_to_copy(tmp_path: Path) -> None:
    """The whole of attention, rotary embedding, packing, loss and optimiser: copying must reach 100 %."""
    rng = np.random.default_rng(0)

    def repeated_once(count: int) -> Rows:
        """No token twice before the repeat, so that there is one right answer; one document a row."""
        drawn = [(rng.permutation(62)[: rng.integers(12, 17)] + 2).tolist() for _ in range(count)]
        return pack((([*d, 0, *d], [False] * (len(d) + 1) + [True] * len(d)) for d in drawn), 33, pad_id=1)

    config = replace(CONFIG, steps=800, rows=32, log_every=100, save_every=800)
    config = replace(config, optimizer=replace(config.optimizer, peak_rate=3e-3))
    state = train(config, Shuffled(repeated_once(16_000), config.seed), tmp_path)
    held = as_batch(repeated_once(200), np.arange(200))
    predicted = np.asarray(forward(state.params, MODEL, jnp.asarray(held.tokens))).argmax(-1)
    counted = held.weights > 0
    assert np.mean(predicted[counted] == held.targets[counted]) == 1.0


def test_batches_without_targets_leave_no_nan() -> None:
    b = as_batch(rows(), np.arange(8))
    empty = replace(b, weights=np.zeros_like(b.weights))
    state, metrics = train_step(CONFIG, start(CONFIG), empty)
    assert float(metrics["loss"]) == 0.0
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state.params))


def test_the_schedule_is_the_papers() -> None:
    o = OptimizerConfig(3e-4, 3e-5, 3000)
    rate = schedule(o, 350_000)
    middle = 3000 + (350_000 - 3000) // 2
    with jax.numpy_dtype_promotion("standard"):  # the argument counts the steps done before
        at = [float(np.asarray(rate(step - 1))) for step in (1, 1500, 3000, middle, 350_000)]
    assert at == pytest.approx([1e-7, 1.5e-4, 3e-4, (3e-4 + 3e-5) / 2, 3e-5], rel=1e-3)


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
    config = replace(CONFIG, compute="float32")
    ours = start(config)
    params = jax.tree.map(jnp.copy, ours.params)
    rate = schedule(config.optimizer, config.steps)
    adamw = optax.adamw(rate, b2=0.99, weight_decay=0.1, mask=decay_mask(config))
    chain = optax.chain(optax.clip_by_global_norm(1.0), adamw)
    moments = chain.init(params)
    for step in range(3):
        b = as_batch(rows(), np.arange(8 * step, 8 * step + 8))
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

    def pull(dtype):
        ones = jnp.ones((64, 64), jnp.int32)
        return jax.grad(lambda p: hidden(p, model, jnp.asarray(tokens), ones, dtype).astype(jnp.float32)[..., 0].sum())(
            params
        ).embedding[5]

    exact, ours = pull(jnp.float32), pull(jnp.bfloat16)
    assert float(jnp.linalg.norm(ours - exact) / jnp.linalg.norm(exact)) < 0.02


def test_more_warm_up_than_steps() -> None:
    with pytest.raises(UserError, match="warm up"):
        replace(CONFIG, steps=20)


def test_evaluation_counts_every_position_once() -> None:
    state = start(CONFIG)
    r = rows()
    together = evaluate(CONFIG, state.params, [as_batch(r, np.arange(16))])
    apart = evaluate(CONFIG, state.params, [as_batch(r, np.arange(8)), as_batch(r, np.arange(8, 16))])
    assert together == pytest.approx(apart, rel=1e-3)
