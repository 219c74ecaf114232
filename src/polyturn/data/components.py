"""Which near-duplicates stay: one of each connected component, the smallest id.

    edges = [edge for members, signatures in buckets for edge in alike(members, signatures, 0.7)]
    survivors(edges)  # {"a.py": "a.py", "b.py": "a.py"}: b.py goes, a.py stays; who is in no edge stays too

A bucket is the texts that share a band (`minhash.bands`). Buckets are looked at each by itself, in any order and
anywhere; only pairs of ids meet in one place. The result is a property of the set of texts alone: it does not depend on
the order of buckets, of members or of edges.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from polyturn.data.minhash import similarity


def alike(members: Sequence[str], signatures: np.ndarray, threshold: float) -> list[tuple[str, str]]:
    """Edges (smaller id, larger id) that connect the members of a bucket as all pairs of similar ones would.

    A pair that is connected already is not compared, so that a thousand copies cost a thousand comparisons.

    Args:
        members: ids, each once.
        signatures: uint32 [members, permutations].
        threshold: the least estimated Jaccard index of an edge, from 0 to 1.
    """
    order = sorted(range(len(members)), key=members.__getitem__)
    names = [members[i] for i in order]
    signatures = signatures[order]
    component = np.arange(len(names))
    edges = []
    for i, name in enumerate(names[:-1]):
        others = i + 1 + np.flatnonzero(component[i + 1 :] != component[i])
        for j in others[similarity(signatures[i], signatures[others]) >= threshold]:
            if component[j] != component[i]:
                edges.append((name, names[j]))
                component[component == component[j]] = component[i]
    return edges


def survivors(edges: Iterable[tuple[str, str]]) -> dict[str, str]:
    """For each id in an edge, in order of ids, the smallest id of its component; a survivor maps to itself."""
    parents: dict[str, str] = {}

    def root(name: str) -> str:
        parents.setdefault(name, name)
        while parents[name] != name:
            parents[name] = name = parents[parents[name]]
        return name

    for one, other in edges:
        smaller, larger = sorted((root(one), root(other)))
        parents[larger] = smaller  # the root of each component is its smallest id
    return {name: root(name) for name in sorted(parents)}
