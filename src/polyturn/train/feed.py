"""From a source of rows to batches on the devices, whatever the mesh and however many hosts.

Batch k is a pure function of (seed, k), and so is each of the parts into which the mesh cuts it. A process reads the
parts that its own devices hold, and no others.
"""

from collections.abc import Callable
from functools import cache
from typing import Protocol

import jax
import numpy as np

from polyturn.data.batches import Batch
from polyturn.parallel.rules import sharding
from polyturn.train.step import mesh_in_force

FIELDS = ("tokens", "segments", "targets", "weights")


class Source(Protocol):
    """Training data; `data.sampler.Mixture` is one."""

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


def feed(source: Source, step: int, size: int) -> Batch:
    """The batch of `step`, `size` rows, on the mesh in force: jax arrays `[size, T]`, cut along the batch."""
    mesh = mesh_in_force()
    if mesh is None:
        return jax.tree.map(jax.device_put, source.batch(step, size))
    parts = mesh.shape["data"] * mesh.shape["fsdp"]
    part_of = cache(lambda part: source.batch(step, size, part, parts))  # devices along tensor share it
    cut, shape = sharding(mesh, ("batch",)), (size, source.row)

    def reader(name: str) -> Callable[[tuple[slice, ...]], np.ndarray]:
        return lambda index: getattr(part_of((index[0].start or 0) * parts // size), name)

    return Batch(*(jax.make_array_from_callback(shape, cut, reader(name)) for name in FIELDS))
