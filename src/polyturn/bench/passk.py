"""pass@k: how likely it is that at least one of k samples of a problem passes.

Estimated from n samples of which c passed, without bias, as the share of the ways to choose k of the n that hold a
sample that passed: 1 - C(n - c, k) / C(n, k) (Chen et al. 2021, equation 1). The obvious 1 - (1 - c / n)^k is too low.
"""

from math import comb


def pass_at_k(n: int, c: int, k: int) -> float | None:
    """The estimate, correctly rounded; None where there are fewer than k samples, which say nothing about k.

    Args:
        n: samples drawn.
        c: samples that passed, from 0 to n.
        k: samples that a user would draw, from 1.
    """
    if not 0 <= c <= n or k < 1:
        raise ValueError(f"n={n}, c={c}, k={k}: need 0 <= c <= n and k >= 1")
    if n < k:
        return None
    ways = comb(n, k)
    return (ways - comb(n - c, k)) / ways
