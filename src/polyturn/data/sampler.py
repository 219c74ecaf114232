"""Batch k of a weighted mixture of shards, from (seed, k) and the number of the host alone.

    mixture = Mixture([(open("code"), 0.8), (open("text"), 0.2)], seed=0, stages=[(10_000, (1, 0))])
    batch = mixture.batch(step=123_456, size=512, host=3, hosts=8)       # no earlier step is looked at
    for batch in mixture.prefetch(123_456, size=512): ...

Rows are numbered from the first step on: row g = step * size + place. Three things are computed for any g with no walk
through what came before:

- *Which part.* The parts share the numbers as evenly as whole numbers can: of the first g, the first part gets
  floor(g * weight / sum of weights), and the next parts share the others in the same way. In exact integers: each
  part stays within as many rows of its weight as there are parts, for ever.
- *Which of its rows.* The n-th number of a part of N rows is place n mod N of epoch n // N, and the place is sent
  through a permutation of 0 to N - 1 keyed by seed, part and epoch: a Feistel network on as many bits as N takes,
  walked until it is below N (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002). So each row comes
  once an epoch.
- *Which host.* Host h of H takes the h-th part of a batch's places: the slices of all hosts, put together, are the
  batch of one.

A stage takes over at its step with its weights; the parts' counts, and so their epochs, go on. Steps mean the same rows
only as long as `size` stays the same, so keep it for a run.
"""

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from math import gcd, lcm

import numpy as np

from polyturn.data.batches import Batch, with_targets
from polyturn.data.shards import Rows, Shards
from polyturn.utils.errors import UserError

ROUNDS = 8  # of the Feistel network: well mixed for shuffling; nothing is to be kept secret
MAX_WEIGHT = 2**40  # sum of weights as whole numbers: products stay within 63 bits

type Weight = int | float


