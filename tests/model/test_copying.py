"""Weights that copy from the start."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyturn.model.config import ModelConfig
from polyturn.model.copying import initialise_copying
from polyturn.model.decoder import forward
from polyturn.model.params import count, initialise
from polyturn.utils.errors import UserError

CONFIG = ModelConfig(layers=2, width=192, heads=4, rotary=32, vocab=8192)


def copied(params, config: ModelConfig) -> float:
    """How often the token that followed the last time follows again, on repeats at varying distances."""
    rng = np.random.default_rng(0)
    right = total = 0
    for length in range(16, 40, 3):
        once = rng.permutation(config.vocab)[:length]
        tokens = np.concatenate([once, once])[None].astype(np.int32)
        predicted = np.asarray(forward(params, config, jnp.asarray(tokens)))[0].argmax(-1)
        right += (predicted[length:-1] == tokens[0, length + 1 :]).sum()
        total += length - 1
    return right / total


def test_the_circuit_copies_before_any_training() -> None:
    assert copied(initialise_copying(CONFIG, jax.random.key(0)), CONFIG) > 0.2
    assert copied(initialise(CONFIG, jax.random.key(0)), CONFIG) < 0.01  # 1 in 8,192 by chance


def test_it_is_the_same_tree_otherwise() -> None:
    circuit, plain = (f(CONFIG, jax.random.key(0)) for f in (initialise_copying, initialise))
    assert jax.tree.map(jnp.shape, circuit) == jax.tree.map(jnp.shape, plain)
    assert count(circuit) == CONFIG.parameters
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(circuit))


@pytest.mark.parametrize("change", [{"layers": 1}, {"heads": 1}, {"rotary": 4}])
def test_shapes_without_room(change: dict[str, int]) -> None:
    with pytest.raises(UserError, match="2 layers, 2 heads"):
        initialise_copying(replace(CONFIG, **change), jax.random.key(0))
