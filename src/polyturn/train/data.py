"""Rows in memory as training data, and a thread that has the next batches on the devices in time."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

import jax
import numpy as np

from polyturn.data import batches
from polyturn.data.batches import Batch
from polyturn.data.packing import Rows
from polyturn.model.attention import check_documents
from polyturn.train.feed import Source, feed
from polyturn.utils.errors import UserError

AHEAD = 2  # batches that are read and on their way to the devices before they are asked for


@dataclass(frozen=True)
class Shuffled:
    """Rows in memory, each once an epoch, in an order drawn anew for each epoch from the seed. A `feed.Source`."""

    rows: Rows
    seed: int

    @property
    def row(self) -> int:
        """Tokens in a row, T."""
        return self.rows.tokens.shape[1]

    def batch(self, step: int, size: int, host: int = 0, hosts: int = 1) -> Batch:
        """As of `feed.Source`."""
        return _part(batches.batch(self.rows, self.seed, step, size), host, hosts)

    def digest(self) -> str:
        """As of `feed.Source`."""
        return self.rows.digest()


@dataclass(frozen=True)
class Held:
    """Rows in memory in their order, each once, and after them rows in which nothing counts: for validation.

    So every batch has its full size on every host, whatever the number of rows, and a mean is over each row once.
    """

    rows: Rows

    @property
    def row(self) -> int:
        """Tokens in a row, T."""
        return self.rows.tokens.shape[1]

    def batch(self, step: int, size: int, host: int = 0, hosts: int = 1) -> Batch:
        """As of `feed.Source`; step 0 holds the first rows."""
        places = np.arange(step * size, (step + 1) * size)
        beyond = places >= len(self.rows.tokens)
        taken = batches.as_batch(self.rows, np.where(beyond, 0, places))
        taken.weights[beyond] = 0.0
        return _part(taken, host, hosts)

    def digest(self) -> str:
        """As of `feed.Source`."""
        return self.rows.digest()


def _part(whole: Batch, host: int, hosts: int) -> Batch:
    size = len(whole.tokens) // hosts
    mine = slice(host * size, (host + 1) * size)
    return Batch(whole.tokens[mine], whole.segments[mine], whole.targets[mine], whole.weights[mine])


@dataclass(frozen=True)
class Checked:
    """A source whose rows are looked at before a device, which would say nothing, computes with them.

    Tokens must be within the vocabulary, and a row's documents no more than the attention has room for.
    """

    source: Source
    vocab: int
    attention: str = "reference"

    @property
    def row(self) -> int:
        """Tokens in a row, T."""
        return self.source.row

    def batch(self, step: int, size: int, host: int = 0, hosts: int = 1) -> Batch:
        """As of `feed.Source`. Raises UserError where a token or a row's number of documents is too large."""
        part = self.source.batch(step, size, host, hosts)
        for token in (int(part.tokens.max(initial=0)), int(part.tokens.min(initial=0))):
            if not 0 <= token < self.vocab:
                raise UserError(
                    f"The rows of step {step} hold token {token} and the model's vocabulary has {self.vocab} rows; "
                    "encode the data with the model's tokenizer, or give the model a larger vocabulary."
                )
        check_documents(self.attention, part.segments)
        return part

    def digest(self) -> str:
        """As of `feed.Source`."""
        return self.source.digest()


@contextmanager
def prefetch(source: Source, first: int, size: int) -> Iterator[Iterator[Batch]]:
    """The batches of step `first` and all later ones on the mesh in force; a thread is `AHEAD` of the caller."""
    pool, mesh = ThreadPoolExecutor(1, "prefetch"), jax.sharding.get_mesh()

    def place(step: int) -> Batch:
        with jax.set_mesh(mesh):  # which mesh is in force is a matter of each thread
            return feed(source, step, size)

    def stream() -> Iterator[Batch]:
        waiting: deque[Future[Batch]] = deque(pool.submit(place, first + n) for n in range(AHEAD))
        for step in count(first + AHEAD):
            waiting.append(pool.submit(place, step))
            yield waiting.popleft().result()

    try:
        yield stream()
    finally:
        pool.shutdown(cancel_futures=True)
