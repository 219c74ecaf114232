"""The small functions that every layer uses, with their precision spelled out."""

import jax
import jax.numpy as jnp


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
