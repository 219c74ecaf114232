"""Norm, rotary embedding and products, against complex numbers, float64 and JAX's own derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyturn.model.ops import layer_norm, rotary_tables, rotate


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(("head_width", "rotary"), [(16, 16), (16, 4), (80, 64), (256, 32)])
def test_rotation_is_a_product_with_complex_numbers(head_width: int, rotary: int):
    x = normal(0, 2, 5, 3, head_width)
    positions = np.array([[0, 1, 2, 3, 2047], [7, 100, 1000, 5, 0]])
    ours = rotate(jnp.asarray(x), rotary_tables(jnp.asarray(positions, jnp.int32), rotary))

    pairs = x[..., 0:rotary:2].astype(np.complex128) + 1j * x[..., 1:rotary:2]
    frequency = 10000.0 ** (-np.arange(0, rotary, 2) / rotary)
    turned = pairs * np.exp(1j * positions[:, :, None, None] * frequency)
    wanted = x.astype(np.float64)
    wanted[..., 0:rotary:2], wanted[..., 1:rotary:2] = turned.real, turned.imag
    # At position 2047 an angle in float32 is known to about 1e-4.
    np.testing.assert_allclose(ours, wanted, atol=5e-4)
    np.testing.assert_allclose(ours[:, :3], wanted[:, :3], atol=5e-4)
    np.testing.assert_array_equal(ours[..., rotary:], x[..., rotary:])


def test_scores_of_rotated_vectors_depend_on_the_distance_alone():
    q, k = jnp.asarray(normal(0, 1, 1, 1, 16)), jnp.asarray(normal(1, 1, 1, 1, 16))

    def score(at: int, seen: int) -> float:
        def turned(x: jax.Array, position: int) -> jax.Array:
            return rotate(x, rotary_tables(jnp.full((1, 1), position, jnp.int32), 8))

        return float(jnp.sum(turned(q, at) * turned(k, seen)))

    assert score(5, 2) == pytest.approx(score(105, 102), abs=1e-4)
    assert score(5, 2) != pytest.approx(score(2, 5), abs=1e-2)


def test_rotation_keeps_the_type():
    x = jnp.ones((1, 2, 1, 8), jnp.bfloat16)
    assert rotate(x, rotary_tables(jnp.zeros((1, 2), jnp.int32), 4)).dtype == jnp.bfloat16


@pytest.mark.parametrize("epsilon", [1e-5, 0.3])
def test_layer_norm_is_the_textbook_formula(epsilon: float):
    x, scale, bias = 3 * normal(0, 2, 4, 32) + 1, normal(1, 32), normal(2, 32)
    ours = layer_norm(jnp.asarray(x), jnp.asarray(scale), jnp.asarray(bias), epsilon)
    wide = x.astype(np.float64)
    wanted = (wide - wide.mean(-1, keepdims=True)) / np.sqrt(wide.var(-1, keepdims=True) + epsilon) * scale + bias
    np.testing.assert_allclose(ours, wanted, atol=2e-6)


def test_layer_norm_of_bfloat16_is_computed_in_float32():
    x = (100 + normal(0, 4, 64)).astype(jnp.bfloat16)  # a mean or a variance in bfloat16 would be far off
    ours = layer_norm(jnp.asarray(x), jnp.ones(64, jnp.bfloat16), jnp.zeros(64, jnp.bfloat16), 1e-5)
    wide = x.astype(np.float64)
    wanted = (wide - wide.mean(-1, keepdims=True)) / np.sqrt(wide.var(-1, keepdims=True) + 1e-5)
    assert ours.dtype == jnp.bfloat16
    np.testing.assert_allclose(ours.astype(jnp.float32), wanted, atol=0.01)
