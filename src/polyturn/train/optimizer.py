"""AdamW as in the paper: clip, Adam, decoupled decay on matrices, a rate that warms up and goes down.

Written out rather than chained from parts: each array is read and written once a step, a step that the guard refuses
changes nothing, and moments are cut on a mesh as their weights are. Tests hold it to optax.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from polyturn.model.params import Params, describe, is_info
from polyturn.parallel.collectives import total, varying
from polyturn.train.config import OptimizerConfig, TrainConfig


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Moments:
    """Adam's running averages."""

    count: jax.Array  # int32, updates so far
    mean: Params[jax.Array]  # of the gradient, float32
    square: Params[jax.Array]  # of its square, float32


def fresh(params: Params[jax.Array]) -> Moments:
    """The moments before the first update."""
    zeros = jax.tree.map(jnp.zeros_like, params)
    return Moments(jnp.zeros((), jnp.int32), zeros, jax.tree.map(jnp.copy, zeros))


def decay_mask(config: TrainConfig) -> Params[bool]:
    """Which arrays decay: those drawn at random, that is all but norms and biases.

    By kind and not by rank, since stacked layers give biases two dimensions (JAXformer's `ndim > 1` decays them).
    """
    return jax.tree.map(lambda info: info.std is not None, describe(config.model), is_leaf=is_info)


def rate(config: OptimizerConfig, steps: int, done: jax.Array) -> jax.Array:
    """The learning rate of the step after `done` steps, float32 scalar; not 0 at the first, which would do nothing."""
    step = (done + 1).astype(jnp.float32)
    length = config.annealing(steps)
    begin = config.warmup if config.schedule == "cosine" else steps - length
    way = jnp.clip((step - begin) / length, 0.0, 1.0)
    fallen = (1 - jnp.cos(jnp.pi * way)) / 2 if config.schedule == "cosine" else way
    down = config.peak_rate - (config.peak_rate - config.end_rate) * fallen
    return jnp.where(step < config.warmup, config.peak_rate * step / max(config.warmup, 1), down)


def norm(tree: Any) -> jax.Array:
    """The Euclidean norm of all numbers of a tree, each counted once however it is cut; float32 scalar."""
    squares = [total(jnp.sum(jnp.square(x)), *sorted(varying(x))) for x in jax.tree.leaves(tree)]
    return jnp.sqrt(sum(squares, jnp.float32(0.0)))


def update(
    config: TrainConfig, params: Params[jax.Array], gradient: Params[jax.Array], moments: Moments, step_rate: jax.Array
) -> tuple[Params[jax.Array], Moments]:
    """Weights and moments after one update.

    Args:
        gradient: already clipped, float32.
        step_rate: learning rate, float32 scalar.
    """
    o = config.optimizer
    count = moments.count + 1
    steps = count.astype(jnp.float32)
    unbias_mean = 1 / (1 - o.beta1**steps)
    unbias_square = 1 / (1 - o.beta2**steps)

    def one(decays: bool, p: jax.Array, g: jax.Array, mean: jax.Array, square: jax.Array) -> tuple[jax.Array, ...]:
        mean = o.beta1 * mean + (1 - o.beta1) * g
        square = o.beta2 * square + (1 - o.beta2) * jnp.square(g)
        move = (mean * unbias_mean) / (jnp.sqrt(square * unbias_square) + o.epsilon)
        move = move + o.decay * p if decays else move
        return p - step_rate * move, mean, square

    leaves, tree = jax.tree.flatten(params)
    others = (jax.tree.leaves(t) for t in (gradient, moments.mean, moments.square))
    new = [one(*arrays) for arrays in zip(jax.tree.leaves(decay_mask(config)), leaves, *others, strict=True)]
    params, mean, square = (jax.tree.unflatten(tree, list(part)) for part in zip(*new, strict=True))
    return params, Moments(count, mean, square)
