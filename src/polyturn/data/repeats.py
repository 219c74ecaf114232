"""Documents that can only be predicted by copying: random tokens, and the same tokens again.

A model that writes code from intents must copy names and values. Left to programs alone, a small one first
learns their templates and may never learn to copy; a short diet of these documents makes it find the attention
pattern (a head that looks for the last occurrence of the current token, and takes what followed) within a few
hundred steps. See docs/log for the measurements.
"""

import numpy as np


def repeats(
    seed: int, count: int, ids: range, separator: int, shortest: int = 4, longest: int = 40
) -> list[tuple[list[int], list[bool]]]:
    """`count` documents as (ids, target): random ids, `separator`, the same ids, which alone count in the loss."""
    rng = np.random.default_rng(seed)
    documents = []
    for _ in range(count):
        length = int(rng.integers(shortest, longest + 1))
        drawn = rng.integers(ids.start, ids.stop, length).tolist()
        documents.append(([*drawn, separator, *drawn], [False] * (length + 1) + [True] * length))
    return documents
