"""The tokenizer: every byte survives, and names and values look the same in prose and in code."""

import json
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from polyturn.tokenizer.bpe import Tokenizer, load
from polyturn.tokenizer.training import ROWS, SPECIAL, train
from polyturn.utils.errors import UserError

SOURCE = Path(__file__).parents[2] / "src" / "polyturn"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Trained on our own source: small, and the same rules as the shipped one."""
    return train((p.read_text() for p in sorted(SOURCE.rglob("*.py"))), rows=1500)


@given(st.text())
def test_any_text_survives(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


BLANKS = st.text(st.sampled_from(" \t\n\r\x0b\u00a0#x'.,"), max_size=60)


@given(BLANKS)
def test_no_blank_is_eaten(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_special_tokens_in_a_text_stay_text(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("a<|endoftext|>b")
    assert tokenizer.eos_id not in ids
    assert tokenizer.decode(ids) == "a<|endoftext|>b"


@pytest.mark.parametrize("run", [" " * 2, " " * 31, "\t" * 2, "\t" * 9])
def test_runs_of_blanks_are_one_token(tokenizer: Tokenizer, run: str) -> None:
    assert len(tokenizer.encode(run)) == 1


WORDS = ["xs", "total_count", "velorin", "Größe", "3.14", "907", "green tea", "[3, 1, 2]", "{'a': 1}"]
PLACES = [("named ", "."), ("", " = 1"), ("print(", ")"), ('"', '"'), ("`", "`"), ("x in ", ":\n"), ("", "\n")]


@pytest.mark.parametrize("word", WORDS)
def test_a_name_or_value_is_spelled_alike_everywhere(tokenizer: Tokenizer, word: str) -> None:
    """In each of these places its tokens are the same: that is what lets a small model copy it."""
    alone = tokenizer.encode(word)
    for before, after in PLACES:
        ids = tokenizer.encode(before + word + after)
        start = len(tokenizer.encode(before))
        assert ids[start : start + len(alone)] == alone


def test_digits_stand_alone(tokenizer: Tokenizer) -> None:
    assert len(tokenizer.encode("2026")) == 4


def test_size_and_special_ids(tokenizer: Tokenizer) -> None:
    assert tokenizer.size == 1500
    assert len(SPECIAL) == 32
    assert (tokenizer.eos_id, tokenizer.pad_id) == (0, 1)
    assert [tokenizer.backend.token_to_id(s) for s in SPECIAL] == list(range(32))
    assert ROWS == 8192


def test_training_depends_on_the_texts_alone() -> None:
    texts = [p.read_text() for p in sorted(SOURCE.rglob("*.py"))[:10]]
    assert train(texts, 600).backend.to_str() == train(texts, 600).backend.to_str()


def test_save_and_load(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    again = load(tmp_path)
    text = "def f(x):\n\treturn  x  # ünïcode\n"
    assert again.encode(text) == tokenizer.encode(text)
    assert (again.eos_id, again.pad_id, again.size) == (tokenizer.eos_id, tokenizer.pad_id, tokenizer.size)


def test_a_published_codegen_tokenizer_loads(tmp_path: Path) -> None:
    """GPT-2's pair of files with CodeGen's added runs of blanks: their ids, and end of text as padding."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocab = {c: n for n, c in enumerate(alphabet)} | {"he": 256, "Ġhe": 257, "<|endoftext|>": 258}
    added = {" " * 3: 259, " " * 2: 260, "\t\t": 261}
    (tmp_path / "vocab.json").write_text(json.dumps(vocab))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nh e\nĠ he\n")
    (tmp_path / "added_tokens.json").write_text(json.dumps(added))
    tokenizer = load(tmp_path)
    assert tokenizer.encode("he   he") == [256, 259, 256]
    assert tokenizer.encode("x he")[1:] == [257]
    assert tokenizer.decode(tokenizer.encode("he     x\t\t\t")) == "he     x\t\t\t"
    assert tokenizer.eos_id == tokenizer.pad_id == 258
    assert tokenizer.size == 262


def test_no_tokenizer_and_damaged_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no tokenizer"):
        load(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": ')
    with pytest.raises(UserError, match="cannot be read"):
        load(tmp_path)
