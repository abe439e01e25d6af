"""Precision, recall and thresholds equal scikit-learn's, and what trying everything finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from cutaway.ladder.detection import (
    Detection,
    average_precision,
    cheapest_threshold,
    decided,
    every_threshold,
    threshold_by_cost,
)


def scored(seed: int, n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Scores with many ties."""
    random = np.random.default_rng(seed)
    y = (random.random(n) < 0.3).astype(float)
    y[:2] = 0, 1
    return np.round(random.normal(size=n) + y, 1), y


@given(st.integers(0, 10_000), st.floats(-2, 3))
def test_figures_are_scikit_learns(seed: int, threshold: float) -> None:
    scores, y = scored(seed)
    found, said = decided(scores, y, threshold), scores >= threshold
    assert found.precision == pytest.approx(metrics.precision_score(y, said, zero_division=1))
    assert found.recall == pytest.approx(metrics.recall_score(y, said))
    assert found.f1 == pytest.approx(metrics.f1_score(y, said, zero_division=0))
    assert found.accuracy == pytest.approx(metrics.accuracy_score(y, said))
    assert average_precision(scores, y) == pytest.approx(metrics.average_precision_score(y, scores))


@given(st.integers(0, 10_000))
def test_one_pass_counts_what_each_threshold_does(seed: int) -> None:
    scores, y = scored(seed, 60)
    found = every_threshold(scores, y)
    assert [threshold for threshold, _ in found] == sorted(set(scores.tolist()), reverse=True)
    assert all(what == decided(scores, y, threshold) for threshold, what in found)


@given(st.integers(0, 10_000), st.sampled_from([0.2, 1.0, 10.0]))
def test_no_threshold_is_cheaper_than_the_cheapest(seed: int, false_alarm: float) -> None:
    scores, y = scored(seed, 60)
    best = cheapest_threshold(scores, y, false_alarm)
    others = [decided(scores, y, t).cost(false_alarm) for t in [*scores, float("inf"), float("-inf")]]
    assert decided(scores, y, best).cost(false_alarm) == pytest.approx(min(others))


@pytest.mark.parametrize("false_alarm", [0.25, 1.0, 10.0])
def test_with_true_probabilities_the_costs_name_the_threshold(false_alarm: float) -> None:
    # What all texts of a probability cost on average, if stopped and if passed: exactly, not drawn.
    p = np.linspace(0.0005, 0.9995, 1000)
    passed, stopped = p, (1 - p) * false_alarm
    costs = [float(np.where(p >= t, stopped, passed).sum()) for t in p]
    assert abs(p[int(np.argmin(costs))] - threshold_by_cost(false_alarm)) < 1e-3


def test_where_there_is_nothing() -> None:
    nothing = Detection(0, 0, 0, 0)
    assert (nothing.precision, nothing.recall, nothing.f1, nothing.accuracy) == (1, 1, 0, 0)
    assert cheapest_threshold(np.array([1.0, 2.0]), np.array([0.0, 0.0]), 1.0) == float("inf")
