"""From a source of rows to batches on the devices, whatever the mesh and however many hosts.

Batch k is a pure function of (seed, k), and so is each of the parts into which the mesh cuts it. A process reads the
parts that its own devices hold, and no others; a thread does so ahead of the step.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any, Protocol

import jax
import numpy as np

from polyturn.data.batches import Batch
from polyturn.model.attention import check_documents
from polyturn.parallel.rules import sharding
from polyturn.train.config import TrainConfig
from polyturn.train.step import mesh_in_force
from polyturn.utils.errors import UserError

AHEAD = 2  # batches that are read and on their way to the devices before they are asked for
FIELDS = ("tokens", "segments", "targets", "weights")


class Source(Protocol):
    """Training data, as `data.sampler.Mixture`, or rows for validation, as `data.sampler.InOrder`."""

    @property
    def row(self) -> int:
        """Tokens in a row, T."""
        ...

    def batch(self, step: int, size: int, host: int = 0, hosts: int = 1) -> Batch:
        """Part `host` of `hosts` of the `size` rows of `step`: a pure function of its arguments."""
        ...

    def digest(self) -> str:
        """Differs where a batch would differ."""
        ...

    def most_documents(self) -> int:
        """How many documents a row holds at most, padding counted as one. May look at all rows."""
        ...


def feed(source: Source, step: int, size: int) -> Batch:
    """The batch of `step`, `size` rows, on the mesh in force: jax arrays `[size, T]`, cut along the batch."""
    mesh = mesh_in_force()
    if mesh is None:
        return jax.tree.map(jax.device_put, source.batch(step, size))
    parts = mesh.shape["data"] * mesh.shape["fsdp"]
    part_of = cache(lambda part: source.batch(step, size, part, parts))  # devices along tensor share it
    cut, shape = sharding(mesh, ("batch",)), (size, source.row)

    def reader(name: str) -> Callable[[Any], np.ndarray]:
        return lambda index: getattr(part_of((index[0].start or 0) * parts // size), name)

    arrays: list[Any] = [jax.make_array_from_callback(shape, cut, reader(name)) for name in FIELDS]
    return Batch(*arrays)


@dataclass(frozen=True)
class Checked:
    """A source whose rows are looked at: what a device cannot do right, it does wrong and says nothing."""

    source: Source
    config: TrainConfig

    @property
    def row(self) -> int:
        """Tokens in a row, T."""
        return self.source.row

    def batch(self, step: int, size: int, host: int = 0, hosts: int = 1) -> Batch:
        """As of `Source`.

        Raises:
            UserError: a token is outside the vocabulary, or a row has more documents than the attention keeps apart.
        """
        part = self.source.batch(step, size, host, hosts)
        check_documents(self.config.compute.attention, part.segments)
        vocab = self.config.model.vocab
        for token in (int(part.tokens.max(initial=0)), int(part.tokens.min(initial=0))):
            if not 0 <= token < vocab:
                raise UserError(
                    f"The rows of step {step} hold token {token} and the model's vocabulary has {vocab} rows; "
                    "encode the data with the model's tokenizer, or give the model a larger vocabulary."
                )
        return part

    def digest(self) -> str:
        """As of `Source`."""
        return self.source.digest()

    def most_documents(self) -> int:
        """As of `Source`."""
        return self.source.most_documents()


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
