"""What devices say to each other inside a step, in the terms of the mesh.

A step runs under `jax.shard_map`: every device computes with its own parts, and what must cross devices is written
down here and nowhere else. Outside of it (on one device, in the engine) the same code runs and these functions do
nothing. The transposes come from JAX's typing of what varies over which axis: an array that is whole on every device of
an axis gets the sum of all devices' gradients, and a sum's gradient goes to each of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax._src.config import _check_vma  # the switch behind `shard_map(check_vma=...)`; has no public name
from jax.extend.core import Primitive, jaxpr_as_fun
from jax.interpreters import mlir
from jax.sharding import NamedSharding, PartitionSpec

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


def opaque(function: Callable[..., jax.Array], *arrays: jax.Array) -> jax.Array:
    """`function(*arrays)`, differentiable, for a kernel that says nothing of what varies over which axis.

    Such a kernel works on a device's own parts and talks to none. Its result would be taken for one that is the same on
    all devices, and gradients would then be summed over them where they must not. So the function and its derivative
    are traced without that typing and each becomes one operation that has it: JAX may then move or repeat that
    operation, as remat does, without looking inside.

    Args:
        function: of the arrays, to one array.
        arrays: integers among them have no gradient.
    """
    return _opaque(function, *arrays) if bound() else function(*arrays)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _opaque(function: Callable[..., jax.Array], *arrays: jax.Array) -> jax.Array:
    return _opaque_forward(function, *arrays)[0]


def _opaque_forward(function: Callable[..., jax.Array], *arrays: jax.Array) -> tuple[jax.Array, Any]:
    floats = tuple(n for n, x in enumerate(arrays) if jnp.issubdtype(x.dtype, jnp.floating))
    trees = []

    def forward(*given: jax.Array) -> tuple[jax.Array, ...]:
        def of_floats(*parts: jax.Array) -> jax.Array:
            every = list(given)
            for n, x in zip(floats, parts, strict=True):
                every[n] = x
            return function(*every)

        out, pull = jax.vjp(of_floats, *(given[n] for n in floats))
        leaves, tree = jax.tree.flatten(pull)
        trees.append(tree)
        return out, *leaves

    out, *leaves = _as_one(forward, *arrays)
    return out, (jax.tree.unflatten(trees[0], leaves), _Places(len(arrays), floats))


def _opaque_backward(function: Callable[..., jax.Array], saved: Any, g: jax.Array) -> tuple[jax.Array | None, ...]:
    pull, places = saved
    leaves, tree = jax.tree.flatten(pull)
    pulled = _as_one(lambda g, *leaves: jax.tree.unflatten(tree, leaves)(g), g, *leaves)
    gradients: list[jax.Array | None] = [None] * places.count
    for n, x in zip(places.floats, pulled, strict=True):
        gradients[n] = x
    return tuple(gradients)


_opaque.defvjp(_opaque_forward, _opaque_backward)


@partial(jax.tree_util.register_dataclass, data_fields=[], meta_fields=["count", "floats"])
@dataclass(frozen=True)
class _Places:
    """Which of how many arguments have a gradient."""

    count: int
    floats: tuple[int, ...]


def _as_one(function: Callable[..., tuple[jax.Array, ...]], *arrays: jax.Array) -> list[jax.Array]:
    """`function(*arrays)` as one operation, whose results vary along every axis along which an argument does."""
    with _check_vma(False):
        inside = jax.make_jaxpr(function)(*(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in arrays))
    return _one.bind(*alike(*arrays), inside=inside)


_one = Primitive("opaque")
_one.multiple_results = True


@_one.def_abstract_eval
def _one_abstract(first: Any, *_: Any, inside: Any) -> list[Any]:
    whole = NamedSharding(first.sharding.mesh, PartitionSpec())  # a device's own part, cut no further
    return [first.update(shape=x.shape, dtype=x.dtype, weak_type=False, sharding=whole) for x in inside.out_avals]


def _one_lowered(*arrays: jax.Array, inside: Any) -> list[jax.Array]:
    with _check_vma(False):
        # the only way for an array to lose its typing is to be computed anew
        bare = [x & x if x.dtype == bool else x * 1 for x in arrays]
        return jaxpr_as_fun(inside)(*bare)


mlir.register_lowering(_one, mlir.lower_fun(_one_lowered, multiple_results=True))
