"""The count of FLOPs, against XLA's own of the same model and against figures worked out by hand."""

import jax
import jax.numpy as jnp
import pytest

from polyturn.model.config import ModelConfig
from polyturn.model.decoder import forward
from polyturn.model.params import abstract
from polyturn.train.flops import DEVICES, by_kind, by_name, per_step, per_token, per_token_forward, utilisation
from polyturn.utils.errors import UserError

SMALL = ModelConfig(layers=20, width=1024, heads=16, rotary=32, vocab=51200)


def test_the_paper_sizes_by_hand() -> None:
    """350M: 6 (12 · 20 · 1024² + 1024 · 51200) + 6 · 20 · 1024 · 2048 = 2.076 GFLOP a token."""
    assert per_token(SMALL, 2048) == 6 * (251_658_240 + 52_428_800) + 251_658_240
    assert per_token(SMALL, 2048) == 3 * per_token_forward(SMALL, 2048)
    assert per_step(SMALL, rows=256, row=2048) == per_token(SMALL, 2048) * 524_288


def test_xla_counts_the_same_products() -> None:
    """XLA counts attention whole where we halve it, and norms, softmax and gelu besides: little at this width."""
    model = ModelConfig(layers=1, width=512, heads=8, rotary=32, vocab=4096, context=128)
    rows, row = 2, 128
    tokens = jax.ShapeDtypeStruct((rows, row), jnp.int32)
    analysis = forward.lower(abstract(model), model, tokens).compile().cost_analysis()
    assert analysis is not None
    whole = rows * row * (per_token_forward(model, row) + 2 * model.layers * model.width * row)
    assert whole < analysis["flops"] < 1.05 * whole


def test_utilisation_is_a_share_of_the_peak() -> None:
    """214,500 tokens a second at 350M on one H100 are 45 %."""
    assert utilisation(SMALL, 2048, 214_500, "NVIDIA H100 80GB HBM3", 1) == pytest.approx(0.45, abs=0.001)
    assert utilisation(SMALL, 2048, 8 * 214_500, "NVIDIA H100 80GB HBM3", 8) == pytest.approx(0.45, abs=0.001)


@pytest.mark.parametrize("kind", ["cpu", "NVIDIA H100 PCIe", "NVIDIA H100"])
def test_an_unknown_device_has_no_utilisation(kind: str) -> None:
    assert by_kind(kind) is None
    assert utilisation(SMALL, 2048, 1000, kind, 1) is None


def test_names_and_kinds_are_each_of_one_device() -> None:
    kinds = [kind for device in DEVICES for kind in device.kinds]
    assert len(set(kinds)) == len(kinds)
    assert all(by_name(device.name) is device for device in DEVICES)
    with pytest.raises(UserError, match="h100"):
        by_name("h101")
