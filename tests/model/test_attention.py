"""Attention against a loop over every position in float64."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyturn.model.attention import attention, causal_mask


def test_mask_shows_what_came_before_in_the_same_document():
    segments = np.array([[0, 0, 1, 1, 1, 2], [3, 3, 3, 3, 3, 3]])
    mask = np.asarray(causal_mask(jnp.asarray(segments)))
    for b, t, s in np.ndindex(*mask.shape):
        assert mask[b, t, s] == (s <= t and segments[b, t] == segments[b, s])


@pytest.mark.parametrize("layout", ["bshk", "bhsk"])
def test_attention_is_a_weighted_mean_of_what_may_be_seen(layout: Literal["bshk", "bhsk"]):
    draw = np.random.default_rng(0)
    q, k, v = (draw.standard_normal((2, n, 3, 8)).astype(np.float32) for n in (4, 6, 6))
    mask = draw.random((2, 4, 6)) < 0.5
    mask[:, :, 0] = True
    keys, values = (a if layout == "bshk" else a.swapaxes(1, 2) for a in (k, v))
    arrays = [jnp.asarray(a) for a in (3 * q, keys, values, mask)]
    ours = np.asarray(attention(arrays[0], arrays[1], arrays[2], arrays[3], layout))
    for b, t, h in np.ndindex(2, 4, 3):
        seen = np.flatnonzero(mask[b, t])
        scores = np.array([3 * q[b, t, h].astype(np.float64) @ k[b, s, h] / 8**0.5 for s in seen])
        weights = np.exp(scores - scores.max())
        wanted = (weights / weights.sum()) @ v[b, seen, h].astype(np.float64)
        np.testing.assert_allclose(ours[b, t, h], wanted, atol=1e-5)


def test_a_row_that_sees_nothing_stays_finite_in_value_and_gradient():
    x = jnp.ones((1, 2, 1, 4), jnp.float32)
    nothing = jnp.zeros((1, 2, 2), bool)
    value, gradient = jax.value_and_grad(lambda q: jnp.sum(attention(q, x, x, nothing)))(x)
    assert jnp.isfinite(value)
    assert jnp.isfinite(gradient).all()


def test_large_scores_do_not_overflow():
    big = jnp.full((1, 3, 1, 4), 1e4, jnp.bfloat16)
    out = attention(big, big, big, causal_mask(jnp.zeros((1, 3), jnp.int32)))
    assert out.dtype == jnp.bfloat16
    assert jnp.isfinite(out).all()
