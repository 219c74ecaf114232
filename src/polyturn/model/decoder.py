"""The CodeGen decoder, forwards: whole rows for training and scoring, and rows that grow for sampling.

    x = x + attention(norm(x)) + mlp(norm(x))        one norm feeds both, side by side

`hidden` and `extend` run the same `block`; a test holds them equal. Weights are cast to the dtype of the computation
where they are used, so that float32 weights get float32 gradients, summed in float32, from a bfloat16 computation.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike

from polyturn.model.attention import attention, over
from polyturn.model.compute import Compute
from polyturn.model.config import ModelConfig
from polyturn.model.ops import layer_norm, rotary_tables, rotate, row
from polyturn.model.params import QKV, Block, Params, layer
from polyturn.model.products import add_bias, product
from polyturn.parallel.collectives import bound, gather, place, total

type KeysValues = tuple[jax.Array, jax.Array]


def hidden(
    params: Params[jax.Array],
    config: ModelConfig,
    tokens: jax.Array,
    segments: jax.Array,
    compute: Compute | None = None,
) -> jax.Array:
    """The residual stream after the final norm: int `tokens [B, T]` -> `[B, T, D]`.

    On a mesh (inside `jax.shard_map`), all arguments are a device's own parts, and so is the result: its rows, whole.

    Args:
        segments: int `[B, T]`, which document of its row each position belongs to. Positions count from the
            start of the row: rotary embedding sees only differences.
        compute: how; by default plainly, in the dtype of the weights.
    """
    compute = compute or Compute(dtype=params.embedding.dtype.name)
    tables = rotary_tables(jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape), config.rotary)
    attend = over(segments, compute.attention)
    if compute.remat == "attention":
        attend = jax.checkpoint(attend)

    def kept(q: jax.Array, k: jax.Array, v: jax.Array) -> tuple[jax.Array, None]:
        return checkpoint_name(attend(q, k, v), "mixed"), None

    def step(x: jax.Array, weights: Block[jax.Array]) -> tuple[jax.Array, None]:
        return block(x, weights, config, tables, kept, compute.products)[0], None

    x = embed(params.embedding, tokens).astype(compute.dtype)
    x, _ = jax.lax.scan(_remat(step, compute.remat), x, params.blocks)
    return layer_norm(x, params.norm_scale, params.norm_bias, config.norm_epsilon)


def _remat(step: Callable, remat: str) -> Callable:
    """A layer that keeps for the pass backwards what `Compute.remat` says."""
    policies = jax.checkpoint_policies
    if remat == "full":
        return jax.checkpoint(step, policy=policies.nothing_saveable)
    if remat == "products":
        return jax.checkpoint(step, policy=policies.save_only_these_names("fused", "mixed"))
    return step


def embed(table: jax.Array, tokens: jax.Array) -> jax.Array:
    """Rows of the embedding `[V, D]` for int `tokens [...]` -> `[..., D]`.

    The table is not cast before the rows are taken, so that a frequent token's gradient is summed in float32.
    """
    if not bound():
        return table[tokens]
    table = gather(table, "fsdp", 1)  # this device's part of the vocabulary
    local = tokens - place("tensor") * table.shape[0]
    mine = (local >= 0) & (local < table.shape[0])
    return total(jnp.where(mine[..., None], table[jnp.where(mine, local, 0)], 0.0), "tensor")


def block[Kept](
    x: jax.Array,
    w: Block[jax.Array],
    config: ModelConfig,
    tables: tuple[jax.Array, jax.Array],
    attend: Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, Kept]],
    products: str = "xla",
) -> tuple[jax.Array, Kept]:
    """One layer: `x [B, T, D] -> ([B, T, D], whatever attend keeps)`.

    Args:
        tables: of `rotary_tables` for the positions at hand.
        attend: `(q, k, v) [B, T, H, K]` with positions already turned in -> (`[B, T, H, K]`, kept).
        products: `Compute.products`.
    """
    n = w.b_in.shape[-1]  # of the inner width D, what this device has
    normed = layer_norm(x, w.norm_scale, w.norm_bias, config.norm_epsilon)
    fused = checkpoint_name(product(normed, w.w_in, 0, products), "fused")
    heads = (*x.shape[:-1], n // config.head_width, config.head_width)
    q, k, v = (h.reshape(heads) for h in jnp.split(fused[..., : QKV * n], QKV, axis=-1))
    mixed, kept = attend(rotate(q, tables), rotate(k, tables), v)
    inner = fused[..., QKV * n :]
    inner = jax.nn.gelu(add_bias(inner, w.b_in.reshape(-1)), approximate=True)  # "gelu_new"
    both = jnp.concatenate([mixed.reshape(*x.shape[:-1], n), inner], axis=-1)
    out = total(product(both, w.w_out, 2, products), "tensor")
    return x + add_bias(out, w.b_out), kept


def logits(params: Params[jax.Array], x: jax.Array) -> jax.Array:
    """`[..., D] -> [..., V]`, float32."""
    out = jax.lax.dot_general(x, params.head, (((x.ndim - 1,), (0,)), ((), ())), preferred_element_type=jnp.float32)
    return out + row(params.head_bias, out)


@partial(jax.jit, static_argnums=1)
def forward(params: Params[jax.Array], config: ModelConfig, tokens: jax.Array) -> jax.Array:
    """Logits of whole rows, one document each: int `[B, T]` -> float32 `[B, T, V]`."""
    return logits(params, hidden(params, config, tokens, jnp.zeros_like(tokens)))


def empty_cache(config: ModelConfig, rows: int, length: int, dtype: DTypeLike) -> list[KeysValues]:
    """Room for the keys and values of `length` positions: per layer, two `[rows, H, length, K]`.

    One pair of arrays a layer rather than one stacked array: XLA updates each in place when it is donated. Heads
    come before positions: the other way round, XLA on CPUs turns the whole cache about at every step, which makes
    up a third of the step at 32 rows.
    """
    shape = (rows, config.heads, length, config.head_width)
    return [(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype)) for _ in range(config.layers)]


def extend(
    params: Params[jax.Array],
    config: ModelConfig,
    tokens: jax.Array,
    start: jax.Array,
    cache: list[KeysValues],
) -> tuple[jax.Array, list[KeysValues]]:
    """Carry rows on: read `tokens [B, T]` behind the `start [B]` positions already in the cache.

    Positions of the cache at or behind `start + T` hold no meaning and are never looked at, so a row may be
    padded at its end: overwrite what follows by passing a smaller `start` next time.

    Returns:
        x: `[B, T, D]`, the residual stream after the final norm.
        cache: the same arrays with T positions written from `start` on. The caller sees to it that they fit.
    """
    b, t = tokens.shape
    positions = start[:, None] + jnp.arange(t)[None, :]
    tables = rotary_tables(positions, config.rotary)
    mask = jnp.arange(cache[0][0].shape[2])[None, None, :] <= positions[:, :, None]
    at = (jnp.arange(b)[:, None, None], jnp.arange(config.heads)[None, :, None], positions[:, None, :])

    def attend(kept: KeysValues, q: jax.Array, k: jax.Array, v: jax.Array) -> tuple[jax.Array, KeysValues]:
        keys = kept[0].at[at].set(k.swapaxes(1, 2))
        values = kept[1].at[at].set(v.swapaxes(1, 2))
        return attention(q, keys, values, mask, layout="bhsk"), (keys, values)

    x = params.embedding[tokens]
    written = []
    for index, kept in enumerate(cache):
        x, new = block(x, layer(params.blocks, index), config, tables, partial(attend, kept))
        written.append(new)
    return layer_norm(x, params.norm_scale, params.norm_bias, config.norm_epsilon), written
