"""The four equations beside torch's autograd and finite differences, and the training loop beside torch's SGD."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cutaway.ladder import activations
from cutaway.ladder.backprop import ACTIVATIONS, LOSSES, MLP, Activation, one_hot
from cutaway.ladder.gradient_check import finite_differences
from cutaway.runs import BadInput

BENDS = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}


def batch(n: int = 7, inputs: int = 6, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.normal(size=(n, inputs)), rng.integers(classes, size=n)


def by_torch(mlp: MLP, x: np.ndarray, labels: np.ndarray, activation: str, loss: str) -> tuple[float, list[np.ndarray]]:
    parameters = [torch.tensor(p, requires_grad=True) for p in (*mlp.weights, *mlp.biases)]
    z, n = torch.from_numpy(x), len(mlp.weights)
    for layer in range(n):
        z = F.linear(BENDS[activation](z) if layer else z, parameters[layer], parameters[n + layer])
    if loss == "squared":
        wanted = F.one_hot(torch.from_numpy(labels), z.shape[1]).double()
        cost = (BENDS[activation](z) - wanted).square().sum(1).mean()
    else:
        cost = F.cross_entropy(z, torch.from_numpy(labels))
    cost.backward()
    return cost.item(), [np.asarray(p.grad) for p in parameters]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", [(), (5,), (5, 3, 8)])
def test_cost_and_gradients_are_torchs(activation: str, loss: str, hidden: tuple[int, ...]) -> None:
    x, labels = batch()
    mlp = MLP((6, *hidden, 4), activation, loss, np.float64, seed=1)
    for bias in mlp.biases:
        bias += 0.1
    cost, by_weights, by_biases = mlp.gradients(x, one_hot(labels, 4, np.float64))
    expected_cost, expected = by_torch(mlp, x, labels, activation, loss)
    assert cost == pytest.approx(expected_cost, abs=1e-10)
    for ours, theirs in zip([*by_weights, *by_biases], expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["gelu", "silu", "leaky_relu"])
def test_any_activation_may_be_given_by_its_functions(name: str) -> None:
    rung_one = {activation.name.lower().replace(" ", "_"): activation for activation in activations.ACTIVATIONS}[name]
    x, labels = batch()
    y = one_hot(labels, 4, np.float64)
    mlp = MLP((6, 5, 4), Activation(rung_one.value, lambda z, a: rung_one.slope(z)), dtype=np.float64)
    weight = mlp.weights[0]
    _, by_weights, _ = mlp.gradients(x, y)

    def cost(w: np.ndarray) -> float:
        mlp.weights[0] = w
        return mlp.gradients(x, y)[0]

    np.testing.assert_allclose(by_weights[0], finite_differences(cost, weight), atol=1e-8)


def test_the_network_that_reads_digits_has_13002_parameters() -> None:
    mlp = MLP((784, 16, 16, 10))
    assert sum(p.size for p in (*mlp.weights, *mlp.biases)) == 13_002
    assert [w.shape for w in mlp.weights] == [(16, 784), (16, 16), (10, 16)]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("step", [1, 8, 100])
def test_an_epoch_is_an_epoch_of_torchs_sgd(loss: str, step: int) -> None:
    x, labels = batch(50)
    mlp = MLP((6, 5, 4), "sigmoid", loss, np.float64, seed=2)
    network = nn.Sequential(nn.Linear(6, 5), nn.Sigmoid(), nn.Linear(5, 4)).double()
    with torch.no_grad():
        for ours, theirs in zip(
            (mlp.weights[0], mlp.biases[0], mlp.weights[1], mlp.biases[1]), network.parameters(), strict=True
        ):
            theirs.copy_(torch.from_numpy(ours))
    optimizer, total = torch.optim.SGD(network.parameters(), 0.3), 0.0
    for chosen in torch.from_numpy(np.random.default_rng(5).permutation(50)).split(step):
        z, y = network(torch.from_numpy(x)[chosen]), torch.from_numpy(labels)[chosen]
        if loss == "squared":
            cost = (z.sigmoid() - F.one_hot(y, 4)).square().sum(1).mean()
        else:
            cost = F.cross_entropy(z, y)
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
        total += cost.item() * len(chosen) / 50
    assert mlp.train_epoch(x, labels, step, 0.3, np.random.default_rng(5)) == pytest.approx(total, abs=1e-12)
    np.testing.assert_allclose(mlp.weights[0], network[0].weight.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(mlp.biases[1], network[2].bias.detach().numpy(), atol=1e-12)


def test_labels_and_one_hot_rows_train_alike() -> None:
    x, labels = batch(20)
    some, others = MLP((6, 5, 4)), MLP((6, 5, 4))
    some.train_epoch(x, labels, 8, 0.1, np.random.default_rng(0))
    others.train_epoch(x, one_hot(labels, 4), 8, 0.1, np.random.default_rng(0))
    np.testing.assert_array_equal(some.weights[1], others.weights[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_training_keeps_to_its_dtype_and_leaves_the_data_alone(dtype: type) -> None:
    x, labels = batch(20)
    before = x.copy()
    mlp = MLP((6, 5, 4), dtype=dtype)
    mlp.train_epoch(x, labels, 8, 0.1, np.random.default_rng(0))
    assert {p.dtype for p in (*mlp.weights, *mlp.biases, *mlp.forward(x))} == {np.dtype(dtype)}
    np.testing.assert_array_equal(x, before)


def test_it_learns_exclusive_or() -> None:
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    mlp, rng = MLP((2, 4, 2), "tanh", "cross-entropy", seed=0), np.random.default_rng(0)
    for _ in range(500):
        loss = mlp.train_epoch(x, np.array([0, 1, 1, 0]), 4, 0.5, rng)
    assert loss < 0.05
    assert mlp.forward(x)[-1].argmax(axis=1).tolist() == [0, 1, 1, 0]


def test_nothing_overflows_where_neurons_are_saturated() -> None:
    x = np.array([[1e4, -1e4], [-1e4, 1e4]], np.float32)
    y = one_hot(np.array([1, 0]), 2)
    for loss in LOSSES:
        mlp = MLP((2, 2), loss=loss)
        mlp.weights[0][:] = np.eye(2)
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            cost, by_weights, _ = mlp.gradients(x, y)
        assert cost == pytest.approx(2 if loss == "squared" else 2e4)
        assert np.isfinite(by_weights[0]).all()


def test_what_makes_no_sense_is_refused_in_a_line() -> None:
    with pytest.raises(BadInput, match="make no network"):
        MLP((3,))
    with pytest.raises(BadInput, match="no activation 'sigmod'; there are sigmoid, tanh, relu"):
        MLP((3, 2), "sigmod")
    with pytest.raises(BadInput, match="no loss"):
        MLP((3, 2), loss="hinge")
    with pytest.raises(BadInput, match=r"reads \[batch, 3\], not \[5, 4\]"):
        MLP((3, 2)).forward(np.zeros((5, 4)))
    with pytest.raises(BadInput, match="5 examples, 4 labels"):
        MLP((3, 2)).train_epoch(np.zeros((5, 3)), np.zeros(4, int), 2, 0.1, np.random.default_rng(0))


def test_labels_and_outputs_that_do_not_fit() -> None:
    network, x = MLP([3, 4, 2]), np.zeros((5, 3), np.float32)
    with pytest.raises(BadInput, match=r"\[batch, 2\] for 5 examples, not \[1, 2\]"):
        network.gradients(x, np.zeros((1, 2), np.float32))
    with pytest.raises(BadInput, match="labels go from 0 to 1"):
        one_hot(np.array([0, -1]), 2)
