"""Packed causal attention by tokamax's Mosaic kernel, on Hopper GPUs.

The mask says of every query where its keys begin, and that it is causal: exactly packed documents, in memory linear
in T, with blocks of earlier documents skipped. tokamax's public function has no such mask; the object behind it does.
That object is not promised to stay as it is: `LEAST` is the version that this was written for.

tokamax is not among Polyturn's dependencies: `pip install tokamax`.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jax
import jax.numpy as jnp

LEAST = (0, 0, 17)


def refusal(device: Any, head_width: int, dtype: Any) -> str | None:
    """Why this device cannot do it, as the end of a sentence; None where it can."""
    if device.platform != "gpu" or not str(getattr(device, "compute_capability", "")).startswith("9."):
        return f"its kernels with a gradient need a Hopper GPU and this is {device.device_kind}"
    if head_width > 256:
        return f"heads must be at most 256 wide, not {head_width}"
    if jnp.dtype(dtype) not in (jnp.bfloat16, jnp.float16):
        return f"it computes in bfloat16 or float16, not {jnp.dtype(dtype).name}"
    try:
        found = version("tokamax")
    except PackageNotFoundError:
        return "tokamax is not installed (pip install tokamax)"
    if tuple(int(part) for part in found.split(".")[:3]) < LEAST:
        return f"it needs tokamax {'.'.join(map(str, LEAST))} or newer and this is {found}"
    return None


def attend(q: jax.Array, k: jax.Array, v: jax.Array, begins: jax.Array) -> jax.Array:
    """`q, k, v [B, T, H, K]` and what `document_begins` gave -> `[B, T, H, K]`, as `attention.over` has it."""
    from tokamax._src.ops.attention.pallas_mosaic_gpu import (  # pyright: ignore[reportMissingImports]
        Mask,
        PallasMosaicGpuFlashAttention,
    )

    mask = Mask(k_start=begins[:, None], is_causal=True)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return PallasMosaicGpuFlashAttention()(q, k, v, mask=mask)


def document_begins(segments: jax.Array) -> jax.Array:
    """For each position of `segments [B, T]`, the first position of its document: int32 `[B, T]`."""
    first = jnp.diff(segments, axis=1, prepend=segments[:, :1] - 1) != 0
    return jax.lax.cummax(jnp.where(first, jnp.arange(segments.shape[1], dtype=jnp.int32)[None], 0), axis=1)
