"""Overrides by dotted path."""

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


@pytest.mark.parametrize("change", ["steps=7", "stages.5.train.steps=7", STEPS, f"{STEPS}=many", f"{STEPS}=0.5"])
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
