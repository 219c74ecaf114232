"""The multi-turn score: the reference passes, wrong values and crashes do not, and every turn is the model's own."""

from collections.abc import Callable, Sequence
from typing import Literal

import pytest

from polyturn.bench.curriculum import problems, score
from polyturn.engine.types import Completion, Request
from polyturn.synthesis.turns import history_text, intent_text

N = 12
Split = Literal["test", "heldout-pairs"]


class Bytes:
    """A tokenizer whose ids are bytes."""

    eos_id = 256

    def encode(self, text: str) -> list[int]:
        return list(text.encode())


class Answering:
    """A model that answers from the references, changed by `change(code, turn)`."""

    tokenizer = Bytes()

    def __init__(self, change: Callable[[str, int], str], split: Split = "test") -> None:
        self.answers = {}
        for item in problems(split, N):
            turns = item.program.turns
            for k, turn in enumerate(turns):
                self.answers[intent_text(turns[0].intent), k, turn.intent] = change(turn.code, k)
        self.prompts: list[str] = []

    def complete_many(self, requests: Sequence[Request]) -> list[list[Completion]]:
        samples = []
        for request in requests:
            prompt = bytes(request.prompt).decode()
            self.prompts.append(prompt)
            intents = [line for line in prompt.splitlines(keepends=True) if line.startswith("# ")]
            code = self.answers[intents[0], len(intents) - 1, intents[-1].removeprefix("# ").strip()]
            samples.append([Completion([], code + "\n\n# and so on", "stop", [], 0)])
        return samples


@pytest.mark.parametrize("split", ["test", "heldout-pairs"])
def test_the_reference_passes(split: Split) -> None:
    result = score(Answering(lambda code, turn: code, split), split, N)
    assert (result.passed, result.pass_rate, result.turns_exact) == (N, 1.0, 1.0)
    assert result.ci95[0] > 0.7


def test_a_wrong_value_is_wrong_and_a_crash_an_error() -> None:
    other = Answering(lambda code, turn: code.replace("print(", "print('no', "))
    assert score(other, "test", N).verdicts == {"wrong": N}
    assert score(Answering(lambda code, turn: code + "\nboom"), "test", N).verdicts == {"error": N}


def test_later_turns_see_what_the_model_wrote() -> None:
    model = Answering(lambda code, turn: code + "\nmarker = 1" if turn == 0 else code)
    score(model, "test", N)
    for item in problems("test", N):
        first = history_text(item.program.turns[:1]).rstrip() + "\nmarker = 1\n\n"
        assert any(p.startswith(first) for p in model.prompts)


def test_problems_are_the_first_of_their_seed() -> None:
    assert problems("test", 5) == problems("test", 9)[:5]
