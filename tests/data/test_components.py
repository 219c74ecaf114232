"""Components of similar texts, in whatever order anything comes, each known by its smallest number."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyturn.data.components import alike, connect
from polyturn.data.minhash import similarity

PAIRS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)))


def components(edges: list[tuple[int, int]]) -> list[int]:
    """By spreading the smallest number until nothing changes."""
    labels = list(range(31))
    for _ in labels:
        for one, other in edges:
            labels[one] = labels[other] = min(labels[one], labels[other])
    return labels


def connected(*edges: list[tuple[int, int]] | np.ndarray, count: int = 31) -> list[int]:
    labels = np.arange(count)
    for some in edges:
        connect(labels, np.array(some, np.int64).reshape(-1, 2))
    return labels.tolist()


@given(PAIRS, st.randoms(), st.integers(0, 99))
def test_labels_are_the_smallest_of_each_component_in_any_order(
    edges: list[tuple[int, int]], rng: random.Random, at: int
) -> None:
    expected = components(edges)
    shuffled = [(a, b) if rng.random() < 0.5 else (b, a) for a, b in rng.sample(edges, len(edges))]
    assert connected(edges) == connected(shuffled) == connected(edges[:at], edges[at:]) == expected


def test_a_chain_of_a_hundred_thousand_is_one_component() -> None:
    chain = np.arange(100_000)
    edges = np.stack([chain[1:], chain[:-1]], axis=1)
    assert set(connected(edges[::-1], count=len(chain))) == {0}


@given(
    st.lists(st.lists(st.integers(0, 1), min_size=6, max_size=6), max_size=9),
    st.sampled_from([0.5, 0.7, 1]),
    PAIRS,
)
def test_a_bucket_s_edges_connect_as_all_similar_pairs_do(
    rows: list[list[int]], threshold: float, before: list[tuple[int, int]]
) -> None:
    signatures = np.array(rows, np.uint32).reshape(-1, 6)
    before = [pair for pair in before if max(pair) < len(rows)]
    every = [
        (i, j) for i in range(len(rows)) for j in range(i) if similarity(signatures[i], signatures[j]) >= threshold
    ]
    found = alike(signatures, threshold)
    assert connected(found) == components(every)
    assert (found[:, 0] < found[:, 1]).all()
    known = np.array(components(before)[: len(rows)], np.int64)
    assert connected(before, alike(signatures, threshold, known)) == components(before + every)


@pytest.mark.parametrize("members", [0, 1])
def test_a_bucket_of_one_or_none_has_no_edge(members: int) -> None:
    assert alike(np.zeros((members, 128), np.uint32), 0.7).shape == (0, 2)


def test_a_thousand_copies_take_as_many_comparisons() -> None:
    found = alike(np.ones((5_000, 128), np.uint32), 0.7)
    assert found.tolist() == [[0, n] for n in range(1, 5_000)]
