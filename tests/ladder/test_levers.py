"""The three levers: does the cost fall as they say, and is the Hebbian pattern what it should be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cutaway.ladder.backprop import MLP, one_hot
from cutaway.ladder.gradient_check import finite_differences
from cutaway.ladder.levers import levers
from cutaway.runs import BadInput


@pytest.fixture
def example() -> tuple[MLP, np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).random(9)
    return MLP((9, 6, 5, 4), dtype=np.float64, seed=3), x, one_hot(np.array(2), 4, np.float64)


@pytest.mark.parametrize("layer", [0, 1, -1])
def test_each_lever_is_the_slope_of_the_cost(example: Any, layer: int) -> None:
    network, x, y = example
    pulled = levers(network, x, y, layer)

    def cost(values: list[np.ndarray], i: int, moved: np.ndarray) -> float:
        kept, values[i] = values[i], moved
        found = network.gradients(x[None], y[None])[0]
        values[i] = kept
        return found

    at = layer % 3
    bias = finite_differences(lambda moved: cost(network.biases, at, moved), network.biases[at])
    weights = finite_differences(lambda moved: cost(network.weights, at, moved), network.weights[at])
    np.testing.assert_allclose(pulled.bias, -bias, atol=1e-8)
    np.testing.assert_allclose(pulled.weights, -weights, atol=1e-8)

    # What comes after the activations before this layer, as a network of its own.
    rest = MLP([w.shape[1] for w in network.weights[at:]] + [4], dtype=np.float64)
    rest.weights, rest.biases = network.weights[at:], network.biases[at:]
    earlier = finite_differences(lambda a: rest.gradients(a[None], y[None])[0], pulled.before)
    np.testing.assert_allclose(pulled.earlier, -earlier, atol=1e-8)


def test_the_weights_into_an_output_move_as_the_activations_before_are(example: Any) -> None:
    network, x, y = example
    pulled = levers(network, x, y, -1)
    np.testing.assert_allclose(pulled.weights, np.outer(pulled.bias, pulled.before))
    assert pulled.bias[2] > 0 > pulled.bias[[0, 1, 3]].max()
    assert pulled.weights[2].argmax() == pulled.before.argmax()


def test_levers_are_of_one_example_and_a_layer_that_there_is() -> None:
    network = MLP([3, 4, 2])
    with pytest.raises(BadInput, match=r"one example \[in\], not \[1, 3\]"):
        levers(network, np.zeros((1, 3)), np.zeros((1, 2)), 0)
    with pytest.raises(BadInput, match="a layer from 0 to 1"):
        levers(network, np.zeros(3), np.zeros(2), 9)
