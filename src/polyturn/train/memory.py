"""What a step keeps in a device's memory, known before there is a device.

Weights, moments and gradients are exact: the sizes of their parts on the mesh. What the pass backwards needs is read
off the step itself: the loss is traced on shapes alone, and what its derivative carries over is counted, so that the
number follows the model, the remat policy and the attention by itself. What comes and goes within a layer is a rule of
thumb. The sum is an estimate: compilers fuse and reorder. How far it is off is tested against XLA's own account on CPUs
and told in docs/scaling.md for others.

Nothing is allocated and nothing is compiled.
"""

from dataclasses import dataclass, replace
from functools import cache, partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Var
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

from polyturn.data.batches import Batch
from polyturn.model.compute import Compute
from polyturn.model.config import ModelConfig
from polyturn.model.params import IN_SLICES, OUT_SLICES, Params, abstract, specs
from polyturn.parallel.mesh import AXES, MeshShape
from polyturn.train import optimizer
from polyturn.train.config import OptimizerConfig, TrainConfig
from polyturn.train.step import loss

LOSS_CHUNK = 1024  # positions whose logits are there at a time: the default of `model.loss.cross_entropy`
TRACEABLE = ("reference", "striped", "chunked")  # attentions in plain XLA
LOGITS = 3  # float32 arrays of a chunk's logits that are there at once: logits, their exponentials, their gradient
ANEW = 1.5  # what a layer computed anew takes in its pass backwards, cotangents included, by what a layer would keep


@dataclass(frozen=True)
class Memory:
    """Bytes on one device at the fullest moment of a step."""

    weights: int  # float32; exact
    moments: int  # Adam's two, float32; exact
    gradients: int  # float32, twice where micro-batches add up: the sum and the newest; exact
    kept: int  # activations for the pass backwards, as traced
    working: int  # what comes and goes; a rule of thumb

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.moments + self.gradients + self.kept + self.working


def memory(config: TrainConfig, row: int) -> Memory:
    """What a device holds in a step over rows of `row` tokens on the mesh `config.mesh`.

    Raises:
        UserError: the rows do not share out among devices and micro-batches.
    """
    mesh, rows = config.mesh, config.micro_rows(config.mesh)
    own = cut(config.model, mesh)
    weights = _bytes(own)
    gradients = weights * (1 if config.accumulate == 1 else 2)
    moments = _bytes(jax.eval_shape(optimizer.fresh, own))
    # no fused kernel keeps scores: in memory they are all like the one that can be traced anywhere
    attention = config.compute.attention
    compute = replace(config.compute, attention=attention if attention in TRACEABLE else "chunked")
    kept = _kept(config.model, compute, mesh.tensor, rows, row)
    in_loss = kept + _loss(config.model, mesh) + (gradients - weights)
    in_layers = kept + gradients + _layer(config.model, compute, mesh, rows, row)
    in_embedding = gradients + _embedding(config.model, mesh)
    working = max(in_loss, in_layers, in_embedding) - kept - gradients
    return Memory(weights, moments, gradients, kept, working)


def cut(model: ModelConfig, mesh: MeshShape) -> Params[jax.ShapeDtypeStruct]:
    """The parts of the float32 weights that one device of `mesh` has, as shapes."""
    devices = AbstractMesh(mesh.sizes, AXES, axis_types=(AxisType.Explicit,) * len(AXES))

    def part(whole: jax.ShapeDtypeStruct, spec: PartitionSpec) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(NamedSharding(devices, spec).shard_shape(whole.shape), whole.dtype)

    return jax.tree.map(part, abstract(model), specs(model))


def _bytes(tree: Any) -> int:
    return sum(prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _kept(model: ModelConfig, compute: Compute, tensor: int, rows: int, row: int) -> int:
    """Bytes of activations that the derivative of the loss over `rows` rows carries from forwards to backwards."""
    one, two = (_traced(model, compute, tensor, n, row) for n in (1, 2))
    return one + (rows - 1) * (two - one)


@cache
def _traced(model: ModelConfig, compute: Compute, tensor: int, rows: int, row: int) -> int:
    """`_kept`, from a trace. Weights are left out, and so is the head's gradient, which the loss takes on its way.

    Fused attentions keep all the same: q, k, v, the result, and a float32 a query and head. "chunked", in plain XLA and
    thus traced anywhere, stands for them.
    """
    config = TrainConfig(model, OptimizerConfig(1.0, 1.0, 0), steps=1, rows=rows, compute=compute)
    params = cut(model, MeshShape(tensor=tensor))
    whole = partial(jax.ShapeDtypeStruct, (rows, row))
    batch = Batch(whole(jnp.int32), whole(jnp.int32), whole(jnp.int32), whole(jnp.float32))  # type: ignore[arg-type]

    def carried(params: Params[jax.Array], batch: Batch) -> list[jax.Array]:
        return jax.tree.leaves(jax.vjp(lambda p: loss(config, p, batch)[0], params)[1])

    jaxpr = jax.make_jaxpr(carried)(params, batch).jaxpr
    arrays = {v for v in jaxpr.outvars if isinstance(v, Var)} - set(jaxpr.invars)
    return _bytes([v.aval for v in arrays]) - _bytes([params.head, params.head_bias])


def _layer(model: ModelConfig, compute: Compute, mesh: MeshShape, rows: int, row: int) -> int:
    """Bytes that come and go while one layer is gone through backwards."""
    plain = replace(compute, remat="none")
    two, one = (_kept(replace(model, layers=n), plain, mesh.tensor, rows, row) for n in (2, 1))
    activations = int((1.0 if compute.remat == "none" else ANEW) * (two - one))
    size = (IN_SLICES + OUT_SLICES) * model.width**2 // mesh.tensor
    whole = size * jnp.dtype(compute.dtype).itemsize  # a layer's weights in the compute dtype
    # along fsdp also the next layer's, gathered meanwhile, and float32 gradients before they are cut
    return activations + whole + (whole + size * 4 if mesh.fsdp > 1 else 0)


def _loss(model: ModelConfig, mesh: MeshShape) -> int:
    """Bytes that come and go in the loss: a chunk's logits, the whole head and its gradient."""
    logits = LOSS_CHUNK * model.vocab // mesh.tensor * 4
    head = model.width * model.vocab // mesh.tensor
    return LOGITS * logits + head * (2 + 4)


def _embedding(model: ModelConfig, mesh: MeshShape) -> int:
    """Bytes of the embedding's gradient before it is cut along fsdp, float32."""
    return model.vocab // mesh.tensor * model.width * 4 if mesh.fsdp > 1 else 0
