"""A small model with weights large enough that every one of them matters."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyturn.model.config import ModelConfig
from polyturn.model.params import ArrayInfo, Params, describe, is_info

sys.path.insert(0, str(Path(__file__).parent))  # attention_oracle, which tests on GPUs share


@pytest.fixture(scope="session")
def config() -> ModelConfig:
    return ModelConfig(layers=2, width=48, heads=3, rotary=8, vocab=37, context=64)


@pytest.fixture(scope="session")
def params(config: ModelConfig) -> Params[jax.Array]:
    """Float32; norms and biases are no longer constant, attention is far from even."""
    draw = np.random.default_rng(0)

    def weights(info: ArrayInfo) -> jax.Array:
        noise = draw.standard_normal(info.shape) * (info.std or 0.0) + 0.2 * draw.standard_normal(info.shape)
        return jnp.asarray(info.fill + noise, jnp.float32)

    return jax.tree.map(weights, describe(config), is_leaf=is_info)
