"""Norm, rotary embedding and products, against complex numbers, float64 and JAX's own derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyturn.model.ops import layer_norm, outer, project, rotary_tables, rotate


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


def test_project_gives_the_value_and_the_derivatives_of_a_product():
    x, w, g = jnp.asarray(normal(0, 2, 5, 8)), jnp.asarray(normal(1, 8, 12)), jnp.asarray(normal(2, 2, 5, 12))
    ours, pull = jax.vjp(project, x, w)
    plain, plain_pull = jax.vjp(lambda x, w: x @ w, x, w)
    np.testing.assert_allclose(ours, plain, atol=1e-5)
    for mine, theirs in zip(pull(g), plain_pull(g), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_project_accumulates_bfloat16_in_float32():
    # 4,096 times 1 + 1/128: a bfloat16 sum would stop growing at 256.
    x, w = jnp.ones((2, 4096), jnp.bfloat16), jnp.full((4096, 3), 1 + 1 / 128, jnp.bfloat16)
    out, pull = jax.vjp(project, x, w)
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(out.astype(jnp.float32), 4128, rtol=1 / 256)
    assert {a.dtype for a in pull(jnp.ones_like(out))} == {jnp.dtype(jnp.bfloat16)}


def test_outer_sums_over_all_rows_in_float32():
    x, g = normal(0, 3, 4, 5), normal(1, 3, 4, 6)
    wanted = np.einsum("abi,abo->io", x, g)
    np.testing.assert_allclose(outer(jnp.asarray(x), jnp.asarray(g)), wanted, atol=1e-5)
    assert outer(jnp.asarray(x, jnp.bfloat16), jnp.asarray(g, jnp.bfloat16)).dtype == jnp.float32
