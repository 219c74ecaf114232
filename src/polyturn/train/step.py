"""One step: loss, gradient, update. Pure functions of state and batch.

On a mesh the whole step is one `jax.shard_map`: each device works on its own parts of state and batch, and what crosses
devices is written where it happens (`parallel/collectives.py`). On one device the same function runs without it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from polyturn.data.batches import Batch
from polyturn.model.decoder import hidden
from polyturn.model.loss import cross_entropy
from polyturn.model.params import Params, check_mesh, initialise, specs
from polyturn.parallel.collectives import total, vary, varying, zeros_like
from polyturn.parallel.mesh import BATCH, MeshShape
from polyturn.parallel.rules import spec
from polyturn.train import guard as guards
from polyturn.train import optimizer
from polyturn.train.config import TrainConfig
from polyturn.train.guard import Guard
from polyturn.train.optimizer import Moments

jax.tree_util.register_dataclass(Batch, ["tokens", "segments", "targets", "weights"], [])


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    """All that a run carries from step to step."""

    step: jax.Array  # int32, steps done
    params: Params[jax.Array]  # float32
    moments: Moments
    guard: Guard


def start(config: TrainConfig, initial: Params[jax.Array] | None = None) -> State:
    """The state before the first step, on the mesh in force; a pure function of its arguments.

    Args:
        initial: weights to begin from, instead of ones drawn from the configuration's seed.
    """
    check_mesh(config.model, mesh_shape())
    return jax.jit(partial(_first, config), out_shardings=shardings(config))(initial)


def _first(config: TrainConfig, initial: Params[jax.Array] | None) -> State:
    params = initialise(config.model, jax.random.key(config.seed)) if initial is None else initial
    return State(jnp.zeros((), jnp.int32), params, optimizer.fresh(params), guards.fresh())


def abstract(config: TrainConfig) -> State:
    """Shapes, dtypes and places of the arrays of a state on the mesh in force, with none of its memory."""
    check_mesh(config.model, mesh_shape())
    shapes, places = jax.eval_shape(partial(_first, config), None), shardings(config)
    if places is None:
        places = jax.tree.map(lambda _: SingleDeviceSharding(jax.local_devices()[0]), shapes)
    return jax.tree.map(lambda a, place: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=place), shapes, places)


def mesh_in_force() -> Mesh | None:
    """The mesh set by `jax.set_mesh`, if it has more than one device."""
    mesh = jax.sharding.get_mesh()
    return None if mesh.empty or mesh.size == 1 else mesh


def mesh_shape() -> MeshShape:
    """Its shape, or that of a single device."""
    mesh = mesh_in_force()
    return MeshShape() if mesh is None else MeshShape(**dict(mesh.shape))


def state_specs(config: TrainConfig) -> Any:
    """A tree like State of how each array is cut on a mesh."""
    params, scalar = specs(config.model), PartitionSpec()
    return State(scalar, params, Moments(scalar, params, params), Guard(scalar, scalar, scalar, scalar))  # type: ignore[arg-type]


def shardings(config: TrainConfig) -> Any:
    """A tree like State of where each array lives on the mesh in force; None on one device."""
    mesh = mesh_in_force()
    if mesh is None:
        return None
    return jax.tree.map(lambda cut: NamedSharding(mesh, cut), state_specs(config))


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def train_step(config: TrainConfig, state: State, batch: Batch) -> tuple[State, dict[str, jax.Array]]:
    """Take one step.

    Args:
        batch: arrays `[rows, T]`, on a mesh cut along the batch.

    Returns:
        state: after the step. Where the guard left the step out, only its step and guard have changed.
        metrics: float32 scalars: `loss` (mean over positions that count), `gradient_norm` (before clipping),
            `update_norm`, `parameter_norm` (after the step), `rate` (learning rate of this step), `targets` (positions
            that counted), `skipped` (1 where the step was left out), `skipped_in_a_row`.
    """
    whole = state_specs(config)
    return _on_mesh(partial(_step, config), (whole, spec(("batch",))), (whole, PartitionSpec()))(state, batch)


def _on_mesh(function: Callable, cuts_in: Any, cuts_out: Any) -> Callable:
    """`function` of each device's own parts, on the mesh in force if there is one."""
    abstract = jax.sharding.get_abstract_mesh()
    if abstract.empty or abstract.size == 1:
        return function
    return jax.shard_map(function, in_specs=cuts_in, out_specs=cuts_out)


