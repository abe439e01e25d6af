"""What the layers of a small network make of a plane.

A network with two inputs can be seen whole: every point of the plane is an input, so every neuron is a picture. One of
the first layer parts the plane along a straight line, w₁x₁ + w₂x₂ + b = 0, for nothing that it adds up bends. One of
the next layer parts what the first has made of the plane, and there a line may be a curve. Without an activation no
layer ever bends anything: a product of matrices is a matrix, and however many layers there are, the plane is parted
along one line (Minsky and Papert, "Perceptrons", 1969, on what a single layer cannot tell apart).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cutaway.ladder.backprop import ACTIVATIONS, MLP, Activation

Floats = NDArray[np.float64]
SIDE = 41
"""Points of the plane along each axis at which a neuron is asked."""
POINTS = 160
SEEN = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Passes after which the network is kept."""
BATCH = 20
RATES = {"sigmoid": 2.0, "tanh": 0.5, "relu": 0.2, "none": 0.2}
"""Learning rates: the largest of those tried at which descent is steady on all tasks."""

NONE = Activation(lambda z: z, lambda z, a: np.ones_like(z))


def _sides(x: Floats) -> NDArray[np.bool_]:
    return x[:, 0] + 0.6 * x[:, 1] > 0.1


def _corners(x: Floats) -> NDArray[np.bool_]:
    return x[:, 0] * x[:, 1] < 0


def _ring(x: Floats) -> NDArray[np.bool_]:
    return np.hypot(x[:, 0], x[:, 1]) < 0.62


def _waves(x: Floats) -> NDArray[np.bool_]:
    return x[:, 1] > 0.55 * np.sin(math.pi * 1.5 * x[:, 0])


TASKS: dict[str, Callable[[Floats], NDArray[np.bool_]]] = {
    "sides": _sides,
    "corners": _corners,
    "ring": _ring,
    "waves": _waves,
}
"""Which points of the square from -1 to 1 are of class 1; "corners" is XOR."""


def examples(task: str, seed: int) -> tuple[Floats, NDArray[np.int64]]:
    """Points `[n, 2]` of the square, none at its edge, and their classes `[n]`, 0 or 1."""
    x = np.random.default_rng(seed).uniform(-0.95, 0.95, (POINTS, 2))
    return x, TASKS[task](x).astype(np.int64)


@dataclass(frozen=True)
class Seen:
    """A network after some passes over its examples.

    Attributes:
        passes: how many.
        cost: the mean cross-entropy of the examples, in nats.
        accuracy: the share of them whose class it names.
        network: as it was then; two outputs, the probabilities of class 0 and 1.
    """

    passes: int
    cost: float
    accuracy: float
    network: MLP


def learn(task: str, hidden: Sequence[int], activation: str, seed: int) -> list[Seen]:
    """Train a network of two inputs and layers of `hidden` neurons, and keep it after some of the passes.

    Args:
        task: one of `TASKS`.
        hidden: neurons of each hidden layer.
        activation: "sigmoid", "tanh", "relu", or "none".
        seed: of the examples and of the first weights.
    """
    x, y = examples(task, seed)
    kind = NONE if activation == "none" else ACTIVATIONS[activation]
    network = MLP((2, *hidden, 2), kind, "cross-entropy", np.float64, seed)
    rng, kept = np.random.default_rng(seed), list[Seen]()
    for done in range(SEEN[-1] + 1):
        if done:
            network.train_epoch(x, y, BATCH, RATES[activation], rng)
        if done in SEEN:
            said = network.forward(x)[-1]
            cost = network.gradients(x, np.eye(2)[y])[0]
            kept.append(Seen(done, cost, float((said.argmax(axis=1) == y).mean()), copy.deepcopy(network)))
    return kept


def over_the_plane(network: MLP) -> list[NDArray[Any]]:
    """The activations of every layer but the input, `[neuron, row, column]`: x₁ grows rightwards and x₂ upwards."""
    along = np.linspace(-1, 1, SIDE)
    across, up = np.meshgrid(along, along[::-1])
    layers = network.forward(np.column_stack([across.ravel(), up.ravel()]))[1:]
    return [layer.T.reshape(-1, SIDE, SIDE) for layer in layers]
