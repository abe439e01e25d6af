from __future__ import annotations

import numpy as np
import pytest
import torch

from cutaway.ladder.digits import (
    Way,
    accuracy,
    cost,
    descend,
    digit_network,
    noise,
    outputs,
    parameter_count,
    sureness,
)
from cutaway.ladder.image_data import ImageData

RNG = np.random.default_rng(0)


def strokes(n: int, side: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Images of ten classes that are easy to tell apart: a bright spot at one of ten places, and noise."""
    y = np.arange(n) % 10
    x = RNG.random((n, side * side), np.float32) * 0.3
    x[np.arange(n), 6 * y] = 1
    return x.reshape(n, side, side), y


DATA = ImageData(*strokes(120), *strokes(60), name="spots")


def test_thirteen_thousand_and_two() -> None:
    mnist = ImageData(
        np.zeros((1, 28, 28), np.float32), np.zeros(1, int), np.zeros((1, 28, 28), np.float32), np.zeros(1, int), ""
    )
    network = digit_network(mnist, seed=0)
    assert parameter_count((784, 16, 16, 10)) == 13_002
    assert sum(part.size for part in (*network.weights, *network.biases)) == 13_002


def in_torch(network: object) -> torch.nn.Sequential:
    """The same network, with the same numbers."""
    layers: list[torch.nn.Module] = []
    for weight, bias in zip(network.weights, network.biases, strict=True):  # type: ignore[attr-defined]
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
        linear.weight.data, linear.bias.data = torch.from_numpy(weight.copy()), torch.from_numpy(bias.copy())
        layers += [linear, torch.nn.Sigmoid()]
    return torch.nn.Sequential(*layers)


def test_batch_descent_is_torchs() -> None:
    network = digit_network(DATA, seed=1)
    peer = in_torch(network)
    optimizer = torch.optim.SGD(peer.parameters(), lr=0.7)
    x, wanted = torch.from_numpy(DATA.train_x).flatten(1), torch.eye(10)[torch.from_numpy(DATA.train_y)]
    for mean in descend(network, DATA.train_x, DATA.train_y, Way(0, 0.7, 5), seed=2):
        loss = ((peer(x) - wanted) ** 2).sum(dim=1).mean()
        assert mean == pytest.approx(loss.item(), rel=1e-5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    np.testing.assert_allclose(
        outputs(network, DATA.test_x), peer(torch.from_numpy(DATA.test_x).flatten(1)).detach(), atol=1e-5
    )
    after = ((peer(x) - wanted) ** 2).sum(dim=1).mean()
    assert cost(network, DATA.train_x, DATA.train_y) == pytest.approx(after.item(), rel=1e-5)


def test_a_fading_rate_ends_near_nought() -> None:
    moved = []
    for fading in (True, False):
        network = digit_network(DATA, seed=1)
        way = descend(network, DATA.train_x, DATA.train_y, Way(0, 1.0, 20, fading), seed=0)
        for _ in range(19):
            next(way)
        before = network.weights[0].copy()
        next(way)
        moved.append(np.abs(network.weights[0] - before).max())
    assert moved[0] < moved[1] / 50


def test_the_same_seed_goes_the_same_way() -> None:
    ends = []
    for _ in range(2):
        network = digit_network(DATA, seed=5)
        list(descend(network, DATA.train_x, DATA.train_y, Way(8, 1.0, 3), seed=5))
        ends.append(network.weights[0])
    np.testing.assert_array_equal(*ends)


def test_mini_batches_learn_in_passes_in_which_one_batch_does_not() -> None:
    shares = []
    for batch in (4, 0):
        network = digit_network(DATA, seed=1)
        list(descend(network, DATA.train_x, DATA.train_y, Way(batch, 2.0, 60), seed=1))
        shares.append(accuracy(outputs(network, DATA.test_x), DATA.test_y))
    assert shares[0] > 0.95
    assert shares[1] < 0.7


def test_accuracy_and_sureness_count() -> None:
    said = np.array([[0.1, 0.95, 0.0], [0.5, 0.4, 0.1], [0.2, 0.1, 0.3], [0.91, 0.9, 0.9]])
    assert accuracy(said, np.array([1, 1, 2, 0])) == 0.75
    found = sureness(said)
    assert found.sure == 0.5
    assert found.mean == pytest.approx((0.95 + 0.5 + 0.3 + 0.91) / 4)


def test_noise_has_the_images_shape_and_ink() -> None:
    found = noise(DATA.test_x, 20, seed=0)
    assert {x.shape for x in found.values()} == {(20, 8, 8)}
    shuffled = found["pixels shuffled"].reshape(20, 64)
    np.testing.assert_array_equal(np.sort(shuffled, axis=1), np.sort(DATA.test_x[:20].reshape(20, 64), axis=1))
    assert not np.array_equal(shuffled, DATA.test_x[:20].reshape(20, 64))
    assert found["any grey"].mean() == pytest.approx(0.5, abs=0.03)
