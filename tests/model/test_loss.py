"""Chunked cross-entropy equals its plain twin, in value and in every gradient."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.typing import DTypeLike

from polyturn.model.loss import cross_entropy, reference_cross_entropy

N, D, V = 22, 8, 31
WEIGHTS = {
    "ones": np.ones(N),
    "uneven": np.linspace(0.1, 3, N),
    "few": np.where(np.arange(N) % 5 == 3, 2.0, 0.0),
    "last": np.where(np.arange(N) == N - 1, 1.0, 0.0),
    "none": np.zeros(N),
}


def inputs(dtype: DTypeLike = jnp.float32) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    draw = np.random.default_rng(0)
    x, head, bias = draw.standard_normal((N, D)), draw.standard_normal((D, V)), draw.standard_normal(V)
    targets = jnp.asarray(draw.integers(0, V, N), jnp.int32)
    return jnp.asarray(x, dtype), jnp.asarray(head, dtype), jnp.asarray(bias, dtype), targets


def with_gradients(loss: Callable[..., jax.Array]) -> Callable[..., tuple[jax.Array, tuple[jax.Array, ...]]]:
    """The loss, scaled so that a lost factor shows, and its gradients by x, head and bias."""
    return jax.jit(jax.value_and_grad(lambda *arguments: 0.7 * loss(*arguments), argnums=(0, 1, 2)))


@pytest.mark.parametrize("chunk", [1, 7, 11, 1000])
def test_value_and_gradients_equal_the_plain_twin(chunk: int):
    *floats, targets = inputs()
    chunked = partial(cross_entropy, chunk=chunk)
    ours, alone, plain = with_gradients(chunked), jax.jit(chunked), with_gradients(reference_cross_entropy)
    for name, weights in WEIGHTS.items():
        w = jnp.asarray(weights, jnp.float32)
        value, gradients = ours(*floats, targets, w)
        wanted, wanted_gradients = plain(*floats, targets, w)
        assert float(value) == pytest.approx(float(wanted), rel=1e-5), name
        assert 0.7 * float(alone(*floats, targets, w)) == pytest.approx(float(wanted), rel=1e-5), name
        for mine, theirs in zip(gradients, wanted_gradients, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=2e-5, err_msg=name)


def test_twin_is_the_negative_log_likelihood():
    x, head, bias, targets = inputs()
    w = jnp.asarray(WEIGHTS["uneven"], jnp.float32)
    scores = np.asarray(x, np.float64) @ np.asarray(head, np.float64) + np.asarray(bias, np.float64)
    likelihood = np.exp(scores)[np.arange(N), targets] / np.exp(scores).sum(-1)
    wanted = -(WEIGHTS["uneven"] * np.log(likelihood)).sum()
    assert float(reference_cross_entropy(x, head, bias, targets, w)) == pytest.approx(wanted, rel=1e-5)


def test_rows_without_weight_get_no_gradient_and_lend_none():
    x, head, bias, targets = inputs()
    w = jnp.asarray(WEIGHTS["few"], jnp.float32)
    gradient = jax.jit(jax.grad(partial(cross_entropy, chunk=4)))(x, head, bias, targets, w)
    counted = np.asarray(w) > 0
    assert not np.asarray(gradient)[~counted].any()
    assert np.abs(np.asarray(gradient)[counted]).min(axis=1).all()
    elsewhere = x.at[~counted].set(100.0)
    assert float(cross_entropy(elsewhere, head, bias, targets, w, chunk=4)) == float(
        cross_entropy(x, head, bias, targets, w, chunk=4)
    )


def test_bfloat16_stays_near_float32_and_keeps_its_types():
    *floats, targets = inputs(jnp.bfloat16)
    w = jnp.asarray(WEIGHTS["uneven"], jnp.float32)

    value, gradients = with_gradients(partial(cross_entropy, chunk=4))(*floats, targets, w)
    assert value.dtype == jnp.float32
    assert [g.dtype for g in gradients] == [f.dtype for f in floats]
    wide = [f.astype(jnp.float32) for f in floats]
    exact, exact_gradients = with_gradients(reference_cross_entropy)(*wide, targets, w)
    assert float(value) == pytest.approx(float(exact), rel=1e-4)
    for mine, theirs in zip(gradients, exact_gradients, strict=True):
        error = jnp.abs(mine.astype(jnp.float32) - theirs).max()
        assert float(error) <= 0.02 * float(jnp.abs(theirs).max())


def test_full_logits_are_never_held():
    n, v = 4096, 512
    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((n, D), (D, v), (v,))]
    rows = [jax.ShapeDtypeStruct((n,), jnp.int32), jax.ShapeDtypeStruct((n,), jnp.float32)]

    def step(x, head, bias, targets, w):
        return jax.grad(cross_entropy, argnums=(0, 1, 2))(x, head, bias, targets, w, chunk=128)

    memory = jax.jit(step).lower(*shapes, *rows).compile().memory_analysis()
    assert memory is not None
    assert memory.temp_size_in_bytes < n * v * 4 / 4  # the logits alone would take four times this


def test_z_loss_has_the_value_and_gradients_of_the_plain_twin():
    x, head, bias, targets = inputs()
    floats = (x, head, bias)
    w = jnp.asarray(WEIGHTS["uneven"], jnp.float32)
    value, gradients = with_gradients(partial(cross_entropy, z=0.1, chunk=7))(*floats, targets, w)
    wanted, wanted_gradients = with_gradients(partial(reference_cross_entropy, z=0.1))(*floats, targets, w)
    assert float(value) == pytest.approx(float(wanted), rel=1e-5)
    assert float(wanted) > 1.01 * float(0.7 * reference_cross_entropy(x, head, bias, targets, w))
    for mine, theirs in zip(gradients, wanted_gradients, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5)
