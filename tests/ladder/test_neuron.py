"""Neuron and layer equal PyTorch's; a trained neuron is where scikit-learn's logistic regression is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

from cutaway.ladder.activations import ACTIVATIONS, SIGMOID
from cutaway.ladder.neuron import cross_entropy, layer, neuron, one_hot, safe_rate, train
from cutaway.runs import BadInput


def examples(seed: int, n: int = 300, inputs: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Two overlapping kinds, the inputs of very different sizes and one of them always the same."""
    random = np.random.default_rng(seed)
    y = (random.random(n) < 0.4).astype(float)
    x = random.normal(size=(n, inputs)) + 0.7 * y[:, None] * random.normal(size=inputs)
    x = x * np.array([0.01, 1.0, 100.0, 3.0])[:inputs] + 5
    return np.column_stack([x, np.full(n, 0.1)]), y


def test_a_layer_is_torchs_and_its_columns_are_neurons() -> None:
    random = np.random.default_rng(1)
    x, weights, biases = random.normal(size=(7, 5)), random.normal(size=(5, 3)), random.normal(size=3)
    gelu = next(a for a in ACTIVATIONS if a.name == "GELU")
    found = layer(x, weights, biases, gelu)
    wanted = F.gelu(F.linear(torch.tensor(x), torch.tensor(weights.T), torch.tensor(biases))).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-15)
    for j in range(3):
        np.testing.assert_allclose(found[:, j], neuron(x, weights[:, j], float(biases[j]), gelu), atol=1e-15)


def test_a_one_hot_input_picks_a_row() -> None:
    which = np.array([[3, 0], [4, 3]])
    found = one_hot(which, 5)
    assert (found == F.one_hot(torch.tensor(which), 5).numpy()).all()
    weights = np.random.default_rng(2).normal(size=(5, 6))
    assert (found @ weights == weights[which]).all()


def test_cross_entropy_is_torchs_and_never_overflows() -> None:
    z = np.array([-900.0, -3.0, 0.0, 2.0, 900.0, 40.0])
    targets = np.array([1.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    wanted = F.binary_cross_entropy_with_logits(torch.tensor(z), torch.tensor(targets)).item()
    assert abs(cross_entropy(z, targets) - wanted) < 1e-9


def test_one_step_follows_torchs_gradient() -> None:
    x, y = examples(3)
    x = x[:, :4]
    trained = train(x, y, steps=1)
    scaled = torch.tensor((x - x.mean(0)) / x.std(0))
    w, b = (
        torch.zeros(4, dtype=torch.float64, requires_grad=True),
        torch.zeros((), dtype=torch.float64, requires_grad=True),
    )
    F.binary_cross_entropy_with_logits(scaled @ w + b, torch.tensor(y)).backward()
    assert w.grad is not None
    wanted = -safe_rate(scaled.numpy()) * w.grad.numpy() / x.std(0)
    np.testing.assert_allclose(trained.weights, wanted, rtol=1e-9)


def test_it_ends_where_logistic_regression_ends() -> None:
    x, y = examples(4)
    trained = train(x, y, steps=4000)
    # Without regularisation, on inputs that vary alike, as its own tolerance wants them.
    deviation = np.where(x.std(0) < 1e-9, 1.0, x.std(0))
    scaled = (x - x.mean(0)) / deviation
    oracle = LogisticRegression(C=1e12, tol=1e-12, max_iter=10_000).fit(scaled, y)
    np.testing.assert_allclose(trained.weights * deviation, oracle.coef_[0], atol=1e-5)
    np.testing.assert_allclose(trained.probabilities(x), oracle.predict_proba(scaled)[:, 1], atol=1e-5)
    assert abs(trained.losses[0] - np.log(2)) < 1e-12


@given(st.integers(0, 10_000), st.integers(2, 30))
def test_no_step_makes_the_loss_higher(seed: int, n: int) -> None:
    x, y = examples(seed, n)
    losses = train(x, y, steps=30).losses
    assert all(after <= before + 1e-12 for before, after in pairwise(losses))


def test_watch_is_told_every_step() -> None:
    x, y = examples(5)
    told: list[tuple[int, float]] = []
    trained = train(x, y, 3, lambda step, loss: told.append((step, loss)))
    assert told == list(enumerate(trained.losses))
    assert SIGMOID.value(x @ trained.weights + trained.bias).tolist() == trained.probabilities(x).tolist()


@pytest.mark.parametrize("which", [[-1], [3], [1.7]])
def test_what_has_no_one_hot_vector(which: list[float]) -> None:
    with pytest.raises(BadInput, match="whole numbers from 0 to 2"):
        one_hot(which, 3)


@pytest.mark.parametrize(
    ("inputs", "targets", "told"),
    [
        ([], [], "inputs are finite numbers"),
        ([[float("nan")]], [0], "inputs are finite numbers"),
        ([[1.0], [2.0]], [0], "one for each of 2 examples"),
        ([[1.0], [2.0]], [0, 2], "targets are 0 or 1"),
    ],
)
def test_what_cannot_be_learned_from(inputs: list[list[float]], targets: list[float], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        train(np.array(inputs), np.array(targets), 3)


def test_lists_are_numbers_too() -> None:
    assert neuron([1, 2], [3, 4], 0.5, SIGMOID) == SIGMOID.value(np.array(11.5))  # pyright: ignore[reportArgumentType]