class Mixture:
    """A weighted mixture, and the order of its rows."""

    def __init__(
        self,
        parts: Sequence[tuple[Shards, Weight]],
        seed: int,
        stages: Sequence[tuple[int, Sequence[Weight]]] = (),
        separate: bool = True,
    ) -> None:
        """Take shards with their weights.

        Args:
            parts: shards and how large a share of the rows of a batch they get; 0.7 means 7/10 exactly.
            seed: of the order of rows.
            stages: (first step, weight of each part) of later stages, by step.
            separate: whether documents of one row are kept apart: their own segments, and none predicts the next.

        Raises:
            UserError: parts differ in row length or tokenizer, weights or stages make no sense.
        """
        self.parts = [shards for shards, _ in parts]
        self.seed, self.separate = seed, separate
        if not self.parts:
            raise UserError("A mixture needs shards; name at least one folder.")
        for shards in self.parts:
            _check_alike(self.parts[0], shards)
        every = [(0, [weight for _, weight in parts]), *stages]
        self.stages = [(step, _whole(weights, len(parts))) for step, weights in every]
        if any(later <= earlier for (earlier, _), (later, _) in zip(self.stages, self.stages[1:], strict=False)):
            raise UserError("Stages of a mixture must start at steps above 0, one after the other; order them.")

    @property
    def row(self) -> int:
        """Tokens in a row, T."""
        return self.parts[0].index.row

    def digest(self) -> str:
        """SHA-256 over all that decides what the batches are."""
        parts = [str(part.manifest["sha256"]) for part in self.parts]
        return hashlib.sha256(repr((parts, self.stages, self.seed, self.separate)).encode()).hexdigest()

    def most_documents(self) -> int:
        """Documents in the row that holds the most of them, padding counted as one. Looks at all rows."""
        return 1 + max(part.most_pieces() for part in self.parts) if self.separate else 2

    def batch(self, step: int, size: int, host: int = 0, hosts: int = 1) -> Batch:
        """The rows of `step` that host `host` of `hosts` takes: [size / hosts, T].

        Raises:
            UserError: the batch cannot be shared evenly among the hosts.
        """
        share = _share_of(size, host, hosts)
        part_of, rows = self.choose(step, host * share, share, size)
        shape = (len(rows), self.row)
        read = Rows(np.empty(shape, np.int32), np.empty(shape, np.int32), np.empty(shape, bool))
        for part in np.unique(part_of):
            mine = part_of == part
            for array, found in zip(read, self.parts[part].read(rows[mine]), strict=True):
                array[mine] = found
        return as_batch(read, self.separate)

    def choose(self, step: int, place: int, taken: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Which rows are at places `place` to `place + taken` of the batch of `step`.

        Returns:
            The part of each and the row in it, both int64 [taken].
        """
        stage = max(n for n, (first, _) in enumerate(self.stages) if first <= step)
        begin, weights = self.stages[stage]
        counts = [0] * len(self.parts)  # rows that each part gave in earlier stages
        for (first, before), (end, _) in zip(self.stages[:stage], self.stages[1:], strict=False):
            counts = [had + n for had, n in zip(counts, _counts((end - first) * size, before), strict=True)]
        part_of, number = _share((step - begin) * size + place, taken, weights)
        rows = np.empty(taken, np.int64)
        for part in np.unique(part_of):
            mine = part_of == part
            rows[mine] = self._rows(int(part), counts[part] + number[part], int(mine.sum()))
        return part_of, rows

    def prefetch(self, step: int, size: int, host: int = 0, hosts: int = 1, ahead: int = 2) -> Iterator[Batch]:
        """The batches of `step` and all later ones; a thread reads `ahead` of them while the caller computes."""
        pool = ThreadPoolExecutor(1, "prefetch")
        waiting = deque(pool.submit(self.batch, step + n, size, host, hosts) for n in range(ahead))
        try:
            for following in count(step + ahead):
                waiting.append(pool.submit(self.batch, following, size, host, hosts))
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _rows(self, part: int, first: int, taken: int) -> np.ndarray:
        """The rows with numbers `first` to `first + taken` in the order of a part."""
        length = len(self.parts[part])
        rows = []
        while taken:
            epoch, place = divmod(first, length)
            now = min(taken, length - place)
            rows.append(permuted(np.arange(place, place + now), length, f"{self.seed}:{part}:{epoch}"))
            first, taken = first + now, taken - now
        return np.concatenate(rows)


@dataclass(frozen=True)
class InOrder:
    """The rows of shards in their order, each once, and after them rows in which nothing counts: for validation.

    So every batch has its full size on every host, whatever the number of rows, and a mean is over each row once.
    """

    shards: Shards
    separate: bool = True

    @property
    def row(self) -> int:
        """Tokens in a row, T."""
        return self.shards.index.row

    def digest(self) -> str:
        """As of `Mixture`."""
        return hashlib.sha256(repr((self.shards.manifest["sha256"], self.separate)).encode()).hexdigest()

    def most_documents(self) -> int:
        """As of `Mixture`."""
        return 1 + self.shards.most_pieces() if self.separate else 2

    def batch(self, step: int, size: int, host: int = 0, hosts: int = 1) -> Batch:
        """As of `Mixture`; step 0 holds the first rows."""
        share = _share_of(size, host, hosts)
        places = step * size + host * share + np.arange(share)
        beyond = places >= len(self.shards)
        batch = as_batch(self.shards.read(np.where(beyond, 0, places)), self.separate)
        batch.weights[beyond] = 0.0
        return batch


def _share_of(size: int, host: int, hosts: int) -> int:
    if size % hosts or not 0 <= host < hosts:
        raise UserError(f"Host {host} of {hosts} gets no even share of {size} rows; make them a multiple of hosts.")
    return size // hosts


def as_batch(rows: Rows, separate: bool = True) -> Batch:
    """The batch of rows as `Shards.read` gives them.

    Args:
        separate: as for `Mixture`. Without it a row is one segment, and the first token of a document is predicted from
            the document before it, as in the paper.
    """
    segments = rows.segments if separate else (rows.segments > 0).astype(np.int32)
    return with_targets(rows.tokens, segments, rows.wanted)


def permuted(places: np.ndarray, length: int, key: str) -> np.ndarray:
    """Where a permutation of 0 to `length` - 1, drawn by `key`, sends some `places`: int64, in the same shape."""
    bits = max(2, (length - 1).bit_length())
    low = bits // 2
    halves = (np.uint64((1 << bits - low) - 1), np.uint64((1 << low) - 1))
    keys = np.frombuffer(hashlib.blake2b(key.encode(), digest_size=8 * ROUNDS).digest(), "<u8")

    def network(x: np.ndarray) -> np.ndarray:
        one, other = x >> np.uint64(low), x & halves[1]
        for n in range(0, ROUNDS, 2):
            one ^= _mix(other + keys[n]) & halves[0]
            other ^= _mix(one + keys[n + 1]) & halves[1]
        return one << np.uint64(low) | other

    out = network(places.astype(np.uint64))
    while (outside := out >= length).any():
        out[outside] = network(out[outside])
    return out.astype(np.int64)


def _mix(x: np.ndarray) -> np.ndarray:
    """MurmurHash3's 64-bit finalizer: each bit of the result depends on every bit of uint64 `x`."""
    x = (x ^ x >> np.uint64(33)) * np.uint64(0xFF51AFD7ED558CCD)
    x = (x ^ x >> np.uint64(33)) * np.uint64(0xC4CEB9FE1A85EC53)
    return x ^ x >> np.uint64(33)


def _share(first: int, taken: int, weights: Sequence[int]) -> tuple[np.ndarray, list[int]]:
    """Whose the numbers `first` to `first + taken` are, int64 [taken], and what each part had had before `first`."""
    part_of = np.zeros(taken, np.int64)
    before = _counts(first, weights)
    left = np.arange(taken)  # places of the numbers that are still to be given
    whole = sum(weights)
    for part, weight in enumerate(weights):
        if whole == weight:  # the last part that gets any
            part_of[left] = part
            break
        # Of the first g of these numbers, the part has floor(g * weight / whole); g = first + 0, 1, ...
        had = (first * weight % whole + np.arange(len(left) + 1) * weight) // whole
        gets = np.diff(had) > 0
        part_of[left[gets]] = part
        left = left[~gets]
        first -= before[part]
        whole -= weight
    return part_of, before


def _counts(numbers: int, weights: Sequence[int]) -> list[int]:
    """How many of the first `numbers` each part gets."""
    counts, whole = [], sum(weights)
    for weight in weights:
        counts.append(numbers * weight // whole if weight else 0)
        numbers, whole = numbers - counts[-1], whole - weight
    return counts


def _whole(weights: Sequence[Weight], parts: int) -> list[int]:
    """Weights as whole numbers in the same proportions."""
    try:
        shares = [Fraction(str(weight)) for weight in weights]
    except ValueError:
        shares = []
    if len(shares) != parts or min(shares) < 0 or not any(shares):
        raise UserError(
            f"Weights {list(weights)} do not fit {parts} parts; give each a number, none below 0, not all 0."
        )
    unit = lcm(*(share.denominator for share in shares))
    whole = [int(share * unit) for share in shares]
    whole = [weight // gcd(*whole) for weight in whole]
    if sum(whole) >= MAX_WEIGHT:
        raise UserError(f"Weights {list(weights)} have too many digits; round them.")
    return whole


def _check_alike(one: Shards, other: Shards) -> None:
    if one.index.row != other.index.row:
        raise UserError(
            f"{one.folder} has rows of {one.index.row} tokens and {other.folder} of {other.index.row}; "
            "build them alike."
        )
    if one.manifest.get("tokenizer") != other.manifest.get("tokenizer"):
        raise UserError(f"{one.folder} and {other.folder} were made with different tokenizers; build them with one.")
