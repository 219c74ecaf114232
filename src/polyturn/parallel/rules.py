"""Which axis of an array is cut by which axis of the mesh: one table, for weights, moments and batches alike.

Arrays name their axes by meaning ("embed", "inner", "vocab", ...; `model/params.py`), never by mesh axes, so that the
table below is the only place that knows both.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from polyturn.parallel.mesh import AXES, BATCH, MeshShape
from polyturn.utils.errors import UserError

RULES: dict[str, tuple[str, ...]] = {
    "batch": BATCH,
    "embed": ("fsdp",),  # the residual stream's side of a matrix
    "inner": ("tensor",),  # heads and hidden units
    "vocab": ("tensor",),
    "layer": (),
    "small": (),  # norms and biases of the residual stream: cutting them would cost more messages than it saves
}


def spec(axes: Sequence[str | None]) -> PartitionSpec:
    """How an array with these logical axes is cut; None is an axis that never is.

    Raises:
        ValueError: two axes of one array would be cut by the same axis of the mesh.
    """
    cuts = [RULES[axis] if axis is not None else () for axis in axes]
    used = [name for cut in cuts for name in cut]
    if len(used) != len(set(used)):
        raise ValueError(f"The axes {tuple(axes)} of one array are cut twice by the same mesh axis: {cuts}.")
    entries = [cut[0] if len(cut) == 1 else (cut or None) for cut in cuts]
    while entries and entries[-1] is None:
        entries.pop()
    return PartitionSpec(*entries)


def make_mesh(shape: MeshShape, devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh over `devices`, by default all of the job's, with explicit axis types.

    Tensor is the innermost axis, so that its devices are neighbours: it talks the most.

    Raises:
        UserError: the shape does not take all devices.
    """
    devices = jax.devices() if devices is None else list(devices)
    sizes = shape.over(len(devices)).sizes
    if devices[0].platform == "tpu" and devices == jax.devices():  # let JAX fit the axes to the torus
        return jax.make_mesh(sizes, AXES, axis_types=(AxisType.Explicit,) * len(AXES))
    return Mesh(np.array(devices).reshape(sizes), AXES, axis_types=(AxisType.Explicit,) * len(AXES))


def sharding(mesh: Mesh, axes: Sequence[str | None]) -> NamedSharding:
    """Where an array with these logical axes lives on `mesh`."""
    return NamedSharding(mesh, spec(axes))


def check_divides(what: str, axes: Sequence[str | None], shape: Sequence[int], mesh: MeshShape) -> None:
    """Raise UserError where the mesh does not divide an axis of `what`."""
    sizes: dict[str, int] = dict(zip(AXES, mesh.sizes, strict=True))
    for axis, length in zip(axes, shape, strict=True):
        for name in RULES[axis] if axis is not None else ():
            if length % sizes[name]:
                raise UserError(
                    f"{sizes[name]} devices along {name} do not divide the {length} of {what}; "
                    f"choose a number along {name} that does."
                )
