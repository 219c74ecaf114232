"""Batch number k as a pure function of (seed, k): nothing to save, nothing to skip, any step at once."""

from dataclasses import dataclass

import numpy as np

from polyturn.data.packing import Rows


@dataclass(frozen=True)
class Batch:
    """One step's input. `weights` says how much each position's prediction of its successor counts."""

    tokens: np.ndarray  # int32 [B, T]
    segments: np.ndarray  # int32 [B, T]
    targets: np.ndarray  # int32 [B, T], the next token
    weights: np.ndarray  # float32 [B, T], 0 or 1


def batch(rows: Rows, seed: int, step: int, size: int) -> Batch:
    """`size` rows for `step`, each row once an epoch, in an order drawn anew for each epoch from `seed`."""
    count = len(rows.tokens)
    places = np.arange(step * size, (step + 1) * size)
    chosen = np.empty(size, np.int64)
    for epoch in np.unique(places // count):
        order = np.random.default_rng((seed, int(epoch))).permutation(count)
        mine = places // count == epoch
        chosen[mine] = order[places[mine] % count]
    return as_batch(rows, chosen)


def as_batch(rows: Rows, chosen: np.ndarray) -> Batch:
    """The given rows with their targets: a token counts where it is wanted and continues the same document."""
    return with_targets(rows.tokens[chosen], rows.segments[chosen], rows.targets[chosen])


def with_targets(tokens: np.ndarray, segments: np.ndarray, wanted: np.ndarray) -> Batch:
    """The batch of rows, all arguments [B, T]: a token counts where it is wanted and continues the same segment."""
    tokens, segments = tokens.astype(np.int32, copy=False), segments.astype(np.int32, copy=False)
    weights = np.zeros(tokens.shape, np.float32)
    weights[:, :-1] = wanted[:, 1:] & (segments[:, 1:] == segments[:, :-1])
    targets = np.zeros_like(tokens)
    targets[:, :-1] = tokens[:, 1:]
    return Batch(tokens, segments, targets, weights)
