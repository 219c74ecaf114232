"""The survivors are the smallest ids of the components of similar texts, in whatever order anything comes."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyturn.data.components import alike, survivors
from polyturn.data.minhash import similarity

PAIRS = st.lists(st.tuples(st.integers(0, 30).map(str), st.integers(0, 30).map(str)))


def components(edges: list[tuple[str, str]]) -> dict[str, str]:
    """By spreading the smallest id until nothing changes."""
    labels = {name: name for edge in edges for name in edge}
    for _ in labels:
        for one, other in edges:
            labels[one] = labels[other] = min(labels[one], labels[other])
    return labels


@given(PAIRS, st.randoms())
def test_survivors_are_the_smallest_of_each_component_in_any_order(
    edges: list[tuple[str, str]], rng: random.Random
) -> None:
    expected = components(edges)
    shuffled = [(a, b) if rng.random() < 0.5 else (b, a) for a, b in rng.sample(edges, len(edges))]
    assert survivors(edges) == survivors(shuffled) == expected
    assert list(survivors(shuffled)) == sorted(expected)


def test_a_chain_of_a_hundred_thousand_is_one_component() -> None:
    names = [f"{i:06d}" for i in range(100_000)]
    found = survivors(zip(reversed(names[1:]), reversed(names[:-1]), strict=True))
    assert set(found.values()) == {"000000"}
    assert len(found) == len(names)


@given(
    st.lists(st.lists(st.integers(0, 1), min_size=6, max_size=6), max_size=9),
    st.sampled_from([0.5, 0.7, 1]),
    st.randoms(),
)
def test_a_bucket_s_edges_connect_as_all_similar_pairs_do(
    rows: list[list[int]], threshold: float, rng: random.Random
) -> None:
    signatures = np.array(rows, np.uint32).reshape(-1, 6)
    names = [f"id{i}" for i in range(len(rows))]
    every = [
        (names[i], names[j])
        for i in range(len(rows))
        for j in range(i)
        if similarity(signatures[i], signatures[j]) >= threshold
    ]
    order = rng.sample(range(len(rows)), len(rows))
    found = alike(names, signatures, threshold)
    assert found == alike([names[i] for i in order], signatures[order], threshold)
    assert survivors(found) == components(every)
    assert all(one < other for one, other in found)


@pytest.mark.parametrize("members", [0, 1])
def test_a_bucket_of_one_or_none_has_no_edge(members: int) -> None:
    assert alike(["a"][:members], np.zeros((members, 128), np.uint32), 0.7) == []


def test_a_thousand_copies_take_as_many_comparisons() -> None:
    names = [f"{i:05d}" for i in range(5_000)]
    assert alike(names, np.ones((5_000, 128), np.uint32), 0.7) == [("00000", name) for name in names[1:]]
