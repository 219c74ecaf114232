"""Token files: encoded documents in the order in which they are packed, so that a bucket is one piece of each file.

    write(path, [draw(seed, id, share) for id in ids], documents, given, Buckets(validation=1, train=16))
    merged(paths, place, dtype)         # all documents of one bucket, and how many tokens of each are given

The shuffle is a sort by keys that are hashes of the seed and a document's id. A bucket is a range of keys, and numbers
of documents are so even over ranges that all buckets are about as large. The first buckets are those of the documents
held back for validation.

A file, all numbers little-endian: [buckets + 1, 2] of 8 bytes, the first document and the first byte of each bucket and
the end; then for each bucket its keys (16 bytes a document), its lengths (4 bytes), how many of the first tokens are
given and not learned (4 bytes a document) and its tokens (2 or 4 bytes each).
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from polyturn.utils.atomic import replacing


class Key(NamedTuple):
    """Where a document goes: of the seed and its id alone."""

    held_back: bool  # for validation
    high: int  # of 128 bits that documents are sorted by
    low: int


@dataclass(frozen=True)
class Buckets:
    """How many there are. Their places are numbers from 0, those of validation first."""

    validation: int
    train: int

    @property
    def places(self) -> int:
        """Of both kinds."""
        return self.validation + self.train

    def of(self, held_back: np.ndarray, high: np.ndarray) -> np.ndarray:
        """The place of each key: bool [N] and uint64 [N] -> int64 [N]."""
        return np.where(held_back, _range(high, self.validation), self.validation + _range(high, self.train))


class Bucket(NamedTuple):
    """Documents in the order of their keys."""

    keys: np.ndarray  # uint64 [N, 2]
    lengths: np.ndarray  # uint32 [N]
    given: np.ndarray  # uint32 [N], of the first tokens
    tokens: np.ndarray  # uint16 or uint32 [sum of lengths]


def draw(seed: int, name: str, share: float) -> Key:
    """The key of a document. A share of all are held back."""
    drawn = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    low, high, chance = (int.from_bytes(drawn[at : at + 8], "big") for at in (0, 8, 16))
    return Key(chance / 2**64 < share, high, low)


def write(
    path: Path, keys: Sequence[Key], documents: Sequence[np.ndarray], given: Sequence[int], buckets: Buckets
) -> np.ndarray:
    """Write documents, uint16 or uint32 arrays all alike, in any order. Returns how many each bucket has, int64."""
    held_back, high, low = (np.array(column) for column in zip(*keys, strict=True)) if keys else ([], [], [])
    both = np.stack([high, low], axis=1).astype("<u8") if keys else np.empty((0, 2), "<u8")
    place = buckets.of(np.array(held_back, bool), both[:, 0])
    order = np.lexsort((both[:, 1], both[:, 0], place))
    firsts = np.searchsorted(place[order], np.arange(buckets.places + 1))
    lengths = np.array([len(document) for document in documents], "<u4")
    not_learned = np.array(given, "<u4")
    width = documents[0].itemsize if documents else 0
    sizes = np.append(0, np.cumsum(24 + width * lengths[order].astype(np.int64)))
    table = np.stack([firsts, sizes[firsts] + 16 * (buckets.places + 1)], axis=1).astype("<u8")
    with replacing(path) as temporary, open(temporary, "wb", buffering=1 << 20) as file:
        file.write(table.tobytes())
        for first, end in pairwise(firsts.tolist()):
            chosen = order[first:end]
            file.write(both[chosen].tobytes())
            file.write(lengths[chosen].tobytes())
            file.write(not_learned[chosen].tobytes())
            for document in chosen.tolist():
                file.write(documents[document].data)
    return np.diff(firsts)


def read(path: Path, place: int, dtype: np.dtype) -> Bucket:
    """One bucket of a file, by two reads wherever it is."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        (first, start), (last, end) = np.frombuffer(os.pread(file, 32, 16 * place), "<u8").reshape(2, 2).tolist()
        data = _read(file, end - start, start)
    finally:
        os.close(file)
    count = last - first
    keys = np.frombuffer(data, "<u8", 2 * count).reshape(count, 2)
    lengths = np.frombuffer(data, "<u4", count, offset=16 * count)
    given = np.frombuffer(data, "<u4", count, offset=20 * count)
    return Bucket(keys, lengths, given, np.frombuffer(data, dtype, offset=24 * count))


def merged(paths: Iterable[Path], place: int, dtype: np.dtype) -> tuple[list[np.ndarray], list[int]]:
    """Of each document of one bucket of several files, in the order of keys: its tokens; how many of them are given."""
    found = [read(path, place, dtype) for path in paths]
    keys = np.concatenate([np.empty((0, 2), "<u8"), *(each.keys for each in found)])
    given = np.concatenate([np.empty(0, "<u4"), *(each.given for each in found)])
    documents: list[np.ndarray] = []
    for _, lengths, _, tokens in found:
        ends = np.cumsum(lengths, dtype=np.int64)
        documents += [tokens[start:end] for start, end in zip((ends - lengths).tolist(), ends.tolist(), strict=True)]
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    return [documents[n] for n in order.tolist()], given[order].tolist()


def _read(file: int, size: int, at: int) -> bytes:
    """Linux reads at most 2 GiB at once."""
    pieces = []
    while size:
        pieces.append(os.pread(file, min(size, 1 << 30), at))
        if not pieces[-1]:
            raise OSError("a file of tokens is cut off")
        size, at = size - len(pieces[-1]), at + len(pieces[-1])
    return b"".join(pieces)


def _range(high: np.ndarray, count: int) -> np.ndarray:
    """Which of `count` equal ranges of 64 bits a number is in; 0 where there are none."""
    bounds = np.array([-(-(n << 64) // count) for n in range(count)], np.uint64)
    return np.maximum(np.searchsorted(bounds, high, "right") - 1, 0)
