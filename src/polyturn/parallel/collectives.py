"""What devices say to each other inside a step, in the terms of the mesh.

A step runs under `jax.shard_map`: every device computes with its own parts, and what must cross devices is written
down here and nowhere else. Outside of it (on one device, in the engine) the same code runs and these functions do
nothing. The transposes come from JAX's typing of what varies over which axis: an array that is whole on every device of
an axis gets the sum of all devices' gradients, and a sum's gradient goes to each of them.
"""

from typing import Any

import jax
import jax.numpy as jnp

from polyturn.parallel.mesh import AXES


def bound() -> bool:
    """Whether the code being traced runs on the parts of a mesh's arrays."""
    return bool(jax.sharding.get_abstract_mesh().manual_axes)


def varying(x: jax.Array) -> frozenset[str]:
    """The mesh axes along which devices may hold different values of `x`; none on one device."""
    if not bound():
        return frozenset()
    kind: Any = jax.typeof(x)
    return kind.mat.varying if hasattr(kind, "mat") else kind.vma  # jax 0.12, 0.11


def alike[*Ts](*arrays: *Ts) -> tuple[*Ts]:
    """The arrays, each marked as varying along every axis along which one of them does.

    What JAX does by itself for its own operations; rules written by hand want operands that match.
    """
    if not bound():
        return arrays
    leaves: list[Any] = list(arrays)
    union = frozenset().union(*(varying(x) for x in leaves))
    return tuple(vary(x, tuple(a for a in AXES if a in union)) for x in leaves)  # type: ignore[return-value]


def vary(x: jax.Array, axes: tuple[str, ...]) -> jax.Array:
    """`x` marked as varying along `axes`, and along those where it did before."""
    missing = tuple(axis for axis in axes if axis not in varying(x)) if bound() else ()
    return jax.lax.pcast(x, missing, to="varying") if missing else x


def zeros_like(x: jax.Array) -> jax.Array:
    """Zeros of the shape and dtype of `x`, marked as varying like it: something to add to in a loop."""
    return vary(jnp.zeros(x.shape, x.dtype), tuple(varying(x)))


def gather(x: jax.Array, axis: str, dimension: int) -> jax.Array:
    """The whole of an array whose `dimension` is cut along the mesh's `axis`."""
    return jax.lax.all_gather(x, axis, axis=dimension, tiled=True) if bound() else x


def scatter_sum(x: jax.Array, axis: str, dimension: int) -> jax.Array:
    """This device's part, cut along `dimension`, of the sum of all devices' `x` along the mesh's `axis`."""
    return jax.lax.psum_scatter(x, axis, scatter_dimension=dimension, tiled=True) if bound() else x


def total(x: jax.Array, *axes: str) -> jax.Array:
    """The sum over the devices along `axes`."""
    return jax.lax.psum(x, axes) if bound() and axes else x


def largest(x: jax.Array, *axes: str) -> jax.Array:
    """The largest of the devices' values along `axes`, by element. Has no gradient."""
    return jax.lax.pmax(x, axes) if bound() else x


def place(axis: str) -> jax.Array | int:
    """This device's number along `axis`."""
    return jax.lax.axis_index(axis) if bound() else 0
