"""A tokenizer and models small enough to compile in no time."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import jax
import numpy as np
import pytest

from polyturn.model.config import ModelConfig
from polyturn.model.params import Params, initialise
from polyturn.tokenizer.bpe import Tokenizer
from polyturn.tokenizer.training import train

type Script = Callable[[Sequence[int]], Params]


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return train(["# Print the sum of xs.\nprint(sum(xs))\n\n"] * 4, rows=340)


@pytest.fixture(scope="session")
def config(tokenizer: Tokenizer) -> ModelConfig:
    return ModelConfig(layers=2, width=32, heads=4, rotary=8, vocab=tokenizer.size, context=512)


@pytest.fixture(scope="session")
def params(config: ModelConfig) -> Params:
    """Random weights, with a head that makes some tokens much likelier than others."""
    fresh = initialise(config, jax.random.key(7))
    return replace(fresh, head=3 * fresh.head)


@pytest.fixture(scope="session")
def scripted(config: ModelConfig) -> Script:
    """Makes weights that write one given sequence: each token tells the next, so none may repeat."""

    def model(tokens: Sequence[int]) -> Params:
        assert len(set(tokens)) == len(tokens)
        zeros = jax.tree.map(np.zeros_like, initialise(config, jax.random.key(0)))
        embedding = np.random.default_rng(0).normal(size=(config.vocab, config.width)).astype(np.float32)
        embedding -= embedding.mean(axis=1, keepdims=True)
        head = np.zeros((config.width, config.vocab), np.float32)
        head[:, list(tokens[1:])] = embedding[list(tokens[:-1])].T
        return replace(zeros, embedding=embedding, head=head, norm_scale=np.ones(config.width, np.float32))

    return model
