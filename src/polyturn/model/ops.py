"""The products and small functions that every layer uses, with their precision spelled out.

A product takes operands in the compute dtype and accumulates in float32. Its derivative needs care: JAX's
own rule would hand a float32 cotangent to both backward products, and the processor's bfloat16 units would
idle. `project` casts the cotangent back first. On two cores of an AMD EPYC with AVX512-BF16 that doubles the
speed of the product that yields the input's gradient; XLA has no bfloat16 kernel for the one that yields the
weight's, so that one is asked for in float32 directly.
"""

import jax
import jax.numpy as jnp


@jax.custom_vjp
def project(x: jax.Array, w: jax.Array) -> jax.Array:
    """`x [..., D] @ w [D, N] -> [..., N]` in x's dtype, accumulated in float32; w is cast and its gradient is not."""
    return _dot(x, w.astype(x.dtype), 0).astype(x.dtype)


def _dot(x: jax.Array, w: jax.Array, axis: int) -> jax.Array:
    """Contract x's last axis with w's `axis`; float32 out."""
    return jax.lax.dot_general(x, w, (((x.ndim - 1,), (axis,)), ((), ())), preferred_element_type=jnp.float32)


def _project_forward(x: jax.Array, w: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return project(x, w), (x, w)


def _project_backward(saved: tuple[jax.Array, jax.Array], g: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, w = saved
    g = g.astype(x.dtype)
    return _dot(g, w.astype(x.dtype), 1).astype(x.dtype), outer(x, g).astype(w.dtype)


def outer(x: jax.Array, g: jax.Array) -> jax.Array:
    """A weight's gradient: `x [..., D], g [..., N] -> [D, N]`, float32, summed over all rows."""
    x = x.reshape(-1, x.shape[-1]).astype(jnp.float32)
    g = g.reshape(-1, g.shape[-1]).astype(jnp.float32)
    return jax.lax.dot_general(x, g, (((0,), (0,)), ((), ())))


project.defvjp(_project_forward, _project_backward)


def layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float) -> jax.Array:
    """Normalise the last axis in float32; returned in x's dtype."""
    y = x.astype(jnp.float32)
    y = y - jnp.mean(y, axis=-1, keepdims=True)
    y = y * jax.lax.rsqrt(jnp.mean(jnp.square(y), axis=-1, keepdims=True) + epsilon)
    return (y * row(scale, y) + row(bias, y)).astype(x.dtype)


def row(vector: jax.Array, like: jax.Array) -> jax.Array:
    """`vector [N]` in a shape and type to be added to `like [..., N]`: no broadcast, no promotion unasked."""
    return vector.astype(like.dtype).reshape((1,) * (like.ndim - 1) + vector.shape)


def rotary_tables(positions: jax.Array, rotary: int) -> tuple[jax.Array, jax.Array]:
    """Sine and cosine for `positions [B, T]`, each float32 `[B, T, 1, rotary / 2]`, base 10,000."""
    frequency = 10000.0 ** (-jnp.arange(0, rotary, 2, dtype=jnp.float32) / rotary)
    angle = positions.astype(jnp.float32)[..., None, None] * frequency[None, None, None, :]
    return jnp.sin(angle), jnp.cos(angle)


def rotate(x: jax.Array, tables: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Turn neighbouring pairs of the first dimensions of `x [B, T, H, K]` by their position.

    The interleaved form of GPT-J: dimensions (0, 1), (2, 3), ... are the pairs, not (0, R / 2), ...
    """
    sin, cos = tables
    rotary = 2 * sin.shape[-1]
    turned = x[..., :rotary].astype(jnp.float32).reshape(*x.shape[:-1], rotary // 2, 2)
    even, odd = turned[..., 0], turned[..., 1]
    turned = jnp.stack([even * cos - odd * sin, odd * cos + even * sin], axis=-1)
    return jnp.concatenate([turned.reshape(*x.shape[:-1], rotary).astype(x.dtype), x[..., rotary:]], axis=-1)
