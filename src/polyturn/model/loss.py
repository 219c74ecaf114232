"""Next-token cross-entropy that never holds the full logits.

At vocabulary 51,200 the float32 logits of one batch outweigh the model many times over. Here rows go through
the head a chunk at a time; the gradient is taken in the same pass, while a chunk's logits are at hand, so
nothing is computed twice. Rows without weight (intents, padding) are moved behind the others, and chunks that
hold only such rows are skipped: with loss on code alone, most of the head's work disappears.

The z-loss adds `z * log(Z)^2` for each row's sum of exponentials Z, which keeps logits from drifting (JAXformer trains
with z = 1e-4).

On a mesh each device has its own rows and a part of the vocabulary; the head is gathered along fsdp once for all
chunks, and the devices along tensor tell each other the largest logit, the sum, and the target's logit of each row.
"""

from functools import partial

import jax
import jax.numpy as jnp

from polyturn.model.ops import row
from polyturn.model.products import Kernels, by
from polyturn.parallel.collectives import gather, largest, place, scatter_sum, total, vary
from polyturn.parallel.mesh import AXES, BATCH


def reference_cross_entropy(
    x: jax.Array, head: jax.Array, bias: jax.Array, targets: jax.Array, weights: jax.Array, z: float = 0.0
) -> jax.Array:
    """The plain twin of `cross_entropy`: same value, full logits, one device."""
    logits = jnp.dot(x, head.astype(x.dtype), preferred_element_type=jnp.float32)
    logits = logits + row(bias, logits)
    picked = jnp.take_along_axis(logits, targets[:, None], axis=-1)[:, 0]
    log_sum = jax.nn.logsumexp(logits, axis=-1)
    return jnp.sum(weights * (log_sum - picked + z * jnp.square(log_sum)))


def cross_entropy(
    x: jax.Array,
    head: jax.Array,
    bias: jax.Array,
    targets: jax.Array,
    weights: jax.Array,
    z: float = 0.0,
    chunk: int = 1024,
    products: str = "xla",
) -> jax.Array:
    """Weighted sum of negative log-likelihoods, float32 scalar; on a mesh, over this device's rows.

    Args:
        x: `[N, D]` in the compute dtype.
        head, bias: `[D, V]`, `[V]`, cast where they are used; their gradients keep their own dtype.
        targets: int `[N]`.
        weights: float32 `[N]`, not negative; 0 leaves a row out.
        z: weight of the z-loss.
        chunk: rows that go through the head at a time.
        products: `Compute.products`.
    """
    x, targets, weights = (vary(a, BATCH) for a in (x, targets, weights))
    return _cross_entropy(x, vary(head, AXES), vary(bias, AXES), targets, weights, z, chunk, by(products))


@partial(jax.custom_vjp, nondiff_argnums=(5, 6, 7))
def _cross_entropy(x, head, bias, targets, weights, z, chunk, kernels):
    return _chunks(x, head, bias, targets, weights, z, chunk, kernels, with_gradient=False)[0]


type Gradient = tuple[jax.Array, jax.Array, jax.Array]  # of x, head and bias


def _chunks(
    x: jax.Array,
    head: jax.Array,
    bias: jax.Array,
    targets: jax.Array,
    weights: jax.Array,
    z: float,
    chunk: int,
    kernels: Kernels,
    with_gradient: bool,
) -> tuple[jax.Array, Gradient]:
    """The loss, and its gradient where asked for; without, the gradient's arrays are empty or zero."""
    n, d = x.shape
    chunk = min(chunk, n)
    order = jnp.argsort(weights == 0, stable=True)  # rows that count come first
    order = jnp.concatenate([order, jnp.zeros_like(order, shape=((-n) % chunk,))])
    counts = jnp.where(jnp.arange(order.size) < n, weights[order], 0.0)
    low = gather(head.astype(x.dtype), "fsdp", 0)
    first = place("tensor") * bias.size  # the vocabulary's part that this device has begins here

    def step(carry, rows_and_weights):
        return jax.lax.cond(jnp.any(rows_and_weights[1] > 0), _counted, _skipped, carry, *rows_and_weights)

    def _skipped(carry, rows, w):
        return carry, vary(jnp.zeros((chunk, d), x.dtype), BATCH)

    def _counted(carry, rows, w):
        value, d_head, d_bias = carry
        h, t = x[rows], targets[rows] - first
        here = (t >= 0) & (t < bias.size)
        t = jnp.where(here, t, 0)
        logits = jax.lax.dot(h, low, preferred_element_type=jnp.float32)
        logits = logits + row(bias, logits)
        top = largest(jnp.max(logits, axis=-1), "tensor")
        log_sum = top + jnp.log(total(jnp.sum(jnp.exp(logits - top[:, None]), axis=-1), "tensor"))
        picked = jnp.where(here, jnp.take_along_axis(logits, t[:, None], axis=-1)[:, 0], 0.0)
        value = value + jnp.sum(w * (log_sum - total(picked, "tensor") + z * jnp.square(log_sum)))
        if not with_gradient:
            return (value, d_head, d_bias), vary(jnp.zeros((chunk, d), x.dtype), BATCH)
        g = (w * (1 + 2 * z * log_sum))[:, None] * jnp.exp(logits - log_sum[:, None])
        g = g.at[jnp.arange(chunk), t].add(jnp.where(here, -w, 0.0))
        g_low = g.astype(x.dtype)
        d_rows = total(kernels.input_gradient(g_low, low), "tensor")
        return (value, d_head + kernels.weight_gradient(h, g_low), d_bias + jnp.sum(g, axis=0)), d_rows

    shape = low.shape if with_gradient else (0, 0)
    start = (
        vary(jnp.float32(0.0), BATCH),
        vary(jnp.zeros(shape, jnp.float32), AXES),
        vary(jnp.zeros(shape[1:], jnp.float32), AXES),
    )
    split = (order.reshape(-1, chunk), counts.reshape(-1, chunk))
    (value, d_head, d_bias), d_rows = jax.lax.scan(step, start, split)
    # padding repeats row 0 with weight 0: its gradient is zero, so adding is safe
    d_x = jnp.zeros_like(x).at[order].add(d_rows.reshape(-1, d))
    return value, (d_x, scatter_sum(d_head, "fsdp", 0) if with_gradient else d_head, d_bias)


def _forward(x, head, bias, targets, weights, z, chunk, kernels):
    value, gradient = _chunks(x, head, bias, targets, weights, z, chunk, kernels, with_gradient=True)
    return value, (*gradient, jnp.zeros((0,), head.dtype), jnp.zeros((0,), bias.dtype), weights)


def _backward(
    z: float, chunk: int, kernels: Kernels, saved: tuple[jax.Array, ...], g: jax.Array
) -> tuple[jax.Array | None, ...]:
    d_x, d_head, d_bias, head_like, bias_like, weights = saved
    return (
        (g * d_x.astype(jnp.float32)).astype(d_x.dtype),
        (g * d_head).astype(head_like.dtype),
        (g * d_bias).astype(bias_like.dtype),
        None,
        jnp.zeros_like(weights),
    )


_cross_entropy.defvjp(_forward, _backward)
