"""Attention within documents by NumPy in float64, one document at a time, with its derivative written out by hand.

Shared by the tests of every backend, on any device.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Case:
    """Packed rows and what they must give, all float64 but the segments. `g` is the cotangent of the result."""

    q: np.ndarray  # [B, T, H, K], as the three below
    k: np.ndarray
    v: np.ndarray
    g: np.ndarray  # 0 at padding, as in training, where padding does not count in the loss
    segments: np.ndarray  # int32 [B, T]
    out: np.ndarray  # and the gradients of sum(g * out)
    d_q: np.ndarray
    d_k: np.ndarray
    d_v: np.ndarray

    @property
    def inputs(self) -> tuple[np.ndarray, ...]:
        return self.q, self.k, self.v, self.g

    @property
    def wanted(self) -> dict[str, np.ndarray]:
        return {"out": self.out, "d_q": self.d_q, "d_k": self.d_k, "d_v": self.d_v}


def rows_of(lengths: list[list[int]], length: int) -> np.ndarray:
    """Segments int32 `[B, length]` from the lengths of each row's documents; the rest is padding, 0."""
    rows = [np.repeat(np.arange(1, len(row) + 1), row) for row in lengths]
    return np.stack([np.pad(row, (0, length - len(row))) for row in rows]).astype(np.int32)


def make(segments: np.ndarray, heads: int, width: int, seed: int = 0, rounded_to: type | None = None) -> Case:
    """A case with normal inputs, drawn from `seed`, of the precision that `rounded_to` has."""
    draw = np.random.default_rng(seed)
    shape = (*segments.shape, heads, width)
    q, k, v, g = (draw.standard_normal(shape).astype(rounded_to or np.float32).astype(np.float64) for _ in range(4))
    g[segments == 0] = 0
    out, d_q, d_k, d_v = (np.zeros(shape) for _ in range(4))
    for b, at in documents(segments):
        for h in range(heads):
            one = (b, at, h)
            out[one], d_q[one], d_k[one], d_v[one] = document(q[one], k[one], v[one], g[one])
    return Case(q, k, v, g, segments, out, d_q, d_k, d_v)


def documents(segments: np.ndarray) -> Iterator[tuple[int, slice]]:
    """The documents of rows, padding among them: runs of equal segments."""
    for b, row in enumerate(segments):
        edges = [0, *(np.flatnonzero(np.diff(row)) + 1).tolist(), len(row)]
        for begin, end in pairwise(edges):
            yield b, slice(begin, end)


def document(q: np.ndarray, k: np.ndarray, v: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, ...]:
    """One head of one document, all `[T, K]`: the result, and the gradients of q, k and v."""
    scale = q.shape[1] ** -0.5
    scores = np.where(np.tri(len(q), dtype=bool), q @ k.T * scale, -np.inf)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    d_weights = g @ v.T
    d_scores = weights * (d_weights - (weights * d_weights).sum(axis=1, keepdims=True)) * scale
    return weights @ v, d_scores @ k, d_scores.T @ q, weights.T @ g
