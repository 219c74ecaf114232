"""Numbers with the uncertainty that belongs to them."""

from math import sqrt

Z95 = 1.959963984540054  # two-sided 95 % of a normal


def wilson(passed: int, total: int, z: float = Z95) -> tuple[float, float]:
    """The Wilson score interval of a proportion: sound for few trials and near 0 or 1, unlike the normal one.

    (Wilson 1927; Brown, Cai and DasGupta 2001 recommend it for n up to 40 and find it sound beyond.)
    """
    if total == 0:
        return 0.0, 1.0
    p = passed / total
    middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    # at the ends the formula gives 0 and 1 but for rounding
    return (0.0 if passed == 0 else middle - half), (1.0 if passed == total else middle + half)
