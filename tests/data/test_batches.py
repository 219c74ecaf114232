"""Batches: a target is the next token of the same document, and counts only where it is wanted."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from polyturn.data.packing import best_fit
from polyturn.data.sampler import as_batch
from polyturn.data.shards import Rows


@given(st.lists(st.lists(st.integers(2, 70_000), min_size=1, max_size=16), min_size=1, max_size=30))
def test_a_target_is_the_next_token_of_the_same_document(documents: list[list[int]]) -> None:
    packed = best_fit(documents, 16, 70_001, 1)
    lengths = [packed.lengths[a:b] for a, b in zip(packed.starts, packed.starts[1:], strict=False)]
    segments = np.array([np.repeat([*range(1, len(ls) + 1), 0], [*ls, 16 - ls.sum()]) for ls in lengths], np.int32)
    b = as_batch(Rows(packed.tokens.astype(np.int32), segments, (packed.tokens % 2 == 0) & (segments > 0)))
    for row, at in zip(*np.nonzero(b.weights), strict=True):
        assert b.targets[row, at] == b.tokens[row, at + 1]
        assert b.segments[row, at] == b.segments[row, at + 1] > 0
    assert b.weights.sum() == sum(n % 2 == 0 for d in documents for n in d[1:])
