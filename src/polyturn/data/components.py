"""Which documents are connected by being alike, and the one of each component that stands for it: the smallest number.

    edges = alike(signatures, 0.7)       # int64 [edges, 2] among the members of one bucket
    labels = np.arange(documents)
    connect(labels, edges)               # labels[n] is the smallest number that n is connected with

A bucket is the documents that share a band (`minhash.bands`). Buckets are looked at each by itself, in any order and
anywhere; only pairs of numbers meet in one place. The components are a property of the set of documents alone: they do
not depend on the order of buckets, of members or of edges.
"""

import numpy as np

from polyturn.data.minhash import similarity


def alike(signatures: np.ndarray, threshold: float, component: np.ndarray | None = None) -> np.ndarray:
    """Edges that connect the members of a bucket as all pairs of similar ones would; int64 [edges, 2], smaller first.

    A pair that is connected already is not compared, so that a thousand copies cost a thousand comparisons.

    Args:
        signatures: uint32 [members, permutations].
        threshold: the least estimated Jaccard index of an edge, from 0 to 1.
        component: int64 [members]: members with the same number are known to be connected.
    """
    component = np.arange(len(signatures)) if component is None else component.copy()
    edges: list[tuple[int, int]] = []
    for i in range(len(signatures) - 1):
        others = i + 1 + np.flatnonzero(component[i + 1 :] != component[i])
        for j in others[similarity(signatures[i], signatures[others]) >= threshold].tolist():
            if component[j] != component[i]:
                edges.append((i, j))
                component[component == component[j]] = component[i]
    return np.array(edges, np.int64).reshape(-1, 2)


def connect(labels: np.ndarray, edges: np.ndarray) -> None:
    """Join components, in place.

    Args:
        labels: int64 [documents]: the smallest number of each one's component, before and after.
        edges: int64 [edges, 2], in any order.
    """
    while len(edges):
        ends = labels[edges]
        apart = ends[:, 0] != ends[:, 1]
        edges, ends = edges[apart], ends[apart]
        np.minimum.at(labels, ends.max(axis=1), ends.min(axis=1))
        while (labels[labels] != labels).any():  # half as many steps to the smallest each time
            labels[:] = labels[labels]
