"""What cannot fit is refused before data is touched, with settings that would fit."""

import os
import re
from dataclasses import replace
from pathlib import Path

import jax
import pytest
from small_run import CONFIG, run

from polyturn.recipes.overrides import override
from polyturn.recipes.pretraining import Pretraining
from polyturn.train import fitting
from polyturn.train.config import TrainConfig
from polyturn.train.fitting import check_memory, device_memory
from polyturn.train.memory import memory
from polyturn.utils.errors import UserError

ROW = 33
BIG = replace(CONFIG, rows=64)


def at_least(config: TrainConfig) -> int:
    """Bytes that a step needs without doubt."""
    needed = memory(config, ROW)
    return needed.total - needed.working


def test_a_step_that_fits_is_let_through_and_one_that_cannot_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "device_memory", lambda: at_least(BIG))
    check_memory(BIG, ROW)
    monkeypatch.setattr(fitting, "device_memory", lambda: at_least(BIG) - 1)
    with pytest.raises(UserError, match="this fits: --set"):
        check_memory(BIG, ROW)


def test_what_is_proposed_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    there = at_least(BIG) * 2 // 3
    monkeypatch.setattr(fitting, "device_memory", lambda: there)
    with pytest.raises(UserError) as told:
        check_memory(BIG, ROW)
    changes = re.findall(r"(train\.[\w.]+=\w+)", str(told.value))
    assert {change.split("=")[0] for change in changes} >= {"train.accumulate", "train.compute.remat"}
    proposed = override(Pretraining("big", BIG, row=ROW), changes).train
    assert at_least(proposed) <= there
    check_memory(proposed, ROW)


def test_no_setting_helps_a_model_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "device_memory", lambda: 1000)
    with pytest.raises(UserError, match="a smaller model"):
        check_memory(BIG, ROW)


def test_a_run_asks_before_it_makes_anything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fitting, "device_memory", lambda: 1000)
    with pytest.raises(UserError, match="A step needs at least"):
        run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_devices_emulated_on_one_machine_share_its_memory() -> None:
    there = device_memory()
    assert there is not None
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < there * jax.local_device_count() <= whole