def _step(config: TrainConfig, state: State, batch: Batch) -> tuple[State, dict[str, jax.Array]]:
    value, count, gradient = loss_and_gradient(config, state.params, batch)
    norm = optimizer.norm(gradient)
    clip = config.optimizer.clip
    gradient = jax.tree.map(lambda g: g * (clip / jnp.maximum(norm, clip)), gradient)
    rate = optimizer.rate(config.optimizer, config.steps, state.step)
    moved, moments = optimizer.update(config, state.params, gradient, state.moments, rate)
    taken, guard = guards.look(config.guard, state.guard, value, norm, count)

    def chosen(new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where(taken, new, old)

    params = jax.tree.map(chosen, moved, state.params)
    metrics = {
        "loss": value,
        "gradient_norm": norm,
        "update_norm": optimizer.norm(jax.tree.map(jnp.subtract, params, state.params)),
        "parameter_norm": optimizer.norm(params),
        "rate": rate,
        "targets": count,
        "skipped": 1.0 - taken.astype(jnp.float32),
        "skipped_in_a_row": guard.in_a_row.astype(jnp.float32),
    }
    return State(state.step + 1, params, jax.tree.map(chosen, moments, state.moments), guard), metrics


def loss_and_gradient(
    config: TrainConfig, params: Params[jax.Array], batch: Batch
) -> tuple[jax.Array, jax.Array, Params[jax.Array]]:
    """Mean loss, positions that counted, and the gradient of the mean, for this device's rows and parts.

    The rows are taken in `config.accumulate` turns; gradients add up in float32, and devices along data exchange them
    once, after the last.
    """
    own = jax.tree.map(lambda p: vary(p, BATCH), params)  # so that nothing is summed over data before the end

    def one(micro: Batch) -> tuple[jax.Array, jax.Array, Params[jax.Array]]:
        (value, count), gradient = jax.value_and_grad(partial(loss, config), has_aux=True)(own, micro)
        return value, count, gradient

    zero = vary(jnp.float32(0.0), BATCH)
    value, count, gradient = _in_turns(config, one, batch, lambda: (zero, zero, jax.tree.map(zeros_like, own)))
    value, count = total(value, *BATCH), total(count, *BATCH)
    gradient = jax.tree.map(lambda g, p: total(g, *sorted(varying(g) - varying(p))), gradient, params)
    positions = jnp.maximum(count, 1.0)
    return value / positions, count, jax.tree.map(lambda g: g / positions, gradient)


def _in_turns[Sums](config: TrainConfig, one: Callable[[Batch], Sums], batch: Batch, zeros: Callable[[], Sums]) -> Sums:
    """The sums of what `one` gives for each of the `config.accumulate` parts of a device's rows."""
    if config.accumulate == 1:
        return one(batch)
    micros = jax.tree.map(lambda a: a.reshape(config.accumulate, -1, *a.shape[1:]), batch)
    return jax.lax.scan(lambda so_far, micro: (jax.tree.map(jnp.add, so_far, one(micro)), None), zeros(), micros)[0]


def loss(config: TrainConfig, params: Params[jax.Array], batch: Batch) -> tuple[jax.Array, jax.Array]:
    """Sum of the weighted negative log-likelihoods of this device's rows, and the sum of weights; both float32."""
    x = hidden(params, config.model, jnp.asarray(batch.tokens), jnp.asarray(batch.segments), config.compute)
    weights = jnp.asarray(batch.weights).reshape(-1)
    targets = jnp.asarray(batch.targets).reshape(-1)
    x = x.reshape(-1, x.shape[-1])
    value = cross_entropy(
        x, params.head, params.head_bias, targets, weights, config.z_loss, products=config.compute.products
    )
    return value, jnp.sum(weights)


@partial(jax.jit, static_argnums=0)
def evaluate_batch(config: TrainConfig, params: Params[jax.Array], batch: Batch) -> tuple[jax.Array, jax.Array]:
    """Sum of losses, without the z-loss, and number of positions of one batch, in the run's own precision.

    The rows are taken in as many turns as in training, so that it needs less memory than a step.
    """
    plain = replace(config, z_loss=0.0)

    def sums(params: Params[jax.Array], batch: Batch) -> tuple[jax.Array, jax.Array]:
        zero = vary(jnp.float32(0.0), BATCH)
        value, count = _in_turns(config, partial(loss, plain, params), batch, lambda: (zero, zero))
        return total(value, *BATCH), total(count, *BATCH)

    out = PartitionSpec()
    return _on_mesh(sums, (specs(config.model), spec(("batch",))), (out, out))(params, batch)


def evaluate(config: TrainConfig, params: Params[jax.Array], batches: Iterable[Batch]) -> float:
    """Mean loss per position over all batches, without the z-loss."""
    sums = np.array(jax.device_get([evaluate_batch(config, params, batch) for batch in batches]))
    return float(sums[:, 0].sum() / max(sums[:, 1].sum(), 1.0))
