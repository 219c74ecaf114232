"""Masked softmax attention: the plain form, and the choice among the faster ones for packed rows.

A packed row holds several documents, and no position may see another document's. That is where fast kernels go wrong
in silence, so the choice is made once, said, and refused where a backend cannot keep documents apart or cannot run;
nothing falls back to anything.

    reference   the oracle: all scores at once, [B, H, T, T]
    chunked     plain XLA, tile by tile: any device
    striped     plain XLA, a few hundred queries at a time: the fastest on CPUs
    cudnn       cuDNN's packed form: NVIDIA GPUs from Hopper on
    tokamax     a Mosaic kernel: Hopper GPUs, with tokamax installed
    splash      JAX's Pallas kernels: TPUs
"""

from collections.abc import Callable
from typing import Any, Literal, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from polyturn.model import attention_chunked, attention_cudnn, attention_splash, attention_striped, attention_tokamax
from polyturn.parallel.collectives import opaque
from polyturn.utils.errors import UserError

MASKED = -1e30  # large enough to vanish in a float32 softmax, small enough not to overflow


def causal_mask(segments: jax.Array) -> jax.Array:
    """Who may see whom in packed rows: `segments [B, T]` int -> bool `[B, T, T]`.

    A position sees itself and what came before it in the same document.
    """
    t = segments.shape[1]
    causal = jnp.arange(t)[:, None] >= jnp.arange(t)[None, :]
    return causal[None] & (segments[:, :, None] == segments[:, None, :])


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


type Attend = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]

BACKENDS = ("reference", "chunked", "striped", "cudnn", "tokamax", "splash")
AUTO = {"cpu": ("striped",), "gpu": ("tokamax", "cudnn"), "tpu": ("splash",)}
"""What `auto` tries on a platform, in this order; on others it is chunked."""


def over(segments: jax.Array, backend: str) -> Attend:
    """Attention over packed rows: `q, k, v [B, T, H, K] -> [B, T, H, K]`, by the backend of that name.

    What a kernel must know of the rows is worked out here, once for all layers. On a mesh (inside `jax.shard_map`) the
    arguments are a device's own rows and heads.

    Args:
        segments: int32 `[B, T]`: each document of a row is one run of equal numbers. Padding, 0, is treated as a
            document: it sees itself, and nothing sees it.
        backend: what `choose` gave.
    """
    match backend:
        case "reference":
            mask = causal_mask(segments)
            return lambda q, k, v: attention(q, k, v, mask)
        case "chunked":
            return lambda q, k, v: opaque(attention_chunked.attend, q, k, v, segments)
        case "striped":
            return lambda q, k, v: opaque(attention_striped.attend, q, k, v, segments)
        case "cudnn":
            described = attention_cudnn.documents(segments, attention_cudnn.most_documents(segments.shape[1]))
            return lambda q, k, v: opaque(attention_cudnn.attend, q, k, v, *described)
        case "tokamax":
            begins = attention_tokamax.document_begins(segments)
            return lambda q, k, v: opaque(attention_tokamax.attend, q, k, v, begins)
        case "splash":
            return lambda q, k, v: opaque(attention_splash.attend, q, k, v, segments)
    raise ValueError(f"{backend} is no attention backend; `choose` gives one.")


class Device(Protocol):
    """What `choose` asks of a `jax.Device`; GPUs also tell their `compute_capability`."""

    @property
    def platform(self) -> str:
        """`cpu`, `gpu` or `tpu`."""
        ...

    @property
    def device_kind(self) -> str:
        """The model, as its maker names it."""
        ...


def choose(
    backend: str,
    device: Device,
    head_width: int,
    length: int,
    dtype: DTypeLike,
    documents: Callable[[], int] = lambda: 1,
) -> str:
    """The backend for a run: the one named, or for "auto" the first of `AUTO` that can do the work.

    Args:
        backend: one of `BACKENDS`, or "auto".
        device: one of those that the run will use.
        head_width: K.
        length: T.
        dtype: of the computation.
        documents: tells how many a row holds at most, padding counted; asked where a backend has a limit.

    Raises:
        UserError: no such backend, or it cannot run here, with the reason.
    """
    if backend not in (*BACKENDS, "auto"):
        raise UserError(f"There is no attention {backend!r}; take auto or one of {', '.join(BACKENDS)}.")
    tried = AUTO.get(device.platform, ("chunked",)) if backend == "auto" else (backend,)
    refusals: dict[str, str] = {}
    for name in tried:
        refused = _refusal(name, device, head_width, length, dtype, documents)
        if refused is None:
            return name
        refusals[name] = refused
    reasons = "; ".join(f"{name}: {reason}" for name, reason in refusals.items())
    raise UserError(f"No attention kernel for packed rows ({reasons}); attention=chunked runs anywhere, more slowly.")


def _refusal(
    backend: str, device: Any, head_width: int, length: int, dtype: DTypeLike, documents: Callable[[], int]
) -> str | None:
    match backend:
        case "cudnn":
            return attention_cudnn.refusal(device, head_width, dtype) or _too_many(documents(), length)
        case "tokamax":
            return attention_tokamax.refusal(device, head_width, dtype)
        case "splash":
            return attention_splash.refusal(device, length)
    return None


def _too_many(documents: int, length: int) -> str | None:
    limit = attention_cudnn.most_documents(length)
    return f"a row holds {documents} documents and it has room for {limit}" if documents > limit else None


def check_documents(backend: str, segments: np.ndarray) -> None:
    """See to it, before a batch reaches the device, that rows hold no more documents than the backend has room for.

    Args:
        backend: what `choose` gave.
        segments: int `[B, T]`, as `over` takes them.

    Raises:
        UserError: a row holds too many for cudnn; the other backends take any number.
    """
    if backend != "cudnn":
        return
    most = int(np.count_nonzero(np.diff(segments, axis=1), axis=1).max(initial=0)) + 1
    limit = attention_cudnn.most_documents(segments.shape[1])
    if most > limit:
        raise UserError(
            f"A row of {segments.shape[1]} tokens holds {most} documents, padding counted, and attention=cudnn has "
            f"room for {limit}; take attention=tokamax or attention=chunked."
        )
