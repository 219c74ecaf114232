"""The parameter tree: one abstract description from which everything else is derived.

`describe(config)` gives the shape, logical axes and initialiser of every array. Initialisation, the tree of shapes, the
cuts on a mesh and the optimiser's decay mask read that one description; tests hold the configuration's parameter count
to it.

Layers are stacked on a leading axis `[L, ...]`. The block of CodeGen runs attention and MLP side by side from
one norm, so each layer needs only two products: `w_in` makes queries, keys, values and the MLP's hidden layer
(7 slices of width D), `w_out` adds the attention's and the MLP's results (5 slices). The slices have an axis
of their own, so that tensor parallelism can cut every one of them alike.
"""

from dataclasses import dataclass, fields
from math import prod, sqrt

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jax.typing import DTypeLike

from polyturn.model.config import MLP_RATIO, ModelConfig
from polyturn.parallel.mesh import MeshShape
from polyturn.parallel.rules import check_divides, spec

QKV = 3
IN_SLICES = QKV + MLP_RATIO  # query, key, value, then the MLP's hidden layer
OUT_SLICES = 1 + MLP_RATIO  # the attention's heads, then the MLP's hidden layer


@dataclass(frozen=True)
class ArrayInfo:
    """What is to be known of an array before it exists.

    `std` is the width of a normal cut at two standard deviations; None means the constant `fill`.
    """

    shape: tuple[int, ...]
    axes: tuple[str | None, ...]
    std: float | None = None
    fill: float = 0.0


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Block[T]:
    """The layers, stacked. T is `jax.Array`, or whatever describes one."""

    norm_scale: T  # [L, D]
    norm_bias: T  # [L, D]
    w_in: T  # [L, D, 7, D]
    b_in: T  # [L, 4, D]: the MLP's hidden layer alone has a bias
    w_out: T  # [L, 5, D, D]
    b_out: T  # [L, D]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Params[T]:
    """All weights of a decoder."""

    embedding: T  # [V, D]
    blocks: Block[T]
    norm_scale: T  # [D]
    norm_bias: T  # [D]
    head: T  # [D, V], not tied to the embedding
    head_bias: T  # [V]


def describe(config: ModelConfig) -> Params[ArrayInfo]:
    """The abstract tree. Initial widths are JAXformer's (`models/decoder/inter/modules.py`)."""
    n, d, v = config.layers, config.width, config.vocab
    return Params(
        embedding=ArrayInfo((v, d), ("vocab", "embed"), std=1 / sqrt(v)),
        blocks=Block(
            norm_scale=ArrayInfo((n, d), ("layer", "small"), fill=1.0),
            norm_bias=ArrayInfo((n, d), ("layer", "small")),
            w_in=ArrayInfo((n, d, IN_SLICES, d), ("layer", "embed", None, "inner"), std=1 / sqrt(d)),
            b_in=ArrayInfo((n, MLP_RATIO, d), ("layer", None, "inner")),
            w_out=ArrayInfo((n, OUT_SLICES, d, d), ("layer", None, "inner", "embed"), std=2 / n / sqrt(d)),
            b_out=ArrayInfo((n, d), ("layer", "small")),
        ),
        norm_scale=ArrayInfo((d,), ("small",), fill=1.0),
        norm_bias=ArrayInfo((d,), ("small",)),
        head=ArrayInfo((d, v), ("embed", "vocab"), std=1 / sqrt(d)),
        head_bias=ArrayInfo((v,), ("vocab",)),
    )


def is_info(leaf: object) -> bool:
    """Tell JAX's tree functions to stop at an ArrayInfo."""
    return isinstance(leaf, ArrayInfo)


def specs(config: ModelConfig) -> Params[PartitionSpec]:
    """How each array is cut on a mesh."""
    return jax.tree.map(lambda info: spec(info.axes), describe(config), is_leaf=is_info)


def check_mesh(config: ModelConfig, mesh: MeshShape) -> None:
    """Raise UserError where the mesh does not divide the heads or an array."""
    check_divides("heads", ("inner",), (config.heads,), mesh)
    for path, info in jax.tree.leaves_with_path(describe(config), is_leaf=is_info):
        check_divides(f"rows or columns of {jax.tree_util.keystr(path)[1:]}", info.axes, info.shape, mesh)


def abstract(config: ModelConfig, dtype: DTypeLike = jnp.float32) -> Params[jax.ShapeDtypeStruct]:
    """The tree of shapes and dtypes, with nothing allocated."""
    return jax.tree.map(lambda info: jax.ShapeDtypeStruct(info.shape, dtype), describe(config), is_leaf=is_info)


def initialise(config: ModelConfig, key: jax.Array) -> Params[jax.Array]:
    """Fresh float32 weights, a pure function of `key` and the shapes; on a mesh each device draws its part."""
    infos, tree = jax.tree.flatten(describe(config), is_leaf=is_info)
    keys = jax.random.split(key, len(infos))
    return jax.tree.unflatten(tree, [_initial(info, k) for info, k in zip(infos, keys, strict=True)])


def _initial(info: ArrayInfo, key: jax.Array) -> jax.Array:
    if info.std is None:
        return jnp.full(info.shape, info.fill, jnp.float32)
    place = None if jax.sharding.get_abstract_mesh().empty else spec(info.axes)  # else every device draws all of it
    return info.std * jax.random.truncated_normal(key, -2.0, 2.0, info.shape, jnp.float32, out_sharding=place)


def count(params: Params) -> int:
    """Number of weights in a tree of arrays or of descriptions."""
    return sum(prod(leaf.shape) for leaf in jax.tree.leaves(params, is_leaf=is_info))


def cast(params: Params[jax.Array], dtype: DTypeLike) -> Params[jax.Array]:
    """The same weights in another float type."""
    return jax.tree.map(lambda a: a.astype(dtype), params)


def layer(blocks: Block[jax.Array], index: int) -> Block[jax.Array]:
    """One layer's weights, without the leading axis."""
    return Block(**{f.name: getattr(blocks, f.name)[index] for f in fields(blocks)})
