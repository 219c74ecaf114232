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

type ScriptedModel = Callable[[Sequence[int]], tuple[ModelConfig, Params]]


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return train(["# Print the sum of xs.\nprint(sum(xs))\n\n"] * 4, rows=340)


@pytest.fixture(scope="session")
def config(tokenizer: Tokenizer) -> ModelConfig:
    return ModelConfig(layers=2, width=32, heads=2, rotary=16, vocab=tokenizer.size, context=512)


@pytest.fixture(scope="session")
def params(config: ModelConfig) -> Params:
    """Random weights, with a head that makes some tokens much likelier than others."""
    fresh = initialise(config, jax.random.key(7))
    return replace(fresh, head=3 * fresh.head)


@pytest.fixture(scope="session")
def scripted(config: ModelConfig) -> ScriptedModel:
    """Makes models that write one given sequence: each token tells the next, so none may repeat."""

    def model(tokens: Sequence[int]) -> tuple[ModelConfig, Params]:
        assert len(set(tokens)) == len(tokens)
        wide = replace(config, width=64)
        zeros = jax.tree.map(np.zeros_like, initialise(wide, jax.random.key(0)))
        embedding = np.random.default_rng(0).normal(size=(wide.vocab, wide.width)).astype(np.float32)
        embedding -= embedding.mean(axis=1, keepdims=True)
        head = np.zeros((wide.width, wide.vocab), np.float32)
        head[:, list(tokens[1:])] = embedding[list(tokens[:-1])].T
        return wide, replace(zeros, embedding=embedding, head=head, norm_scale=np.ones(wide.width, np.float32))

    return model
