"""How sure a measured share is: Wilson's score interval."""

from __future__ import annotations

from math import sqrt

_Z95 = 1.959963984540054


def wilson(share: float, n: int) -> tuple[float, float]:
    """The 95% interval of a share (0 to 1) that was measured on ``n`` independent items.

    Wilson (1927). Unlike the plus-or-minus of a normal approximation it stays inside 0 to 1, and it does not
    shrink to nothing when all of a few items came out the same. With no items it is (0, 1).
    """
    if n <= 0:
        return 0.0, 1.0
    z2 = _Z95 * _Z95
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 / (1 + z2 / n) * sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)
