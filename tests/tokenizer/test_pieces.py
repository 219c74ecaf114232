"""Remembered pieces give the ids that the tokenizer gives."""

import sysconfig
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyturn.hub.catalogue import DEFAULT, resolve
from polyturn.tokenizer.bpe import Tokenizer, load
from polyturn.tokenizer.pieces import Pieces, fits
from polyturn.tokenizer.training import SPACE_RUNS, SPLIT, TAB_RUNS


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load(resolve(DEFAULT))


BLANKS = [" ", "  ", " " * 32, " " * 33, "\t", "\t" * 10, "\n", "\n\n", "\r\n", "\x0b", "\x1c", "\x85", "\u2028"]
WORDS = [
    "x",
    "word",
    "_",
    "1",
    "12",
    "\u00e9",
    "\u4e2d",
    "\u0301",
    "\u00b2",
    "\U0001f600",
    "<|endoftext|>",
    "<|python|>",
]
SIGNS = ["=", " = ", "+=", ",", ", ", ": ", "#", "# ", "'", "(", "$", "?!", "\x00", "\x7f", "&&", " -> ", "@"]
PARTS = st.sampled_from([*BLANKS, *WORDS, *SIGNS])


@given(st.lists(PARTS, max_size=30).map("".join))
def test_pieces_of_all_kinds_in_any_order(tokenizer: Tokenizer, text: str) -> None:
    assert [ids.tolist() for ids in tokenizer.encode_many([text])] == [tokenizer.encode(text)]


@given(st.text(max_size=60))
def test_any_text(tokenizer: Tokenizer, text: str) -> None:
    assert [ids.tolist() for ids in tokenizer.encode_many([text])] == [tokenizer.encode(text)]


def test_real_source_code(tokenizer: Tokenizer) -> None:
    paths = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    texts = [path.read_text(encoding="utf-8") for path in paths]
    found = [ids.tolist() for ids in tokenizer.encode_many(texts)]
    assert found == [tokenizer.encode(text) for text in texts]


def test_forgetting_changes_nothing(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyturn.tokenizer.pieces.MOST_PIECES", 3)
    pieces = Pieces(tokenizer.backend)
    text = "one two three four five six = 7\n"
    for _ in range(3):
        assert pieces.encode(text).tolist() == tokenizer.encode(text)


def test_other_tokenizers_are_left_alone() -> None:
    import tokenizers
    from tokenizers import models, pre_tokenizers

    other = tokenizers.Tokenizer(models.BPE())
    assert not fits(other, SPLIT, SPACE_RUNS + TAB_RUNS)
    other.pre_tokenizer = pre_tokenizers.ByteLevel()
    assert not fits(other, SPLIT, SPACE_RUNS + TAB_RUNS)
