"""Pack tokenised documents into rows of a fixed length, whole, with their boundaries kept.

Best fit: each document goes into the fullest row that still has room. Documents of one row get different
segment numbers, and attention keeps them apart, so packing changes what a step costs and not what it learns.
"""

import hashlib
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polyturn.utils.atomic import replacing
from polyturn.utils.errors import UserError


@dataclass(frozen=True)
class Rows:
    """Packed rows. Position t of a row predicts position t + 1; the last position predicts nothing."""

    tokens: np.ndarray  # uint16 or uint32 [N, T]
    segments: np.ndarray  # uint16 [N, T]; 1, 2, ... count a row's documents, 0 is padding
    targets: np.ndarray  # bool [N, T]: does this token count in the loss, as something to be predicted?

    def digest(self) -> str:
        """SHA-256 over the arrays: tells whether a run goes on with the data it began with."""
        total = hashlib.sha256(repr(self.tokens.shape).encode())
        for array in (self.tokens, self.segments, self.targets):
            total.update(np.ascontiguousarray(array).data)
        return total.hexdigest()


def pack(documents: Iterable[tuple[Sequence[int], Sequence[bool]]], length: int, pad_id: int) -> Rows:
    """Rows of `length` tokens from (ids, target) documents; the order of documents decides the result alone.

    Raises:
        UserError: a document is longer than a row.
    """
    rows: list[list[tuple[Sequence[int], Sequence[bool]]]] = []
    room: list[tuple[int, int]] = []  # (free positions, row), sorted: the best fit is the first that is large enough
    for ids, target in documents:
        size = len(ids)
        if size > length:
            raise UserError(f"A document has {size} tokens and rows hold {length}; use longer rows or cut it first.")
        place = bisect_left(room, (size, -1))
        if place == len(room):
            free, row = length, len(rows)
            rows.append([])
        else:
            free, row = room.pop(place)
        rows[row].append((ids, target))
        if free - size >= MIN_ROOM:
            insort(room, (free - size, row))
    return _arrays(rows, length, pad_id)


MIN_ROOM = 8  # a row with less room than this is closed: no document is that short


def _arrays(rows: list[list[tuple[Sequence[int], Sequence[bool]]]], length: int, pad_id: int) -> Rows:
    largest = max((max(ids, default=0) for row in rows for ids, _ in row), default=0)
    tokens = np.full((len(rows), length), pad_id, np.uint16 if max(largest, pad_id) < 2**16 else np.uint32)
    segments = np.zeros((len(rows), length), np.uint16)
    targets = np.zeros((len(rows), length), bool)
    for n, row in enumerate(rows):
        at = 0
        for segment, (ids, target) in enumerate(row, 1):
            end = at + len(ids)
            tokens[n, at:end], segments[n, at:end], targets[n, at:end] = ids, segment, target
            at = end
    return Rows(tokens, segments, targets)


def save_rows(path: Path, rows: Rows) -> None:
    """Write packed rows, whole or not at all."""
    with replacing(path) as temporary, open(temporary, "wb") as handle:
        np.savez(handle, tokens=rows.tokens, segments=rows.segments, targets=rows.targets)


def load_rows(path: Path) -> Rows:
    """Read what `save_rows` wrote."""
    with np.load(path) as arrays:
        return Rows(arrays["tokens"], arrays["segments"], arrays["targets"])
