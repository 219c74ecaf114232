"""Training data as the loop sees it, and the thread that has the next batches on the devices in time."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Protocol

import jax
import numpy as np

from polyturn.data import batches
from polyturn.data.batches import Batch
from polyturn.data.packing import Rows
from polyturn.utils.errors import UserError

AHEAD = 2  # batches that are read and on their way to the devices before they are asked for

type Place = Callable[[Batch], Batch]
"""Puts this host's share of a batch on the devices."""


class Source(Protocol):
    """Packed rows in an order that any step can be asked for at once."""

    @property
    def row(self) -> int:
        """T, tokens of a row."""
        ...

    def batch(self, step: int, size: int, host: int = 0, hosts: int = 1) -> Batch:
        """What host `host` of `hosts` takes of the `size` rows of `step`: numpy arrays [size / hosts, T]."""
        ...

    def digest(self) -> str:
        """Tells whether a run goes on with the data it began with."""
        ...


@dataclass(frozen=True)
class Shuffled:
    """Rows in memory, each once an epoch, in an order drawn anew for each epoch from the seed."""

    rows: Rows
    seed: int

    @property
    def row(self) -> int:
        """T, tokens of a row."""
        return self.rows.tokens.shape[1]

    def batch(self, step: int, size: int, host: int = 0, hosts: int = 1) -> Batch:
        """See `Source`."""
        return _share(batches.batch(self.rows, self.seed, step, size), host, hosts)

    def digest(self) -> str:
        """See `Source`."""
        return self.rows.digest()


@dataclass(frozen=True)
class Held:
    """Rows in memory for validation: in their order, each once, and then rows in which no position counts.

    So every batch has its full size on every host, whatever the number of rows, and the mean is over each row once.
    """

    rows: Rows

    @property
    def row(self) -> int:
        """T, tokens of a row."""
        return self.rows.tokens.shape[1]

    def batch(self, step: int, size: int, host: int = 0, hosts: int = 1) -> Batch:
        """See `Source`."""
        places = np.arange(step * size, (step + 1) * size)
        taken = batches.as_batch(self.rows, np.minimum(places, len(self.rows.tokens) - 1))
        taken.weights[places >= len(self.rows.tokens)] = 0.0
        return _share(taken, host, hosts)

    def digest(self) -> str:
        """See `Source`."""
        return self.rows.digest()


def _share(whole: Batch, host: int, hosts: int) -> Batch:
    size = len(whole.tokens) // hosts
    mine = slice(host * size, (host + 1) * size)
    return Batch(whole.tokens[mine], whole.segments[mine], whole.targets[mine], whole.weights[mine])


def read(source: Source, step: int, size: int, vocab: int) -> Batch:
    """This process's share of a batch.

    Raises:
        UserError: a token is outside the vocabulary. A gather on a device would take another row and say nothing.
    """
    share = source.batch(step, size, jax.process_index(), jax.process_count())
    largest, least = int(share.tokens.max(initial=0)), int(share.tokens.min(initial=0))
    if largest >= vocab or least < 0:
        raise UserError(
            f"The rows of step {step} hold token {largest if largest >= vocab else least} and the model's vocabulary "
            f"has {vocab} rows; encode the data with the model's tokenizer, or give the model a larger vocabulary."
        )
    return share


@contextmanager
def feed(source: Source, first: int, size: int, vocab: int, place: Place) -> Iterator[Iterator[Batch]]:
    """The batches of step `first` and all later ones, placed by `place`; a thread is `AHEAD` of the caller."""
    pool = ThreadPoolExecutor(1, "feed")

    def submit(step: int):
        return pool.submit(lambda: place(read(source, step, size, vocab)))

    def stream() -> Iterator[Batch]:
        waiting = deque(submit(first + n) for n in range(AHEAD))
        for step in count(first + AHEAD):
            waiting.append(submit(step))
            yield waiting.popleft().result()

    try:
        yield stream()
    finally:
        pool.shutdown(cancel_futures=True)
