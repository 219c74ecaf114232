"""The turn format: one form for training and use."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyturn.synthesis.turns import (
    Turn,
    code_text,
    encode_for_training,
    encode_history,
    history_text,
    intent_text,
    prefix_text,
    program_source,
)

TURNS = [Turn("Set x to 1.", "x = 1"), Turn("Print x\ntwice.", "for _ in range(2):\n    print(x)")]


class Bytes:
    """A tokenizer whose ids are bytes."""

    eos_id = 256

    def encode(self, text: str) -> list[int]:
        return list(text.encode())


def test_the_text_is_the_papers() -> None:
    assert history_text(TURNS[:1], "import re\n\n") == "import re\n\n# Set x to 1.\nx = 1\n\n"


@pytest.mark.parametrize("prefix", ["import re", "import re\n", "import re\n\n", "import re\n\n\n\n", "import re  "])
def test_a_prefix_ends_in_one_empty_line(prefix: str) -> None:
    assert prefix_text(prefix) == "import re\n\n"
    assert history_text(TURNS, prefix) == history_text(TURNS, "import re\n\n")
    assert encode_history(Bytes(), TURNS, prefix) == list(history_text(TURNS, prefix).encode())
    assert encode_for_training(Bytes(), TURNS, prefix) == encode_for_training(Bytes(), TURNS, "import re\n\n")


def test_a_blank_prefix_is_none() -> None:
    assert history_text(TURNS, " \n") == history_text(TURNS)


def test_no_line_of_an_intent_becomes_code() -> None:
    assert intent_text("one\nimport os\n\n  three") == "# one\n# import os\n#\n#   three\n"


@given(st.text(max_size=40))
def test_an_intent_is_only_comments(text: str) -> None:
    assert all(line.startswith("#") for line in intent_text(text).splitlines())


def test_the_program_runs_as_it_stands() -> None:
    assert program_source(TURNS) == "# Set x to 1.\nx = 1\n\n# Print x\n# twice.\nfor _ in range(2):\n    print(x)\n"


def test_training_reads_what_a_session_reads() -> None:
    ids, _ = encode_for_training(Bytes(), TURNS, "import re\n\n")
    assert ids == [*encode_history(Bytes(), TURNS, "import re\n\n"), 256]


def test_the_loss_counts_code_and_the_end_of_each_turn() -> None:
    ids, target = encode_for_training(Bytes(), TURNS)
    counted = bytes(i for i, t in zip(ids, target, strict=True) if t and i < 256).decode()
    assert counted == code_text(TURNS[0].code) + "#" + code_text(TURNS[1].code)
    assert target[-1]
