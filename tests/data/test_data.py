"""Packing and batches: nothing lost, nothing mixed, any step at once."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyturn.data.batches import as_batch, batch
from polyturn.data.packing import Rows, load_rows, pack, save_rows
from polyturn.data.repeats import repeats
from polyturn.utils.errors import UserError

DOCUMENTS = st.lists(st.lists(st.integers(2, 70_000), min_size=1, max_size=16), max_size=30)


def packed(documents: list[list[int]], length: int = 16) -> Rows:
    return pack(((d, [n % 2 == 0 for n in d]) for d in documents), length, pad_id=1)


@given(DOCUMENTS)
def test_every_document_is_there_once_and_whole(documents: list[list[int]]) -> None:
    rows = packed(documents)
    found = []
    for tokens, segments, targets in zip(rows.tokens, rows.segments, rows.targets, strict=True):
        for segment in range(1, int(segments.max(initial=0)) + 1):
            inside = segments == segment
            assert list(targets[inside]) == [n % 2 == 0 for n in tokens[inside]]
            found.append(tokens[inside].tolist())
        assert (tokens[segments == 0] == 1).all()
        assert not targets[segments == 0].any()
    assert sorted(found) == sorted(documents)


@given(DOCUMENTS)
def test_a_target_is_the_next_token_of_the_same_document(documents: list[list[int]]) -> None:
    rows = packed(documents)
    b = as_batch(rows, np.arange(len(rows.tokens)))
    for row, at in zip(*np.nonzero(b.weights), strict=True):
        assert b.targets[row, at] == b.tokens[row, at + 1]
        assert b.segments[row, at] == b.segments[row, at + 1] > 0
    wanted = sum(n % 2 == 0 for d in documents for n in d[1:])
    assert b.weights.sum() == wanted


def test_a_document_longer_than_a_row() -> None:
    with pytest.raises(UserError, match="17 tokens"):
        packed([[2] * 17])


def test_rows_survive_the_disk(tmp_path: Path) -> None:
    rows = packed([[2, 3, 4], [5, 6]])
    save_rows(tmp_path / "r.npz", rows)
    assert load_rows(tmp_path / "r.npz").digest() == rows.digest()
    assert packed([[2, 3, 4], [5, 7]]).digest() != rows.digest()


def test_small_ids_take_two_bytes_and_large_ones_four() -> None:
    assert packed([[65_535]]).tokens.dtype == np.uint16
    assert packed([[65_536]]).tokens.dtype == np.uint32


def test_an_epoch_has_every_row_once_and_its_own_order() -> None:
    rows = packed([[n] * 16 for n in range(2, 32)])
    epochs = [[int(r[0]) for step in range(3) for r in batch(rows, 7, 3 * e + step, 10).tokens] for e in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(2, 32))
    assert epochs[0] != epochs[1]


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    rows = packed([[n] * 16 for n in range(2, 30)])
    first = [batch(rows, 7, k, 5).tokens for k in range(20)]
    for k in (19, 3, 11):
        assert (batch(rows, 7, k, 5).tokens == first[k]).all()
    assert any((batch(rows, 8, k, 5).tokens != first[k]).any() for k in range(20))


def test_repeats_can_be_predicted_by_copying() -> None:
    for ids, target in repeats(1, 50, range(32, 500), separator=0):
        half = len(ids) // 2
        assert ids[:half] == ids[half + 1 :]
        assert target == [False] * (half + 1) + [True] * half
        assert 32 <= min(ids[:half]) <= max(ids[:half]) < 500
