"""Next-token cross-entropy that never holds the full logits.

At vocabulary 51,200 the float32 logits of one batch outweigh the model many times over. Here rows go through
the head a chunk at a time; the gradient is taken in the same pass, while a chunk's logits are at hand, so
nothing is computed twice. Rows without weight (intents, padding) are moved behind the others, and chunks that
hold only such rows are skipped: with loss on code alone, most of the head's work disappears.
"""

from functools import partial

import jax
import jax.numpy as jnp

from polyturn.model.ops import outer, row


def reference_cross_entropy(
    x: jax.Array, head: jax.Array, bias: jax.Array, targets: jax.Array, weights: jax.Array
) -> jax.Array:
    """The plain twin of `cross_entropy`: same arguments, same value, full logits."""
    logits = jnp.dot(x, head.astype(x.dtype), preferred_element_type=jnp.float32)
    logits = logits + row(bias, logits)
    picked = jnp.take_along_axis(logits, targets[:, None], axis=-1)[:, 0]
    return jnp.sum(weights * (jax.nn.logsumexp(logits, axis=-1) - picked))


@partial(jax.custom_vjp, nondiff_argnums=(5,))
def cross_entropy(
    x: jax.Array, head: jax.Array, bias: jax.Array, targets: jax.Array, weights: jax.Array, chunk: int = 1024
) -> jax.Array:
    """Weighted sum of negative log-likelihoods, float32 scalar.

    Args:
        x: `[N, D]` in the compute dtype.
        head, bias: `[D, V]`, `[V]`, cast where they are used; their gradients keep their own dtype.
        targets: int `[N]`.
        weights: float32 `[N]`, not negative; 0 leaves a row out.
        chunk: rows that go through the head at a time.
    """
    total, _ = _chunks(x, head, bias, targets, weights, chunk, with_gradient=False)
    return total


type Gradient = tuple[jax.Array, jax.Array, jax.Array]  # of x, head and bias


def _chunks(
    x: jax.Array,
    head: jax.Array,
    bias: jax.Array,
    targets: jax.Array,
    weights: jax.Array,
    chunk: int,
    with_gradient: bool,
) -> tuple[jax.Array, Gradient]:
    """The loss, and its gradient where asked for; without, the gradient's arrays are empty or zero."""
    n, d = x.shape
    chunk = min(chunk, n)
    order = jnp.argsort(weights == 0, stable=True)  # rows that count come first
    order = jnp.concatenate([order, jnp.zeros((-n) % chunk, order.dtype)])
    counts = jnp.where(jnp.arange(order.size) < n, weights[order], 0.0)

    def step(carry, rows_and_weights):
        return jax.lax.cond(jnp.any(rows_and_weights[1] > 0), _counted, _skipped, carry, *rows_and_weights)

    def _skipped(carry, rows, w):
        return carry, jnp.zeros((chunk, d), x.dtype)

    def _counted(carry, rows, w):
        total, d_head, d_bias = carry
        h, t = x[rows], targets[rows]
        logits = jnp.dot(h, low, preferred_element_type=jnp.float32)
        logits = logits + row(bias, logits)
        log_sum = jax.nn.logsumexp(logits, axis=-1)
        picked = jnp.take_along_axis(logits, t[:, None], axis=-1)[:, 0]
        total = total + jnp.sum(w * (log_sum - picked))
        if not with_gradient:
            return (total, d_head, d_bias), jnp.zeros((chunk, d), x.dtype)
        g = w[:, None] * jnp.exp(logits - log_sum[:, None])
        g = g.at[jnp.arange(chunk), t].add(-w)
        g_low = g.astype(x.dtype)
        d_rows = jax.lax.dot_general(g_low, low, (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32)
        return (total, d_head + outer(h, g_low), d_bias + jnp.sum(g, axis=0)), d_rows.astype(x.dtype)

    low = head.astype(x.dtype)
    shape = head.shape if with_gradient else (0, 0)
    start = (jnp.float32(0.0), jnp.zeros(shape, jnp.float32), jnp.zeros(shape[1:], jnp.float32))
    split = (order.reshape(-1, chunk), counts.reshape(-1, chunk))
    (total, d_head, d_bias), d_rows = jax.lax.scan(step, start, split)
    # padding repeats row 0 with weight 0: its gradient is zero, so adding is safe
    d_x = jnp.zeros_like(x).at[order].add(d_rows.reshape(-1, d))
    return total, (d_x, d_head, d_bias)


def _forward(
    x: jax.Array, head: jax.Array, bias: jax.Array, targets: jax.Array, weights: jax.Array, chunk: int
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    total, gradient = _chunks(x, head, bias, targets, weights, chunk, with_gradient=True)
    return total, (*gradient, jnp.zeros((0,), head.dtype), jnp.zeros((0,), bias.dtype), weights)


def _backward(chunk: int, saved: tuple[jax.Array, ...], g: jax.Array) -> tuple[jax.Array | None, ...]:
    d_x, d_head, d_bias, head_like, bias_like, weights = saved
    return (
        (g * d_x.astype(jnp.float32)).astype(d_x.dtype),
        (g * d_head).astype(head_like.dtype),
        (g * d_bias).astype(bias_like.dtype),
        None,
        jnp.zeros_like(weights),
    )


cross_entropy.defvjp(_forward, _backward)
