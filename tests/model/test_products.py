"""The product and its two gradients, against plain ones."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyturn.model.products import add_bias, product, weight_gradient


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_product_gives_the_value_and_the_derivatives_of_a_product():
    x, w, g = jnp.asarray(normal(0, 2, 5, 8)), jnp.asarray(normal(1, 8, 12)), jnp.asarray(normal(2, 2, 5, 12))
    ours, pull = jax.vjp(product, x, w)
    plain, plain_pull = jax.vjp(lambda x, w: x @ w, x, w)
    np.testing.assert_allclose(ours, plain, atol=1e-5)
    for mine, theirs in zip(pull(g), plain_pull(g), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_product_accumulates_bfloat16_in_float32():
    # 4,096 times 1 + 1/128: a bfloat16 sum would stop growing at 256.
    x, w = jnp.ones((2, 4096), jnp.bfloat16), jnp.full((4096, 3), 1 + 1 / 128, jnp.bfloat16)
    out, pull = jax.vjp(product, x, w)
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(out.astype(jnp.float32), 4128, rtol=1 / 256)
    assert {a.dtype for a in pull(jnp.ones_like(out))} == {jnp.dtype(jnp.bfloat16)}


def test_a_weights_gradient_is_summed_over_all_rows_in_float32():
    x, g = normal(0, 12, 5), normal(1, 12, 6)
    np.testing.assert_allclose(weight_gradient(jnp.asarray(x), jnp.asarray(g)), x.T @ g, atol=1e-5)
    assert weight_gradient(jnp.asarray(x, jnp.bfloat16), jnp.asarray(g, jnp.bfloat16)).dtype == jnp.float32


@pytest.mark.parametrize("rows", [1, 7, 12])
def test_a_weights_gradient_of_any_number_of_rows(rows: int):
    x, g = normal(0, rows, 5), normal(1, rows, 6)
    np.testing.assert_allclose(weight_gradient(jnp.asarray(x), jnp.asarray(g)), x.T @ g, atol=1e-5)


def test_a_bias_gets_the_sum_over_all_rows():
    x, bias = jnp.asarray(normal(0, 3, 4, 6), jnp.bfloat16), jnp.asarray(normal(1, 6))
    out, pull = jax.vjp(add_bias, x, bias)
    d_x, d_bias = pull(x)
    np.testing.assert_array_equal(out, x + bias.astype(jnp.bfloat16)[None, None])
    np.testing.assert_array_equal(d_x, x)
    assert d_bias.dtype == jnp.float32
    np.testing.assert_allclose(d_bias, x.astype(jnp.float32).sum((0, 1)), atol=1e-5)


def test_the_weights_gradient_reaches_the_bfloat16_kernel_of_cpus():
    """A product that XLA would compute in float32 shows as conversions of its operands before it."""
    x, g = jnp.ones((64, 128), jnp.bfloat16), jnp.ones((64, 256), jnp.bfloat16)
    compiled = jax.jit(weight_gradient).lower(x, g).compile().as_text()
    assert compiled is not None
    if "avx512_bf16" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("the processor has no bfloat16 kernel")
    assert "f32[64,128]" not in compiled
    assert "f32[128,64]" not in compiled
