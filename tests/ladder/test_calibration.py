"""Reliability, log loss and Platt's scaling equal scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss as oracle_log_loss

from cutaway.ladder.activations import sigmoid
from cutaway.ladder.calibration import calibration_error, error_by_chance, log_loss, platt, reliability


def drawn(seed: int, n: int = 3000, sure: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, their sigmoids, and targets that would be calibrated if the scores were `sure` times as large."""
    random = np.random.default_rng(seed)
    z = random.normal(-1, 2, size=n)
    return z, sigmoid(z), (random.random(n) < sigmoid(sure * z)).astype(float)


def test_the_bins_are_scikit_learns() -> None:
    _, p, y = drawn(1)
    bins = reliability(p, y)
    share, mean = calibration_curve(y, p, n_bins=10)
    np.testing.assert_allclose([b.share for b in bins], share)
    np.testing.assert_allclose([b.probability for b in bins], mean)
    assert sum(b.texts for b in bins) == len(p)
    wanted = sum(b.texts * abs(s - m) for b, s, m in zip(bins, share, mean, strict=True)) / len(p)
    assert calibration_error(p, y) == pytest.approx(wanted)


def test_the_ends_of_the_error() -> None:
    y = np.array([0.0, 1.0, 1.0, 0.0])
    assert calibration_error(y, y) == 0
    assert calibration_error(1 - y, y) == 1
    assert calibration_error(np.full(4, 0.5), y) == 0


def test_chance_is_told_from_fault() -> None:
    _, p, y = drawn(2)
    chance = error_by_chance(p, seed=1)
    assert 0 < chance < 0.03
    assert calibration_error(p, y) < 2 * chance
    _, p, y = drawn(2, sure=0.4)
    assert calibration_error(p, y) > 4 * error_by_chance(p, seed=1)


def test_log_loss_is_scikit_learns_and_finite() -> None:
    _, p, y = drawn(3)
    assert log_loss(p, y) == pytest.approx(oracle_log_loss(y, p))
    assert log_loss(np.array([0.0, 1.0]), np.array([1.0, 0.0])) == pytest.approx(-np.log(1e-15), rel=1e-4)


@given(st.integers(0, 10_000), st.sampled_from([0.01, 1.0, 100.0]), st.floats(0.05, 3))
def test_platt_is_weighted_logistic_regression(seed: int, size: float, sure: float) -> None:
    z, _, y = drawn(seed, 80, sure)
    y[:2] = 0, 1
    found = platt(z * size, y)
    # Smoothed targets are each text twice: as yes with one weight, as no with the rest.
    yes, no = y.sum(), (1 - y).sum()
    smoothed = np.where(y > 0.5, (yes + 1) / (yes + 2), 1 / (no + 2))
    oracle = LogisticRegression(C=1e12, tol=1e-12, max_iter=10_000)
    oracle.fit(np.tile(z, 2)[:, None], np.repeat([1, 0], len(z)), np.concatenate([smoothed, 1 - smoothed]))
    wanted = oracle.predict_proba(z[:, None])[:, 1]
    np.testing.assert_allclose(found.probabilities(z * size), wanted, atol=1e-5)


def test_platt_finds_the_temperature_and_bears_extremes() -> None:
    z, _, y = drawn(4, n=40_000, sure=0.25)
    assert platt(z, y).scale == pytest.approx(0.25, rel=0.05)
    z = np.array([-300.0, -200.0, 250.0, 400.0])
    apart = platt(z, np.array([0.0, 0.0, 1.0, 1.0]))
    np.testing.assert_allclose(apart.probabilities(z), [0.25, 0.25, 0.75, 0.75], atol=0.1)
    same = platt(np.zeros(4), np.array([0.0, 0.0, 0.0, 1.0]))
    np.testing.assert_allclose(same.probabilities(np.zeros(1)), 0.25 * 2 / 3 + 0.75 * 0.2, atol=1e-6)
