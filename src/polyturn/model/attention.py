"""Masked softmax attention, the plain form: the reference for every faster one."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

MASKED = -1e30  # large enough to vanish in a float32 softmax, small enough not to overflow


def causal_mask(segments: jax.Array) -> jax.Array:
    """Who may see whom in packed rows: `segments [B, T]` int -> bool `[B, T, T]`.

    A position sees itself and what came before it in the same document.
    """
    t = segments.shape[1]
    causal = jnp.arange(t)[:, None] >= jnp.arange(t)[None, :]
    return causal[None] & (segments[:, :, None] == segments[:, None, :])


type Attend = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def over(segments: jax.Array, backend: str) -> Attend:
    """Attention over packed rows: `q, k, v [B, T, H, K] -> [B, T, H, K]`, by the backend of that name."""
    mask = causal_mask(segments)
    return lambda q, k, v: attention(q, k, v, mask)


def attention(
    q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array, layout: Literal["bshk", "bhsk"] = "bshk"
) -> jax.Array:
    """`q [B, T, H, K]`, `k, v [B, S, H, K]`, bool `mask [B, T, S]` -> `[B, T, H, K]` in v's dtype.

    Scores and softmax are float32. A row that may see nothing gets an even mix of everything: rows like
    that are padding, and their results are never used.

    Args:
        layout: the order of k's and v's axes: as above, or `[B, H, S, K]`, heads first, as in a KV cache. Not a
            transpose around the products: XLA would move it into them, to a form that it has no bfloat16 kernel
            for on CPUs.
    """
    scale = q.shape[-1] ** -0.5
    scores = jnp.einsum(f"bthk,{layout}->bhts", q, k, preferred_element_type=jnp.float32) * scale
    weights = jax.nn.softmax(jnp.where(mask[:, None], scores, MASKED), axis=-1).astype(v.dtype)
    return jnp.einsum(f"bhts,{layout}->bthk", weights, v, preferred_element_type=jnp.float32).astype(v.dtype)
