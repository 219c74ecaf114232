"""A model that answers every intent by rule, in the place of the built-in one."""

from collections.abc import Callable, Sequence

import pytest

import polyturn
from polyturn.engine.types import Complete, Completion, Sampling


class Scripted:
    """Answers an intent by the code behind its last colon; "stop: " cuts it by length, "interrupt" is Ctrl-C."""

    name = "scripted"

    def continue_text(self, pieces: Sequence[str], sampling: Sampling, complete: Complete) -> Completion:
        intent = pieces[-1].removeprefix("# ").removesuffix("\n")
        if intent == "interrupt":
            raise KeyboardInterrupt
        finish = "length" if intent.startswith("stop") else "stop"
        return Completion([], intent.rpartition(": ")[2], finish, [], 0)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[object]]:
    """Puts the scripted model in place. Calling it tells which models were asked for."""
    asked: list[object] = []

    def load(name: object = None) -> Scripted:
        asked.append(name)
        return Scripted()

    monkeypatch.setitem(vars(polyturn), "load", load)
    return lambda: asked
