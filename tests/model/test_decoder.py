"""The decoder: growing rows equal whole rows, packed documents separate ones; nothing sees the future."""

from itertools import accumulate, pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyturn.model.config import ModelConfig
from polyturn.model.decoder import empty_cache, extend, forward, hidden, logits
from polyturn.model.params import Params, cast

T = 12
read_on = jax.jit(extend, static_argnums=1)
scores = jax.jit(logits)


def tokens_of(config: ModelConfig, rows: int = 2, length: int = T, seed: int = 5) -> jax.Array:
    return jax.random.randint(jax.random.key(seed), (rows, length), 0, config.vocab, jnp.int32)


@pytest.mark.parametrize("chunks", [[1] * T, [4] * 3, [7, 1, 4], [1, 1, 4, 1, 1, 4], [T]], ids=str)
def test_reading_on_equals_reading_whole_however_it_is_cut(
    config: ModelConfig, params: Params[jax.Array], chunks: list[int]
):
    tokens = tokens_of(config)
    whole = forward(params, config, tokens)
    cache = empty_cache(config, 2, T, jnp.float32)
    for start, end in pairwise([0, *accumulate(chunks)]):
        x, cache = read_on(params, config, tokens[:, start:end], jnp.full(2, start, jnp.int32), cache)
        np.testing.assert_allclose(scores(params, x), whole[:, start:end], atol=2e-5)


def test_rows_may_start_at_different_positions(config: ModelConfig, params: Params[jax.Array]):
    tokens = tokens_of(config, rows=3)
    whole = forward(params, config, tokens)
    lengths = [4, 7, 1]
    prompt = np.zeros((3, 7), np.int32)
    for row, length in enumerate(lengths):
        prompt[row, :length] = tokens[row, :length]
        prompt[row, length:] = 7  # padding: written to the cache, then overwritten, never looked at
    cache = empty_cache(config, 3, T, jnp.float32)
    _, cache = read_on(params, config, jnp.asarray(prompt), jnp.zeros(3, jnp.int32), cache)
    for step in range(5):
        at = [length + step for length in lengths]
        fed = jnp.stack([tokens[row, position] for row, position in enumerate(at)])[:, None]
        x, cache = read_on(params, config, fed, jnp.asarray(at, jnp.int32), cache)
        wanted = jnp.stack([whole[row, position] for row, position in enumerate(at)])
        np.testing.assert_allclose(scores(params, x)[:, 0], wanted, atol=2e-5)


def test_a_row_can_be_taken_back_and_carried_on_otherwise(config: ModelConfig, params: Params[jax.Array]):
    tokens, other = tokens_of(config), tokens_of(config, seed=6)
    _, cache = read_on(params, config, tokens, jnp.zeros(2, jnp.int32), empty_cache(config, 2, T + 4, jnp.float32))
    x, _ = read_on(params, config, other[:, 7:], jnp.full(2, 7, jnp.int32), cache)
    mixed = jnp.concatenate([tokens[:, :7], other[:, 7:]], axis=1)
    np.testing.assert_allclose(scores(params, x), forward(params, config, mixed)[:, 7:], atol=2e-5)


def test_growing_rows_equal_whole_rows_in_bfloat16(config: ModelConfig, params: Params[jax.Array]):
    low, tokens = cast(params, jnp.bfloat16), tokens_of(config)
    whole, exact = forward(low, config, tokens), forward(params, config, tokens)
    assert whole.dtype == jnp.float32
    cache = empty_cache(config, 2, T, jnp.bfloat16)
    _, cache = read_on(low, config, tokens[:, :7], jnp.zeros(2, jnp.int32), cache)
    x, _ = read_on(low, config, tokens[:, 7:], jnp.full(2, 7, jnp.int32), cache)
    # The order of sums differs, so bits may; both stay within what bfloat16 itself costs.
    rounding = float(jnp.abs(whole - exact).max())
    assert float(jnp.abs(scores(low, x) - whole[:, 7:]).max()) <= rounding
    assert rounding < 0.1 * float(jnp.abs(exact).max())


def test_later_tokens_change_nothing_before_them(config: ModelConfig, params: Params[jax.Array]):
    tokens = tokens_of(config)
    before = forward(params, config, tokens)
    for position in (1, 8, T - 1):
        changed = tokens.at[:, position:].set((tokens[:, position:] + 1) % config.vocab)
        after = forward(params, config, changed)
        np.testing.assert_array_equal(after[:, :position], before[:, :position])
        assert (after[:, position] != before[:, position]).any()


def test_every_earlier_token_matters(config: ModelConfig, params: Params[jax.Array]):
    tokens = tokens_of(config)
    last = forward(params, config, tokens)[:, -1]
    for position in range(T):
        changed = tokens.at[:, position].set((tokens[:, position] + 1) % config.vocab)
        assert float(jnp.abs(forward(params, config, changed)[:, -1] - last).max()) > 1e-4


def test_documents_packed_in_one_row_give_the_values_and_gradients_of_separate_rows(
    config: ModelConfig, params: Params[jax.Array]
):
    documents = tokens_of(config, rows=3, length=4)
    row, segments = documents.reshape(1, T), jnp.asarray(np.repeat([0, 1, 2], 4)[None], jnp.int32)
    pull = jax.random.normal(jax.random.key(0), (1, T, config.width), jnp.float32)

    def values_and_gradients(tokens: jax.Array, segments: jax.Array):
        def total(p: Params[jax.Array]) -> tuple[jax.Array, jax.Array]:
            x = hidden(p, config, tokens, segments).reshape(pull.shape)
            return jnp.sum(pull * x), x

        return jax.jit(jax.grad(total, has_aux=True))(params)

    together, x = values_and_gradients(row, segments)
    apart, wanted = values_and_gradients(documents, jnp.zeros_like(documents))
    np.testing.assert_allclose(x, wanted, atol=2e-5)
    assert_trees_close(together, apart)


def test_a_row_without_bounds_is_one_document(config: ModelConfig, params: Params[jax.Array]):
    row = tokens_of(config)
    alone = forward(params, config, row[:, 4:])
    assert float(jnp.abs(forward(params, config, row)[:, 4:] - alone).max()) > 0.1


def test_gradients_equal_those_of_jax_for_plain_products(
    config: ModelConfig, params: Params[jax.Array], monkeypatch: pytest.MonkeyPatch
):
    tokens = tokens_of(config)

    def total(p: Params[jax.Array]) -> jax.Array:
        out = logits(p, hidden(p, config, tokens, jnp.zeros_like(tokens)))
        return jnp.sum(jnp.tanh(out))

    ours = jax.jit(jax.grad(total))(params)
    monkeypatch.setattr("polyturn.model.decoder.product", lambda x, w, cut, kernels: x @ w)
    assert_trees_close(ours, jax.jit(jax.grad(lambda p: total(p)))(params))  # a new function: traced anew


def assert_trees_close(ours: Params[jax.Array], theirs: Params[jax.Array]) -> None:
    """Equal to a few units in the last place of each array's largest entry."""
    for mine, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-5 * max(1.0, float(jnp.abs(other).max())))
