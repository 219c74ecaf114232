"""What a model makes of given tokens: logits, log-probabilities. No sampling.

Rows are read in pieces with a KV cache rather than at once: memory holds the logits of one piece, and the
compiled shapes stay few. It is the computation that sampling does, on the same weights.
"""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from polyturn.model import decoder
from polyturn.model.config import ModelConfig
from polyturn.model.decoder import KeysValues
from polyturn.model.params import Params
from polyturn.utils.errors import UserError

PIECE = 256


@partial(jax.jit, static_argnums=1, donate_argnums=2)
def _logits(
    params: Params, config: ModelConfig, cache: list[KeysValues], tokens: jax.Array, start: jax.Array
) -> tuple[jax.Array, list[KeysValues]]:
    x, cache = decoder.extend(params, config, tokens, start, cache)
    return decoder.logits(params, x), cache


def _pieces(params: Params, config: ModelConfig, tokens: np.ndarray) -> Iterator[jax.Array]:
    """Logits of `tokens [B, T]`, `[B, up to PIECE, V]` at a time."""
    rows, length = tokens.shape
    piece = min(PIECE, 1 << (length - 1).bit_length())
    padded = np.pad(tokens.astype(np.int32), [(0, 0), (0, -length % piece)])
    room = piece << (padded.shape[1] // piece - 1).bit_length()
    cache = decoder.empty_cache(config, rows, room, params.embedding.dtype)
    for at in range(0, length, piece):
        start = np.full(rows, at, np.int32)
        logits, cache = _logits(params, config, cache, padded[:, at : at + piece], start)
        yield logits[:, : length - at]


def logits(params: Params, config: ModelConfig, tokens: np.ndarray) -> np.ndarray:
    """Next-token logits at every position: int `[B, T]` -> float32 `[B, T, V]`.

    Raises:
        UserError: the array has another shape or type, is longer than the context, or has ids out of range.
    """
    _check(config, tokens)
    return np.concatenate([np.asarray(piece) for piece in _pieces(params, config, tokens)], axis=1)


def log_probabilities(params: Params, config: ModelConfig, tokens: np.ndarray) -> np.ndarray:
    """The natural logarithm of each token's probability given those before it.

    Int `[B, T]` -> float32 `[B, T - 1]`: the first token has nothing before it and gets no number. Raises
    UserError like `logits`.
    """
    _check(config, tokens)
    found, at = [], 0
    for piece in _pieces(params, config, tokens):
        targets = tokens[:, at + 1 : at + 1 + piece.shape[1]]
        scores = jax.nn.log_softmax(piece[:, : targets.shape[1]], axis=-1)
        found.append(np.asarray(jnp.take_along_axis(scores, jnp.asarray(targets)[..., None], axis=-1)[..., 0]))
        at += piece.shape[1]
    return np.concatenate(found, axis=1)


def _check(config: ModelConfig, tokens: np.ndarray) -> None:
    if tokens.ndim != 2 or not tokens.size or not np.issubdtype(tokens.dtype, np.integer):
        raise UserError(f"Tokens must be whole numbers in rows [B, T], not {tokens.dtype} of shape {tokens.shape}.")
    if tokens.shape[1] > config.context:
        raise UserError(
            f"A row has {tokens.shape[1]} tokens, more than the model's context of {config.context}; shorten it."
        )
    if tokens.min() < 0 or tokens.max() >= config.vocab:
        raise UserError(
            f"The token ids go from {tokens.min()} to {tokens.max()}, but the model knows "
            f"0 to {config.vocab - 1}; encode the text with the model's own tokenizer."
        )
