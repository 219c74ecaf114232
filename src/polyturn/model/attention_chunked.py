"""Packed causal attention tile by tile: plain XLA, any device, never a whole row of scores at once.

Queries and keys are cut into blocks. One loop goes over the pairs of blocks on and below the diagonal with a running
softmax (arXiv 2112.05682, 2205.14135), so that the half of the products which the reference does and masks away is
never done, and `[B, H, 128, 128]` scores are held in place of `[B, H, T, T]`. What the backward pass keeps is the
result and one number a query, the logarithm of its softmax's sum; weights are computed again from it. All products
take operands in the compute dtype; JAX's own rule for the derivative of the reference multiplies with float32
cotangents instead.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

MASKED = -1e30
BLOCK = 128
type Saved = tuple[jax.Array, ...]


def attend(q: jax.Array, k: jax.Array, v: jax.Array, segments: jax.Array, block: int = BLOCK) -> jax.Array:
    """`q, k, v [B, T, H, K]`, int `segments [B, T]` -> `[B, T, H, K]`, as `attention.over` has it."""
    length = q.shape[1]
    more = (-length) % min(block, length)
    heads_first = (jnp.pad(x, ((0, 0), (0, more), (0, 0), (0, 0))).swapaxes(1, 2) for x in (q, k, v))
    padded = jnp.pad(segments, ((0, 0), (0, more)), constant_values=-1)
    return _chunked(*heads_first, padded, min(block, length)).swapaxes(1, 2)[:, :length]


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def _chunked(q: jax.Array, k: jax.Array, v: jax.Array, segments: jax.Array, block: int) -> jax.Array:
    """All of q, k, v and the result `[B, H, T, K]`; T is a multiple of the block."""
    return _forward(q, k, v, segments, block)[0]


def _pairs(length: int, block: int) -> jax.Array:
    """First positions of (query block, key block) on and below the diagonal, int32 `[N, 2]`, row by row."""
    return jnp.asarray(block * np.argwhere(np.tri(length // block, dtype=bool)), jnp.int32)


def _forward(q: jax.Array, k: jax.Array, v: jax.Array, segments: jax.Array, block: int) -> tuple[jax.Array, Saved]:
    def step(carry: tuple[jax.Array, ...], pair: jax.Array) -> tuple[tuple[jax.Array, ...], None]:
        out, sums, mixed, top, total = carry
        row, column = pair[0], pair[1]
        first = column == 0
        mixed, total = jnp.where(first, 0.0, mixed), jnp.where(first, 0.0, total)
        top = jnp.where(first, MASKED, top)
        scores = _scores(q, k, segments, row, column, block)
        new = jnp.maximum(top, jnp.max(scores, axis=-1, keepdims=True))
        weights, fade = jnp.exp(scores - new), jnp.exp(top - new)
        # a block with nothing to see counts with weight 1 each, until the diagonal, last in its row, fades it to 0
        total = total * fade + jnp.sum(weights, axis=-1, keepdims=True)
        mixed = mixed * fade + _dot("bhts,bhsk->bhtk", weights.astype(v.dtype), _slice(v, column, block))
        out = _put(out, (mixed / total).astype(out.dtype), row)
        sums = _put(sums, new + jnp.log(total), row)
        return (out, sums, mixed, new, total), None

    b, h, t, d = q.shape
    one = jnp.zeros((b, h, block, 1), jnp.float32)
    start = (
        jnp.zeros_like(v),
        jnp.zeros((b, h, t, 1), jnp.float32),
        jnp.zeros((b, h, block, d), jnp.float32),
        one,
        one,
    )
    (out, sums, *_), _ = jax.lax.scan(step, start, _pairs(t, block))
    return out, (q, k, v, segments, out, sums)


def _backward(block: int, saved: Saved, g: jax.Array) -> tuple[jax.Array | None, ...]:
    q, k, v, segments, out, sums = saved
    g = g.astype(q.dtype)
    along = jnp.sum(g.astype(jnp.float32) * out.astype(jnp.float32), axis=-1, keepdims=True)

    def step(carry: tuple[jax.Array, ...], pair: jax.Array) -> tuple[tuple[jax.Array, ...], None]:
        d_q, d_k, d_v = carry
        row, column = pair[0], pair[1]
        g_row = _slice(g, row, block)
        weights = jnp.exp(_scores(q, k, segments, row, column, block) - _slice(sums, row, block))
        d_weights = _dot("bhtk,bhsk->bhts", g_row, _slice(v, column, block))
        d_scores = (weights * (d_weights - _slice(along, row, block)) * q.shape[-1] ** -0.5).astype(q.dtype)
        d_q = _add(d_q, _dot("bhts,bhsk->bhtk", d_scores, _slice(k, column, block)), row)
        d_k = _add(d_k, _dot("bhts,bhtk->bhsk", d_scores, _slice(q, row, block)), column)
        d_v = _add(d_v, _dot("bhts,bhtk->bhsk", weights.astype(g.dtype), g_row), column)
        return (d_q, d_k, d_v), None

    start = tuple(jnp.zeros(x.shape, jnp.float32) for x in (q, k, v))
    (d_q, d_k, d_v), _ = jax.lax.scan(step, start, _pairs(q.shape[2], block))
    return d_q.astype(q.dtype), d_k.astype(k.dtype), d_v.astype(v.dtype), None


def _scores(
    q: jax.Array, k: jax.Array, segments: jax.Array, row: jax.Array, column: jax.Array, block: int
) -> jax.Array:
    """Of one block of queries with one of keys: float32 `[B, H, block, block]`."""
    within = jnp.arange(block)
    causal = (row + within)[:, None] >= (column + within)[None, :]
    same = _slice(segments, row, block, 1)[:, :, None] == _slice(segments, column, block, 1)[:, None, :]
    scores = _dot("bhtk,bhsk->bhts", _slice(q, row, block), _slice(k, column, block)) * q.shape[-1] ** -0.5
    return jnp.where((causal[None] & same)[:, None], scores, MASKED)


def _slice(x: jax.Array, begin: jax.Array, block: int, axis: int = 2) -> jax.Array:
    return jax.lax.dynamic_slice_in_dim(x, begin, block, axis)


def _put(x: jax.Array, part: jax.Array, begin: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_slice_in_dim(x, part, begin, 2)


def _add(x: jax.Array, part: jax.Array, begin: jax.Array) -> jax.Array:
    return _put(x, _slice(x, begin, part.shape[2]) + part, begin)


def _dot(form: str, left: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.einsum(form, left, right, preferred_element_type=jnp.float32)


_chunked.defvjp(_forward, _backward)
