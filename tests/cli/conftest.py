"""A model that answers every intent by rule, in the place of the built-in one."""

from collections.abc import Callable, Iterator, Sequence

import pytest

import polyturn
from polyturn.engine.types import Completion, TextRequest


class Scripted:
    """Answers an intent by the code behind its last colon; "stop: " cuts it by length, "interrupt" is Ctrl-C."""

    name, digest, width, context = "scripted", "", 1, None

    def complete_texts(self, requests: Sequence[TextRequest]) -> Iterator[tuple[int, Completion]]:
        for index, request in enumerate(requests):
            intent = request.pieces[-1].removeprefix("# ").removesuffix("\n")
            if intent == "interrupt":
                raise KeyboardInterrupt
            finish = "length" if intent.startswith("stop") else "stop"
            yield index, Completion([], intent.rpartition(": ")[2], finish, [], 0)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[object]]:
    """Puts the scripted model in place. Calling it tells which models were asked for."""
    asked: list[object] = []

    def load(name: object = None) -> Scripted:
        asked.append(name)
        return Scripted()

    monkeypatch.setitem(vars(polyturn), "load", load)
    return lambda: asked
