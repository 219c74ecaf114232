"""The demo's programs are what it says: from the composer's test seed, which training never draws from."""

import json
from importlib.resources import files

import pytest

from polyturn.curriculum.compose import program
from polyturn.curriculum.heldout import TEST_SEED

PROGRAMS = json.loads((files("polyturn.cli") / "demo.json").read_text())


@pytest.mark.parametrize("shown", PROGRAMS, ids=lambda shown: shown["title"])
def test_the_intents_are_the_composers(shown: dict) -> None:
    assert [turn.intent for turn in program(TEST_SEED, shown["test_program"]).turns] == shown["intents"]
