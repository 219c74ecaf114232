"""Rows of a corpus: every token once and in order, by best fit; exactly the stated rule, by the paper's cut."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyturn.data.packing import LEAST_REMAINDER, Packed, best_fit, cut, join, token_type

PAD = 0
SIZES = st.lists(st.integers(0, 70), max_size=40)


def documents(sizes: list[int]) -> list[list[int]]:
    """Documents of these sizes, all of whose tokens differ, so that each can be told from any other."""
    ends = np.cumsum([1, *sizes]).tolist()
    return [list(range(begin, end)) for begin, end in pairwise(ends)]


def pieces(packed: Packed) -> list[list[list[int]]]:
    """The pieces of each row; what is left must be padding."""
    rows = []
    for n, row in enumerate(packed.tokens):
        lengths = packed.lengths[packed.starts[n] : packed.starts[n + 1]].tolist()
        ends = np.cumsum([0, *lengths]).tolist()
        rows.append([row[a:b].tolist() for a, b in pairwise(ends)])
        assert (row[ends[-1] :] == PAD).all()
    return rows


@given(SIZES, st.integers(1, 20))
def test_best_fit_holds_each_document_once_in_order_whole_or_in_full_rows(sizes: list[int], length: int) -> None:
    packed = best_fit(documents(sizes), length, 10_000, PAD)
    wanted = [d[at : at + length] for d in documents(sizes) for at in range(0, len(d), length)]
    rows = pieces(packed)
    assert sorted(piece for row in rows for piece in row) == sorted(wanted)
    assert all(row == sorted(row) for row in rows), "documents of a row in their order"
    assert [row[0] for row in rows] == sorted(row[0] for row in rows), "rows in the order of their first documents"
    assert packed.dropped == 0


@given(SIZES)
def test_best_fit_never_leaves_two_rows_that_would_fit_in_one(sizes: list[int]) -> None:
    held = sorted(sum(map(len, row)) for row in pieces(best_fit(documents(sizes), 16, 10_000, PAD)))
    assert len(held) < 2 or held[0] + held[1] > 16


def test_best_fit_fills_rows_of_a_corpus() -> None:
    sizes = np.random.default_rng(1).lognormal(6, 1.3, 3000).astype(int) + 1  # about as long as source files
    packed = best_fit([[1] * size for size in sizes.tolist()], 2048, 8192, PAD)
    assert packed.fill > 0.995
    assert packed.fill == sizes.sum() / packed.tokens.size


@given(SIZES, st.permutations(range(5)))
def test_packing_depends_on_the_documents_and_their_order_alone(sizes: list[int], order: list[int]) -> None:
    made = documents(sizes)
    for way in (best_fit, cut):
        one = way(made, 16, 10_000, PAD)
        other = way((np.array(d, np.int64) for d in made), 16, 10_000, PAD)
        assert one.tokens.tobytes() == other.tokens.tobytes()
        assert one.lengths.tobytes() == other.lengths.tobytes()
        assert one.starts.tobytes() == other.starts.tobytes()
    five = [[n + 1] * 9 for n in order]  # no two fit in a row of 16
    assert best_fit(five, 16, 10_000, PAD).tokens[:, 0].tolist() == [n + 1 for n in order]


@given(st.lists(st.integers(0, 700), max_size=30), st.sampled_from([64, 100, 256]))
def test_cut_is_the_papers_rule(sizes: list[int], length: int) -> None:
    """Against the rule done one token at a time."""
    rows, buffer, dropped = [], [], 0
    for document in documents(sizes):
        piece: list[int] = []
        for token in document:
            piece.append(token)
            if len(piece) == length:
                rows.append(piece)
                piece = []
        if len(piece) < LEAST_REMAINDER:
            dropped += len(piece)
            continue
        for token in piece:
            buffer.append(token)
            if len(buffer) == length:
                rows.append(buffer)
                buffer = []
    packed = cut(documents(sizes), length, 100_000, PAD)
    assert packed.tokens.tolist() == rows
    assert packed.dropped == dropped + len(buffer)
    assert packed.fill == 1


@given(st.lists(st.integers(0, 700), max_size=30))
def test_cut_knows_where_documents_meet(sizes: list[int]) -> None:
    """Ids that follow each other within a piece are of one document; where pieces meet, they are of two."""
    made = documents(sizes)
    of = {token: n for n, document in enumerate(made) for token in document}
    for row in pieces(cut(made, 128, 100_000, PAD)):
        for piece in row:
            assert len({of[token] for token in piece}) == 1
            assert piece == list(range(piece[0], piece[0] + len(piece)))
        assert len({of[piece[0]] for piece in row}) == len(row)


@given(SIZES, st.lists(st.integers(0, 60), max_size=4))
def test_rows_taken_apart_and_joined_are_the_same_rows(sizes: list[int], cuts: list[int]) -> None:
    packed = best_fit(documents([3, *sizes]), 16, 10_000, PAD)
    ends = [0, *sorted(min(at, len(packed.tokens)) for at in cuts), len(packed.tokens)]
    again = join([packed[a:b] for a, b in pairwise(ends)])
    assert pieces(again) == pieces(packed)
    assert again.starts.dtype == packed.starts.dtype


@pytest.mark.parametrize("way", [best_fit, cut])
def test_ids_outside_the_vocabulary(way) -> None:
    with pytest.raises(ValueError, match="vocabulary of 100"):
        way([[1, 100]], 16, 100, PAD)
    with pytest.raises(ValueError, match="-1"):
        way([np.array([-1, 5])], 16, 100, PAD)


@pytest.mark.parametrize("way", [best_fit, cut])
def test_no_documents(way) -> None:
    packed = way([], 16, 100, PAD)
    assert packed.tokens.shape == (0, 16)
    assert packed.fill == 1
    assert packed.starts.tolist() == [0]


def test_two_bytes_hold_65536_ids() -> None:
    assert token_type(65_536).itemsize == 2
    assert token_type(65_537).itemsize == 4
    assert cut([[65_536] * 64], 64, 65_537, PAD).tokens.max() == 65_536
