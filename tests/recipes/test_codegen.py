"""The paper's recipes: sizes, batches and rates, worked out by hand from its tables."""

from importlib import import_module

import jax.numpy as jnp
import pytest

from polyturn.parallel.mesh import MeshShape
from polyturn.recipes import CODEGEN, ONE_DEVICE, RECIPES
from polyturn.recipes.pretraining import Pretraining
from polyturn.train import optimizer
from polyturn.train.config import TrainConfig


def recipe(name: str) -> Pretraining:
    module, function = RECIPES[name].split(":")
    return getattr(import_module(module), function)()


def rate(config: TrainConfig, step: int) -> float:
    return float(optimizer.rate(config.optimizer, config.steps, jnp.int32(step - 1)))


def test_names_are_those_of_the_functions() -> None:
    assert len(CODEGEN) == 12
    assert [recipe(name).name for name in CODEGEN + ONE_DEVICE] == CODEGEN + ONE_DEVICE


@pytest.mark.parametrize(
    ("size", "parameters", "tokens_per_step"),
    [  # embedding and head V D each, 12 D² + 7 D a layer, and 2 D + V
        ("350m", 2 * 51200 * 1024 + 20 * (12 * 1024**2 + 7 * 1024) + 2 * 1024 + 51200, 524_288),
        ("2b", 2_779_356_160, 1_048_576),
        ("6b", 7_064_213_504, 2_097_152),
        ("16b", 16_032_155_648, 2_097_152),
    ],
)
def test_sizes_and_batches(size: str, parameters: int, tokens_per_step: int) -> None:
    for stage in ("nl", "multi", "mono"):
        chosen = recipe(f"codegen_{size}_{stage}")
        assert chosen.train.model.parameters == parameters
        assert chosen.train.rows * chosen.row == tokens_per_step
        assert chosen.row == chosen.train.model.context == 2048


@pytest.mark.parametrize(
    ("name", "steps", "peak", "billions"),
    [
        ("codegen_350m_nl", 350_000, 3.0e-4, 183.5),
        ("codegen_2b_nl", 350_000, 1.6e-4, 367.0),
        ("codegen_6b_nl", 350_000, 1.2e-4, 734.0),
        ("codegen_16b_nl", 350_000, 0.9e-4, 734.0),
        ("codegen_350m_multi", 150_000, 1.8e-4, 78.6),
        ("codegen_2b_multi", 150_000, 0.8e-4, 157.3),
        ("codegen_6b_mono", 150_000, 0.4e-4, 314.6),
        ("codegen_16b_mono", 150_000, 0.5e-4, 314.6),
    ],
)
def test_rates_and_lengths(name: str, steps: int, peak: float, billions: float) -> None:
    chosen = recipe(name)
    train = chosen.train
    assert train.steps == steps
    assert rate(train, 1) == pytest.approx(peak / 3_000, rel=1e-5)
    assert rate(train, 1_500) == pytest.approx(peak / 2, rel=1e-5)
    assert rate(train, 3_000) == pytest.approx(peak, rel=1e-5)
    assert train.steps * train.rows * chosen.row / 1e9 == pytest.approx(billions, rel=1e-3)


def test_the_first_stage_falls_over_300_000_steps_and_stays_down() -> None:
    """350M: from 3e-4 at 3,000 half a cosine to 3e-5 at 303,000; half way, at 153,000, the mean of the two."""
    train = recipe("codegen_350m_nl").train
    assert rate(train, 153_000) == pytest.approx(1.65e-4, rel=1e-5)
    assert rate(train, 78_000) == pytest.approx(3e-4 - 2.7e-4 * 0.14644661, rel=1e-5)  # (1 - cos(π/4)) / 2
    assert rate(train, 303_000) == rate(train, 350_000) == pytest.approx(3e-5, rel=1e-5)


def test_later_stages_end_at_their_floor() -> None:
    """350M, second stage: from 1.8e-4 at 3,000 to 3e-5 at 150,000."""
    train = recipe("codegen_350m_multi").train
    assert rate(train, 76_500) == pytest.approx(1.05e-4, rel=1e-5)
    assert rate(train, 150_000) == pytest.approx(3e-5, rel=1e-5)
    assert rate(recipe("codegen_16b_mono").train, 150_000) == pytest.approx(0.5e-5, rel=1e-5)


def test_each_stage_starts_from_the_one_before_of_its_size() -> None:
    for name in CODEGEN:
        before = recipe(name).start_from
        stage = name.rpartition("_")[2]
        assert (before is None) == (stage == "nl")
        if before is not None:
            assert recipe(before).train.model == recipe(name).train.model
            assert (stage, before.rpartition("_")[2]) in (("multi", "nl"), ("mono", "multi"))


def test_the_optimiser_is_the_papers() -> None:
    for name in CODEGEN:
        o = recipe(name).train.optimizer
        assert (o.beta1, o.beta2, o.epsilon, o.decay, o.clip, o.warmup) == (0.9, 0.999, 1e-8, 0.1, 1.0, 3_000)
        assert recipe(name).train.z_loss == 1e-4


@pytest.mark.parametrize(("name", "millions"), [("polyturn_3m", 2.9), ("polyturn_12m", 12.6), ("polyturn_42m", 42.0)])
def test_small_sizes(name: str, millions: float) -> None:
    chosen = recipe(name)
    parameters = chosen.train.model.parameters
    assert parameters / 1e6 == pytest.approx(millions, abs=0.06)
    assert 19 < chosen.train.steps * chosen.train.rows * chosen.row / parameters < 24  # tokens a parameter


@pytest.mark.parametrize("name", ["polyturn_350m_h100", "polyturn_2b_h100"])
def test_one_gpu_takes_half_a_million_tokens_a_step(name: str) -> None:
    chosen = recipe(name)
    assert chosen.train.rows * chosen.row == 524_288
    assert chosen.train.mesh == MeshShape()
    assert chosen.train.micro_rows(MeshShape()) * chosen.train.accumulate == 256
