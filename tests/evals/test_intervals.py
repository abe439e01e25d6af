"""Wilson's interval against published values and its own properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.evals.intervals import wilson


@pytest.mark.parametrize(
    ("share", "n", "low", "high"),
    [
        # Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I, method 3.
        (81 / 263, 263, 0.2553, 0.3662),
        (15 / 148, 148, 0.0624, 0.1605),
        (0 / 20, 20, 0.0000, 0.1611),
        (1 / 29, 29, 0.0061, 0.1718),
    ],
)
def test_published_intervals(share: float, n: int, low: float, high: float) -> None:
    assert wilson(share, n) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_holds_the_share_and_stays_between_none_and_all(right: int, wrong: int) -> None:
    n = right + wrong
    low, high = wilson(right / n if n else 0.5, n)
    assert 0 <= low <= high <= 1
    if n:
        assert low - 1e-12 <= right / n <= high + 1e-12
