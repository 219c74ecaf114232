import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyturn.engine.nucleus import draw, nucleus, reference_nucleus, uniforms

draw_jitted, nucleus_jitted = jax.jit(draw), jax.jit(nucleus)
WHOLE = 1024  # weights are multiples of 1 / WHOLE: their sums are exact in float32, and ties and edges are common


@given(
    st.lists(st.lists(st.integers(0, 60), min_size=11, max_size=11), min_size=3, max_size=3),
    st.lists(st.integers(0, WHOLE), min_size=3, max_size=3),
)
def test_nucleus_is_what_sorting_and_summing_gives(counts, top_p):
    weight = np.array(counts, np.float32)
    gap = weight.max(axis=1, keepdims=True) - weight
    weight /= WHOLE
    share = np.array(top_p, np.float32) / WHOLE
    ours = np.asarray(nucleus_jitted(gap, weight, share))
    for row in range(3):
        np.testing.assert_array_equal(ours[row], reference_nucleus(gap[row], weight[row], share[row]))


def test_of_equal_tokens_the_lower_ids_come_first():
    weight = np.full((1, 8), 0.125, np.float32)
    members = np.asarray(nucleus(jnp.zeros((1, 8)), jnp.asarray(weight), jnp.array([0.5])))
    np.testing.assert_array_equal(members[0], [True] * 4 + [False] * 4)


@given(st.integers(0, 2**32 - 1))
def test_nucleus_of_any_logits_is_the_smallest_set_with_its_mass(seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=rng.uniform(0.1, 8), size=(2, 64)).astype(np.float32)
    top_p = rng.uniform(0.05, 1, 2).astype(np.float32)
    gap = logits.max(axis=1, keepdims=True) - logits
    weight = np.exp(-gap) / np.exp(-gap).sum(axis=1, keepdims=True)
    members = np.asarray(nucleus_jitted(gap, weight, top_p))
    for row in range(2):
        inside = members[row]
        assert weight[row][inside].sum() >= top_p[row] - 1e-6
        assert weight[row][inside].sum() - weight[row][inside].min() < top_p[row] + 1e-6
        assert gap[row][inside].max() <= gap[row][~inside].min(initial=np.inf)


@given(st.integers(0, 2**32 - 1))
def test_draw_inverts_the_cumulative_distribution(seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=3, size=(2, 64)).astype(np.float32)
    temperature = rng.uniform(0.2, 2, 2).astype(np.float32)
    top_p = rng.uniform(0.3, 1, 2).astype(np.float32)
    uniform = rng.uniform(size=2).astype(np.float32)
    token, log_probability = draw_jitted(logits, temperature, top_p, uniform)
    for row in range(2):
        exact = logits[row].astype(np.float64)
        plain = np.exp(exact - np.logaddexp.reduce(exact))
        warm = np.exp((exact - exact.max()) / temperature[row])
        warm /= warm.sum()
        kept = np.where(reference_nucleus(exact.max() - exact, warm, float(top_p[row])), warm, 0)
        upto = np.cumsum(kept) / kept.sum()
        at = int(token[row])
        assert (upto[at - 1] if at else 0) - 1e-5 <= uniform[row] <= upto[at] + 1e-5
        assert log_probability[row] == pytest.approx(np.log(plain[at]), abs=1e-5)


def test_temperature_zero_takes_the_first_of_the_likeliest():
    logits = np.array([[0, 3, 1, 3], [2, -1, 2, 2], [5, 4.9999995, 0, 0]], np.float32)
    settings = np.zeros(3, np.float32), np.full(3, 0.95, np.float32)
    for uniform in (0.0, 0.5, 1 - 2**-24):
        token, _ = draw_jitted(logits, *settings, np.full(3, uniform, np.float32))
        np.testing.assert_array_equal(token, [1, 0, 0])


