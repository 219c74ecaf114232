"""Packed causal attention by cuDNN's fused kernels, on NVIDIA GPUs from Hopper on.

`jax.nn.dot_product_attention` hides cuDNN's packed form, in which a row is a list of documents by first position and
length; the function behind it, private to JAX, has it. A mask instead would be a `[B, 1, T, T]` bias, read once a
head, that cannot skip what other documents hold.

cuDNN wants to know in advance how many documents a row may hold: it keeps the softmax's sums of each of them at the
row's full length, 4 · B · N · H · T bytes a layer, and starts a thread block for each. `most_documents` says how many
are allowed here. A row of more would attend across the last ones, so its queries are made NaN: the loss says so
at once, and the loop, which looks at the data first, does not let it come to that.
"""

import re
from typing import Any

import jax
import jax.numpy as jnp
from jax._src.cudnn import fused_attention_stablehlo as cudnn

LEAST_CUDNN = 90600  # 9.6, the first with the packed form


def most_documents(length: int) -> int:
    """How many documents a row of `length` positions may hold; padding counts as one."""
    return max(2, length // 64)


def refusal(device: Any, head_width: int, dtype: Any) -> str | None:
    """Why this device cannot do it, as the end of a sentence; None where it can."""
    capability = re.fullmatch(r"\d+\.\d+", str(getattr(device, "compute_capability", "")))  # AMD's are names
    if device.platform != "gpu" or capability is None:
        return f"it needs an NVIDIA GPU and this is {device.device_kind}"
    if float(capability[0]) < 9.0:
        return f"packed rows need a Hopper GPU or newer and this is {device.device_kind}"
    if head_width > 256 or head_width % 8:
        return f"heads must be at most 256 wide and a multiple of 8, not {head_width}"
    if jnp.dtype(dtype) not in (jnp.bfloat16, jnp.float16):
        return f"it computes in bfloat16 or float16, not {jnp.dtype(dtype).name}"
    try:
        version = cudnn.check_cudnn_version()
    except RuntimeError:
        return "cuDNN is not installed"
    if version < LEAST_CUDNN:
        return f"it needs cuDNN 9.6 or newer and this is {version // 10000}.{version // 100 % 100}"
    return None


def attend(
    q: jax.Array, k: jax.Array, v: jax.Array, lengths: jax.Array, offsets: jax.Array, fits: jax.Array
) -> jax.Array:
    """`q, k, v [B, T, H, K]` and what `documents` gave -> `[B, T, H, K]`, as `attention.over` has it."""
    q = jnp.where(fits[:, None, None, None] == 1, q, jnp.nan)
    out: Any = cudnn.dot_product_attention(
        q,
        k,
        v,
        q_seqlen=lengths,
        kv_seqlen=lengths,
        q_offsets=offsets,
        kv_offsets=offsets,
        scale=q.shape[-1] ** -0.5,
        mask_type=cudnn.MaskType.PADDING_CAUSAL,
    )
    return out


def documents(segments: jax.Array, most: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Rows as cuDNN wants them described: the documents of `segments [B, T]`, padding as one of them.

    Every position belongs to a document: what cuDNN is told of nothing it does not write, and memory nobody wrote
    may hold NaN.

    Returns:
        lengths: int32 `[B, most]`, -1 behind the last document.
        offsets: int32 `[B, most + 1]`, first positions, -1 behind the last document.
        fits: int32 `[B]`, 1 where the row has at most `most` documents; where not, the others mean nothing.
    """
    length = segments.shape[1]
    first = jnp.diff(segments, axis=1, prepend=segments[:, :1] - 1) != 0
    begins = jnp.sort(jnp.where(first, jnp.arange(length, dtype=jnp.int32)[None], length), axis=1)
    begins = jnp.pad(begins, ((0, 0), (0, most + 1)), constant_values=length)[:, : most + 1]
    there = begins[:, :most] < length
    lengths = jnp.where(there, begins[:, 1:] - begins[:, :most], -1)
    offsets = jnp.pad(jnp.where(there, begins[:, :most], -1), ((0, 0), (0, 1)), constant_values=-1)
    return lengths, offsets, (begins[:, most] == length).astype(jnp.int32)
