"""One step: loss, gradient, update. Pure functions of state and batch."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from polyturn.data.batches import Batch
from polyturn.model.config import ModelConfig
from polyturn.model.decoder import hidden
from polyturn.model.loss import cross_entropy
from polyturn.model.params import Params, initialise
from polyturn.train.config import TrainConfig
from polyturn.train.optimizer import optimizer, schedule

jax.tree_util.register_dataclass(Batch, ["tokens", "segments", "targets", "weights"], [])


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    """All that a run carries from step to step."""

    step: jax.Array  # int32, steps done
    params: Params[jax.Array]  # float32
    moments: optax.OptState


def start(config: TrainConfig) -> State:
    """The state before the first step, a pure function of the configuration."""
    params: Any = initialise(config.model, jax.random.key(config.seed))  # optax's types know no dataclasses
    return State(jnp.zeros((), jnp.int32), params, optimizer(config).init(params))


def loss(
    params: Params[jax.Array], model: ModelConfig, batch: Batch, dtype: jnp.dtype | type
) -> tuple[jax.Array, jax.Array]:
    """Sum of the weighted negative log-likelihoods of a batch, and the sum of weights; both float32."""
    x = hidden(params, model, jnp.asarray(batch.tokens), jnp.asarray(batch.segments), dtype)
    weights = jnp.asarray(batch.weights)
    flat = (jnp.asarray(batch.targets).reshape(-1), weights.reshape(-1))
    return cross_entropy(x.reshape(-1, x.shape[-1]), params.head, params.head_bias, *flat), jnp.sum(weights)


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def train_step(config: TrainConfig, state: State, batch: Batch) -> tuple[State, dict[str, jax.Array]]:
    """Take one step.

    Returns:
        state: after the step.
        metrics: float32 scalars: `loss` (mean over positions that count), `gradient_norm` (before clipping),
            `rate` (learning rate of this step), `targets` (positions that counted).
    """

    def mean(params: Params[jax.Array]) -> tuple[jax.Array, jax.Array]:
        total, count = loss(params, config.model, batch, jnp.dtype(config.compute))
        return total / jnp.maximum(count, 1.0), count

    (value, count), gradient = jax.value_and_grad(mean, has_aux=True)(state.params)
    params: Any = state.params
    with jax.numpy_dtype_promotion("standard"):  # optax raises a float to an int32 count
        updates, moments = optimizer(config).update(gradient, state.moments, params)
        rate = jnp.asarray(schedule(config.optimizer, config.steps)(state.step), jnp.float32)
    metrics = {
        "loss": value,
        "gradient_norm": optax.tree.norm(gradient),
        "rate": rate,
        "targets": count,
    }
    moved: Any = optax.apply_updates(params, updates)
    return State(state.step + 1, moved, moments), metrics


@partial(jax.jit, static_argnums=0)
def evaluate_batch(config: TrainConfig, params: Params[jax.Array], batch: Batch) -> tuple[jax.Array, jax.Array]:
    """Sum of losses and number of positions of one batch, in the run's own precision."""
    return loss(params, config.model, batch, jnp.dtype(config.compute))


def evaluate(config: TrainConfig, params: Params[jax.Array], batches: list[Batch]) -> float:
    """Mean loss per position over all batches."""
    sums = np.array([[float(x) for x in evaluate_batch(config, params, b)] for b in batches])
    return float(sums[:, 0].sum() / max(sums[:, 1].sum(), 1.0))
