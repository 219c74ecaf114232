"""What one step of training takes in."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Batch:
    """One step's input. `weights` says how much each position's prediction of its successor counts."""

    tokens: np.ndarray  # int32 [B, T]
    segments: np.ndarray  # int32 [B, T]
    targets: np.ndarray  # int32 [B, T], the next token
    weights: np.ndarray  # float32 [B, T], 0 or 1


def with_targets(tokens: np.ndarray, segments: np.ndarray, wanted: np.ndarray) -> Batch:
    """The batch of rows, all arguments [B, T]: a token counts where it is wanted and continues the same segment."""
    tokens, segments = tokens.astype(np.int32, copy=False), segments.astype(np.int32, copy=False)
    weights = np.zeros(tokens.shape, np.float32)
    weights[:, :-1] = wanted[:, 1:] & (segments[:, 1:] == segments[:, :-1])
    targets = np.zeros_like(tokens)
    targets[:, :-1] = tokens[:, 1:]
    return Batch(tokens, segments, targets, weights)
