"""Shapes and parameter counts, against the sizes that the paper's models have by arithmetic."""

import jax
import pytest

from polyturn.model.config import ModelConfig
from polyturn.model.params import abstract, cast, count, describe, initialise
from polyturn.utils.errors import UserError

make = jax.jit(initialise, static_argnums=0)
RELEASED = {
    "350M": (ModelConfig(layers=20, width=1024, heads=16, rotary=32, vocab=51200), 0.357),
    "2B": (ModelConfig(layers=32, width=2560, heads=32, rotary=64, vocab=51200), 2.78),
    "6B": (ModelConfig(layers=33, width=4096, heads=16, rotary=64, vocab=51200), 7.06),
    "16B": (ModelConfig(layers=34, width=6144, heads=24, rotary=64, vocab=51200), 16.03),
}


@pytest.mark.parametrize("name", RELEASED)
def test_released_models_have_their_number_of_parameters(name: str):
    config, billions = RELEASED[name]
    digits = len(str(billions).partition(".")[2])
    assert round(config.parameters / 1e9, digits) == billions
    assert count(describe(config)) == count(abstract(config)) == config.parameters


def test_initial_weights_are_float32_of_the_described_shapes_and_widths(config: ModelConfig):
    fresh = make(config, jax.random.key(3))
    wanted = abstract(config)
    assert jax.tree.map(lambda a: (a.shape, str(a.dtype)), fresh) == jax.tree.map(
        lambda a: (a.shape, str(a.dtype)), wanted
    )
    assert count(fresh) == config.parameters
    # A normal distribution cut at two standard deviations is 0.880 times as wide as whole.
    assert float(fresh.blocks.w_in.std()) == pytest.approx(0.880 / 48**0.5, rel=0.05)
    assert float(fresh.blocks.w_out.std()) == pytest.approx(0.880 * 2 / 2 / 48**0.5, rel=0.05)
    assert float(fresh.embedding.std()) == pytest.approx(0.880 / 37**0.5, rel=0.05)
    assert (fresh.blocks.norm_scale == 1).all()
    assert not fresh.blocks.b_in.any()


def test_initial_weights_depend_on_the_key_alone(config: ModelConfig):
    first, again, other = (make(config, jax.random.key(seed)) for seed in (3, 3, 4))
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), first, again)))
    assert not (first.head == other.head).any()
    assert not (first.blocks.w_in[0] == first.blocks.w_in[1]).any()


def test_cast_keeps_shapes(config: ModelConfig):
    low = cast(make(config, jax.random.key(0)), "bfloat16")
    assert {str(a.dtype) for a in jax.tree.leaves(low)} == {"bfloat16"}
    assert count(low) == config.parameters


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"heads": 5}, "48 is not a multiple of the 5 heads"),
        ({"rotary": 7}, "7 must be even"),
        ({"rotary": 18}, "18 must be even and at most the head width 16"),
        ({"rotary": 0}, "0 must be even"),
        *(({key: 0}, "at least one of each") for key in ("layers", "width", "heads", "vocab", "context")),
        ({"heads": -3}, "at least one of each"),
    ],
)
def test_impossible_shapes_are_told_in_a_sentence(change: dict[str, int], sentence: str):
    shape = {"layers": 2, "width": 48, "heads": 3, "rotary": 8, "vocab": 37} | change
    with pytest.raises(UserError, match=sentence):
        ModelConfig(**shape)
