"""AdamW as in the paper: clip, Adam, decoupled decay on matrices, warm-up and cosine."""

import jax
import optax

from polyturn.model.params import Params, describe, is_info
from polyturn.train.config import OptimizerConfig, TrainConfig


def schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Learning rate by steps done before: linear to the peak at step `warmup`, half a cosine to the end at the last.

    Counted from one, unlike optax's own: a step with rate 0 would do nothing.
    """
    rate = optax.warmup_cosine_decay_schedule(0.0, config.peak_rate, config.warmup, steps, config.end_rate)
    return lambda done: rate(done + 1)


def decay_mask(config: TrainConfig) -> Params[bool]:
    """Which arrays decay: those drawn at random, that is all but norms and biases.

    By kind and not by rank, since stacked layers give biases two dimensions (JAXformer's `ndim > 1` decays them).
    """
    return jax.tree.map(lambda info: info.std is not None, describe(config.model), is_leaf=is_info)


def optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """The chain of gradient transformations of a run."""
    o = config.optimizer
    return optax.chain(
        optax.clip_by_global_norm(o.clip),
        optax.scale_by_adam(o.beta1, o.beta2, o.epsilon),
        optax.add_decayed_weights(o.decay, decay_mask(config)),
        optax.scale_by_learning_rate(schedule(o, config.steps)),
    )