def test_top_p_one_keeps_even_what_rounding_hides():
    gap, weight = np.array([[0, 30, 30]], np.float32), np.array([[1, 9e-14, 9e-14]], np.float32)
    assert np.asarray(nucleus(jnp.asarray(gap), jnp.asarray(weight), jnp.ones(1))).all()


def test_a_row_does_not_depend_on_its_neighbours():
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2, size=(6, 64)).astype(np.float32)
    settings = np.stack([rng.uniform(0, 1, 6), rng.uniform(0.5, 1, 6), rng.uniform(size=6)]).astype(np.float32)
    token, log_probability = draw_jitted(logits, *settings)
    order = rng.permutation(6)
    again, log_again = draw_jitted(logits[order], *settings[:, order])
    np.testing.assert_array_equal(again, token[order])
    np.testing.assert_array_equal(log_again, log_probability[order])


def test_logits_that_are_no_numbers_show():
    logits = np.array([[0.0, np.nan, 1.0]], np.float32)
    one = np.ones(1, np.float32)
    assert np.isnan(draw_jitted(logits, one, one, one / 2)[1][0])


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (1.0, 0.8)])
def test_frequencies_follow_the_distribution(temperature, top_p):
    logits = np.array([1.0, 0.2, -0.5, 2.0, 0.0, 1.5, -1.0, 0.7])
    weight = np.exp(logits / temperature)
    weight /= weight.sum()
    kept = np.where(reference_nucleus(logits.max() - logits, weight, top_p), weight, 0)
    expected = kept / kept.sum()

    rows, rounds = 100, 100
    uniform = np.stack([uniforms(3, 0, sample, rounds) for sample in range(rows)])
    settings = np.full(rows, temperature, np.float32), np.full(rows, top_p, np.float32)
    batch = np.tile(logits.astype(np.float32), (rows, 1))
    drawn = np.concatenate([np.asarray(draw_jitted(batch, *settings, uniform[:, i])[0]) for i in range(rounds)])
    observed = np.bincount(drawn, minlength=8)

    assert not observed[expected == 0].any()
    support = expected > 0
    wanted = expected[support] * rows * rounds
    chi_square = float(((observed[support] - wanted) ** 2 / wanted).sum())
    assert chi_square < {8: 24.3, 4: 16.3}[int(support.sum())]  # exceeded once in a thousand seeds


def test_random_numbers_depend_on_seed_request_sample_and_position_alone():
    base = uniforms(1, 2, 3, 64)
    assert base.dtype == np.float32
    assert base.min() >= 0
    assert base.max() < 1
    np.testing.assert_array_equal(uniforms(1, 2, 3, 10), base[:10])
    for other in [(2, 2, 3), (1, 3, 3), (1, 2, 4), (1, 3, 2), (-1, 2, 3)]:
        assert not np.isin(uniforms(*other, 64), base).any()


def philox_4x64(counter: list[int], key: list[int]) -> list[int]:
    """Ten rounds, as in Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"."""
    words, (k0, k1), mask = list(counter), key, 2**64 - 1
    for _ in range(10):
        left, right = 0xD2E7470EE14C6C93 * words[0], 0xCA5A826395121157 * words[2]
        words = [right >> 64 ^ words[1] ^ k0, right & mask, left >> 64 ^ words[3] ^ k1, left & mask]
        k0, k1 = k0 + 0x9E3779B97F4A7C15 & mask, k1 + 0xBB67AE8584CAA73B & mask
    return words


def test_random_numbers_are_those_of_philox_as_published():
    """The stream must never change: published samples could no longer be repeated."""
    assert philox_4x64([0] * 4, [0] * 2)[0] == 0x16554D9ECA36314C  # from the authors' own list of known answers
    seed, request, sample = 2**63 + 5, 7, 11
    words = [w for block in (1, 2) for w in philox_4x64([block, sample, request, 0], [seed, 0])]
    expected = np.array([w >> 40 for w in words], np.float32) / 2**24
    np.testing.assert_array_equal(uniforms(seed, request, sample, 8), expected)
