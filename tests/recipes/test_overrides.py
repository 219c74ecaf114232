"""Overrides by dotted path."""

from dataclasses import replace

import pytest

from polyturn.recipes.micro import polyturn_micro_mono
from polyturn.recipes.overrides import override
from polyturn.utils.errors import UserError


def test_values_reach_their_place_and_nothing_else() -> None:
    recipe = polyturn_micro_mono()
    changed = override(recipe, ["stages.1.train.steps=70", "stages.1.train.optimizer.peak_rate=1", "name=mine"])
    assert changed.stages[1].train.steps == 70
    assert changed.stages[1].train.optimizer.peak_rate == 1.0
    assert changed.name == "mine"
    assert changed.stages[0] == recipe.stages[0]
    assert override(recipe, []) == recipe


STEPS = "stages.1.train.steps"


TRAIN = "stages.1.train"
WRONG = [
    *("steps=7", "stages.5.train.steps=7", STEPS, f"{STEPS}=many", f"{STEPS}=0.5", f"{STEPS}=None"),
    *(f"{TRAIN}.keep_every='x'", f"{TRAIN}.keep_every=2.5", f"{TRAIN}.save_minutes=True", f"{TRAIN}.optimizer=5"),
    *(f"{TRAIN}.optimizer.anneal='5'", "stages=(1,)", "stages=()"),
]


def test_a_setting_that_is_off_takes_a_value_and_none() -> None:
    changed = override(polyturn_micro_mono(), [f"{TRAIN}.keep_every=5", f"{TRAIN}.save_minutes=2"])
    assert (changed.stages[1].train.keep_every, changed.stages[1].train.save_minutes) == (5, 2.0)
    assert override(changed, [f"{TRAIN}.keep_every=None"]).stages[1].train.keep_every is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("optimizer.clip=0", "clip is a number above 0"),
        ("optimizer.clip=-1.0", "clip is a number above 0"),
        ("optimizer.anneal=0", "optimizer.anneal must be at least 1"),
        ("optimizer.warmup=-1", "optimizer.warmup must be at least 0"),
        ("guard.patience=0", "guard.patience must be at least 1"),
        ("optimizer.peak_rate=-1", "optimizer.peak_rate must be at least 0"),
        ("optimizer.end_rate=1e999", "optimizer.end_rate must be at least 0"),
        ("optimizer.decay=-1", "optimizer.decay must be at least 0"),
        ("optimizer.beta1=-1", "optimizer.beta1 must be at least 0 and less than 1"),
        ("optimizer.beta2=1.0", "optimizer.beta2 must be at least 0 and less than 1"),
        ("optimizer.epsilon=0", "optimizer.epsilon must be more than 0"),
        ("z_loss=-1", "z_loss must be at least 0"),
        (f"seed={2**32}", f"seed must be less than {2**32}"),
        (f"steps={2**31}", f"steps must be less than {2**31}"),
        ("steps=20", "lower optimizer.warmup"),
    ],
)
def test_settings_that_can_do_nothing_are_refused(change: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        override(polyturn_micro_mono(), [f"{TRAIN}.{change}"])


def test_a_rate_cannot_go_down_while_it_still_warms_up() -> None:
    wsd = [f"{STEPS}=100", f"{TRAIN}.optimizer.schedule=wsd", f"{TRAIN}.optimizer.warmup=40"]
    assert override(polyturn_micro_mono(), [*wsd, f"{TRAIN}.optimizer.anneal=60"])
    with pytest.raises(UserError, match="cannot go down over 61 steps, for the warm-up leaves 60"):
        override(polyturn_micro_mono(), [*wsd, f"{TRAIN}.optimizer.anneal=61"])


def test_counts_are_whole_numbers() -> None:
    with pytest.raises(UserError, match="rows is a whole number"):
        replace(polyturn_micro_mono().stages[1].train, rows=2.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("change", WRONG)
def test_a_wrong_override_is_one_sentence(change: str) -> None:
    with pytest.raises(UserError, match=change.split("=")[0].replace(".", r"\.")):
        override(polyturn_micro_mono(), [change])


def test_a_value_out_of_range_is_refused_by_the_recipe() -> None:
    with pytest.raises(UserError, match="at least 1"):
        override(polyturn_micro_mono(), ["stages.1.train.steps=0"])


def test_changes_that_only_fit_together_are_made_together() -> None:
    warm = "stages.1.train.optimizer.warmup=2"
    changed = override(polyturn_micro_mono(), [f"{STEPS}=4", warm])
    assert changed == override(polyturn_micro_mono(), [warm, f"{STEPS}=4"])
    assert (changed.stages[1].train.steps, changed.stages[1].train.optimizer.warmup) == (4, 2)
    with pytest.raises(UserError, match="warm up"):
        override(polyturn_micro_mono(), [f"{STEPS}=4"])
