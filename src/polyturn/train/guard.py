"""Which steps to leave out: those whose loss or gradient is not finite, and those whose loss is a spike."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from polyturn.train.config import GuardConfig


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Guard:
    """What the guard remembers: exponential averages of the loss, and steps left out. All scalars."""

    mean: jax.Array  # float32
    variance: jax.Array  # float32
    seen: jax.Array  # int32, losses in the averages
    in_a_row: jax.Array  # int32, steps left out since the last one that was not


def fresh() -> Guard:
    """The guard before the first step."""
    number, count = jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32)
    return Guard(number, jnp.copy(number), count, jnp.copy(count))


def look(
    config: GuardConfig, guard: Guard, loss: jax.Array, gradient_norm: jax.Array, targets: jax.Array
) -> tuple[jax.Array, Guard]:
    """Whether a step may be taken (bool scalar), and the guard after it.

    A batch in which nothing counts (`targets` is 0) is left out too, and not held against the run.
    """
    empty = targets == 0
    finite = jnp.isfinite(loss) & jnp.isfinite(gradient_norm)
    spread = jnp.sqrt(guard.variance)
    known = (guard.seen >= config.window) & (config.deviations > 0)
    spike = known & (loss > guard.mean + config.deviations * spread)
    taken = finite & ~spike & ~empty
    weight = 1 / jnp.minimum(guard.seen + 1, config.window).astype(jnp.float32)
    off = jnp.where(taken, loss - guard.mean, 0.0)
    after = Guard(
        mean=guard.mean + weight * off,
        variance=jnp.where(taken, (1 - weight) * (guard.variance + weight * jnp.square(off)), guard.variance),
        seen=guard.seen + taken.astype(jnp.int32),
        in_a_row=jnp.where(taken, 0, guard.in_a_row + (~empty).astype(jnp.int32)),
    )
    return taken, after
