"""Rows of keys and values on the device, and the tokens they stand for.

The pool remembers what each row has read, so that a prompt which begins like something read before costs
only its rest: the next turn of a conversation, an undone or edited turn, one of n samples, a shared header.
That is one rule, the longest common prefix, and there is no other bookkeeping.

Shapes are few, since each has to be compiled: rows and length double, prompts are read in chunks of one size,
and a decoding step covers all rows, busy or not.
"""

from dataclasses import fields
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from polyturn.engine.nucleus import draw
from polyturn.model import decoder
from polyturn.model.config import ModelConfig
from polyturn.model.decoder import KeysValues
from polyturn.model.params import Block, Params

CHUNK = {"cpu": 32}  # prompt tokens read at a time: two CPU cores are busy with 32, and less is padded
CHUNK_ELSEWHERE = 256


def unstack(params: Params, dtype: jnp.dtype | type) -> Params:
    """Each layer's weights as arrays of their own, in `dtype`, on the device.

    Compiled code would otherwise copy every layer out of the stack at every step. `params.layer` indexes a
    tuple as it does a stack, so the decoder takes this tree as it takes the other.
    """
    blocks = {f.name: tuple(jnp.asarray(a, dtype) for a in getattr(params.blocks, f.name)) for f in fields(Block)}
    rest = {f.name: jnp.asarray(getattr(params, f.name), dtype) for f in fields(Params) if f.name != "blocks"}
    return Params(blocks=Block(**blocks), **rest)


@partial(jax.jit, static_argnums=1, donate_argnums=2)
def _read(
    params: Params,
    config: ModelConfig,
    cache: list[KeysValues],
    row: jax.Array,
    tokens: jax.Array,
    start: jax.Array,
) -> list[KeysValues]:
    """Read `tokens [T]` into row `row`, behind its first `start` positions."""
    alone = jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, row, 1), cache)
    _, alone = decoder.extend(params, config, tokens[None], start[None], alone)
    return jax.tree.map(lambda a, one: lax.dynamic_update_slice_in_dim(a, one, row, 0), cache, alone)


@partial(jax.jit, static_argnums=1, donate_argnums=2)
def _step(
    params: Params, config: ModelConfig, cache: list[KeysValues], integers: jax.Array, floats: jax.Array
) -> tuple[jax.Array, jax.Array, list[KeysValues]]:
    """Read one token in every row and draw the next one: see `Pool.step` for what goes in and out."""
    tokens, starts = integers
    x, cache = decoder.extend(params, config, tokens[:, None], starts, cache)
    drawn, log_probability = draw(decoder.logits(params, x[:, 0]), *floats)
    return drawn, log_probability, cache


@partial(jax.jit, donate_argnums=0)
def _copy_row(cache: list[KeysValues], source: jax.Array, target: jax.Array) -> list[KeysValues]:
    def copy(a: jax.Array) -> jax.Array:
        return lax.dynamic_update_slice_in_dim(a, lax.dynamic_slice_in_dim(a, source, 1), target, 0)

    return jax.tree.map(copy, cache)


@partial(jax.jit, static_argnums=2)
def _refit(old: jax.Array, rows: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The given rows of one array in a new array of `shape`: cut at the end or filled up with zeros."""
    taken = old[rows]
    taken = taken[tuple(slice(0, n) for n in shape)]
    return lax.dynamic_update_slice(jnp.zeros(shape, old.dtype), taken, (0,) * old.ndim)


class Feed(NamedTuple):
    """What a decoding step needs for one row."""

    token: int  # to be read
    temperature: float
    top_p: float
    uniform: float  # the random number that the next token is drawn with


class Pool:
    """`rows` rows with room for `length` positions each.

    Attributes:
        held: for each row the tokens whose keys and values it holds, from position 0 on.
        prefilled: for each row how many of these, from the first on, were read in chunks, not step by step.
        used: for each row when it was last given to a sample; larger is later.
    """

    def __init__(self, params: Params, config: ModelConfig, dtype: jnp.dtype | type, rows: int, length: int) -> None:
        """Make an empty pool for weights as `unstack` returns them."""
        self.params = params
        self.config = config
        self.dtype = dtype
        self.rows = rows
        self.length = length
        self.chunk = min(CHUNK.get(jax.default_backend(), CHUNK_ELSEWHERE), config.context)
        self.held: list[list[int]] = [[] for _ in range(rows)]
        self.prefilled = [0] * rows
        self.used = [0] * rows
        self._cache = decoder.empty_cache(config, rows, length, dtype)

    def refit(self, rows: int, length: int, keep: list[int]) -> None:
        """Change the shape. Rows `keep` stay as far as they fit, and come first; the others are forgotten."""
        keep = keep[:rows]
        if (rows, length) == (self.rows, self.length) and keep == list(range(rows)):
            return
        source = np.array(keep + [0] * (rows - len(keep)), np.int32)
        shapes = jax.eval_shape(lambda: decoder.empty_cache(self.config, rows, length, self.dtype))
        self._cache = jax.tree.map(lambda old, new: _refit(old, source, new.shape), self._cache, shapes)
        self.held = [self.held[r][:length] for r in keep] + [[] for _ in range(rows - len(keep))]
        self.prefilled = [min(self.prefilled[r], length) for r in keep] + [0] * (rows - len(keep))
        self.used = [self.used[r] for r in keep] + [0] * (rows - len(keep))
        self.rows, self.length = rows, length

    def copy(self, source: int, target: int) -> None:
        """Make row `target` hold what row `source` holds."""
        self._cache = _copy_row(self._cache, np.int32(source), np.int32(target))
        self.held[target] = list(self.held[source])
        self.prefilled[target] = self.prefilled[source]

    def read(self, row: int, tokens: list[int], start: int) -> None:
        """Read `tokens` into a row behind its first `start` positions; what it held there is forgotten."""
        del self.held[row][start:]
        for at in range(0, len(tokens), self.chunk):
            piece = tokens[at : at + self.chunk]
            padded = np.array(piece + [0] * (self.chunk - len(piece)), np.int32)
            position = np.int32(len(self.held[row]))
            self._cache = _read(self.params, self.config, self._cache, np.int32(row), padded, position)
            self.held[row] += piece
        if self.prefilled[row] >= start:
            self.prefilled[row] = len(self.held[row])

    def step(self, feeds: dict[int, Feed]) -> tuple[np.ndarray, np.ndarray]:
        """Read one token in each row of `feeds` and draw the one behind it.

        The other rows go through the motions: what they write lies behind what they hold.

        Returns:
            drawn: int32 `[rows]`, and its log-probability, float32 `[rows]`; see `nucleus.draw`.
        """
        integers = np.zeros((2, self.rows), np.int32)
        floats = np.zeros((3, self.rows), np.float32)
        integers[1] = [len(held) for held in self.held]
        for row, feed in feeds.items():
            integers[0, row] = feed.token
            floats[:, row] = feed.temperature, feed.top_p, feed.uniform
        drawn, log_probability, self._cache = _step(self.params, self.config, self._cache, integers, floats)
        for row, feed in feeds.items():
            self.held[row].append(feed.token)
        return np.asarray(drawn), np.asarray(log_probability)


def common_prefix(a: list[int], b: list[int]) -> int:
    """How many tokens two lists share at their start."""
    low, high = 0, min(len(a), len(b))
    while low < high:  # comparing slices runs at memory speed, a loop over tokens does not
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
