"""Softmax equals exact arithmetic of fifty digits, and the textbook's exercise comes out."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cutaway.ladder.activations import sigmoid
from cutaway.ladder.softmax import softmax
from cutaway.runs import BadInput

SCORES = ("2.0", "1.8", "1.2", "0.8", "0.6")


def exact(temperature: str) -> list[Decimal]:
    with localcontext(prec=50):
        powers = [(Decimal(score) / Decimal(temperature)).exp() for score in SCORES]
        return [power / sum(powers) for power in powers]


@pytest.mark.parametrize(
    ("temperature", "rounded"),
    [
        ("0.5", ["0.49", "0.33", "0.10", "0.04", "0.03"]),
        ("1", ["0.36", "0.29", "0.16", "0.11", "0.09"]),
        ("2", ["0.28", "0.25", "0.19", "0.15", "0.14"]),
    ],
)
def test_the_textbooks_exercise(temperature: str, rounded: list[str]) -> None:
    found = softmax([float(score) for score in SCORES], float(temperature))
    wanted = exact(temperature)
    assert max(abs(Decimal(float(p)) - q) for p, q in zip(found, wanted, strict=True)) < Decimal("1e-15")
    assert [f"{q:.2f}" for q in wanted] == rounded


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=8), st.floats(0.05, 50))
def test_it_is_torchs(scores: list[float], temperature: float) -> None:
    wanted = torch.softmax(torch.tensor(scores, dtype=torch.float64) / temperature, -1).numpy()
    np.testing.assert_allclose(softmax(scores, temperature), wanted, rtol=1e-9, atol=1e-12)


def test_ends_of_the_temperature() -> None:
    with np.errstate(over="raise", invalid="raise"):
        assert softmax([1e3, 0.0, -1e3], 1e-9).tolist() == [1, 0, 0]
    np.testing.assert_allclose(softmax([[3.0, 1.0], [5.0, 5.0]], 1e12), 0.5, atol=1e-9)
    for bad in (0.0, -1.0, float("nan")):
        with pytest.raises(BadInput, match="must be above 0"):
            softmax([1.0], bad)


def test_of_two_scores_it_is_the_sigmoid() -> None:
    z = np.linspace(-30, 30, 61)
    np.testing.assert_allclose(softmax(np.stack([z, 0 * z], -1), 2.0)[:, 0], sigmoid(z / 2), atol=1e-15)
