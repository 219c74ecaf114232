"""Packed causal attention on TPUs: the splash kernels that come with JAX, which know segments and skip blocks."""

from typing import Any

import jax
import jax.numpy as jnp

BLOCKS = (512, 256, 128)  # of queries and keys; the largest that divides the row
"""Not tuned: no TPU was at hand. 128 is the least that the kernels take."""


def refusal(device: Any, length: int) -> str | None:
    """Why this device cannot do it, as the end of a sentence; None where it can."""
    if device.platform != "tpu":
        return f"it needs a TPU and this is {device.device_kind}"
    if length % BLOCKS[-1]:
        return f"rows must be a multiple of {BLOCKS[-1]} long, not {length}"
    return None


def attend(q: jax.Array, k: jax.Array, v: jax.Array, segments: jax.Array, interpret: bool = False) -> jax.Array:
    """`q, k, v [B, T, H, K]`, int32 `segments [B, T]` -> `[B, T, H, K]`, as `attention.over` has it.

    Args:
        interpret: run the kernels in Pallas' interpreter, on any device and very slowly.
    """
    from jax.experimental.pallas.ops.tpu import splash_attention as splash

    length, heads = q.shape[1:3]
    block = next(block for block in BLOCKS if length % block == 0)
    sizes = splash.BlockSizes(
        block_q=block,
        block_kv=block,
        block_q_dkv=block,
        block_kv_dkv=block,
        block_q_dq=block,
        block_kv_dq=block,
    )
    mask: Any = splash.MultiHeadMask([splash.CausalMask((length, length))] * heads)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        kernel: Any = splash.make_splash_mha_single_device(mask, block_sizes=sizes, interpret=interpret)
        scaled = (q * jnp.asarray(q.shape[-1] ** -0.5, jnp.float32)).astype(q.dtype)
        heads_first = (x.swapaxes(1, 2) for x in (scaled, k, v))
        ids = splash.SegmentIds(segments, segments)
        return jax.vmap(kernel)(*heads_first, ids).swapaxes(1, 2)
