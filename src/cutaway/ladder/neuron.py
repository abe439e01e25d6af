"""One neuron, one layer, and how a neuron learns.

A neuron has a weight for each of its inputs and a bias. It adds up

    z = w_1 x_1 + w_2 x_2 + ... + w_n x_n + b        the weighted sum
    a = f(z)                                         its activation

so a weight says how much an input speaks for it (or, below nought, against), and the bias how readily it fires when
nothing speaks. A layer is several neurons that look at the same inputs: one column of weights each, all columns
together a matrix W, and the whole layer one product, a = f(x W + b).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cutaway.ladder.activations import SIGMOID, Activation, Floats
from cutaway.runs import BadInput


def neuron(inputs: Floats, weights: Floats, bias: float, activation: Activation) -> Floats:
    """A neuron's answers `[example]` to `inputs` `[example, input]`, by `weights` `[input]`."""
    return activation.value(np.asarray(inputs) @ weights + bias)


def layer(inputs: Floats, weights: Floats, biases: Floats, activation: Activation) -> Floats:
    """A layer's answers `[example, neuron]` to `inputs` `[example, input]`, by `weights` `[input, neuron]`.

    Column j is what `neuron` would give with `weights[:, j]` and `biases[j]`.
    """
    return activation.value(np.asarray(inputs) @ weights + biases)


def one_hot(which: npt.ArrayLike, size: int) -> Floats:
    """Each number i of `which` `[...]` as a vector `[..., size]` that is 1 at place i and 0 elsewhere.

    How a letter or a word, which is no number, becomes an input. Multiplied with a layer's weights it selects a row:
    all products but those of row i are nought, so

        one_hot(i) @ W = W[i].

    No network computes that product; it looks the row up. A language model's "embedding" is nothing else: a first layer
    without bias or activation, whose inputs are one-hot. And since a sum of one-hot vectors counts, `counts @ W` is the
    sum of the rows of all letters counted.

    Raises:
        BadInput: they are not whole numbers from 0 to size - 1.
    """
    indices = np.asarray(which, int)
    if (indices != which).any() or not ((indices >= 0) & (indices < size)).all():
        raise BadInput(f"one-hot vectors of {size} are for whole numbers from 0 to {size - 1}")
    result = np.zeros((*indices.shape, size))
    np.put_along_axis(result, indices[..., None], 1.0, axis=-1)
    return result


@dataclass(frozen=True)
class TrainedNeuron:
    """A sigmoid neuron that has learned to tell 1 from 0.

    Attributes:
        weights: `[input]`.
        bias: its bias.
        losses: the mean cross-entropy before each step, in nats.
    """

    weights: Floats
    bias: float
    losses: list[float]

    def probabilities(self, inputs: Floats) -> Floats:
        """How likely each row of `inputs` `[example, input]` is a 1: `[example]`."""
        return neuron(inputs, self.weights, self.bias, SIGMOID)


def cross_entropy(z: Floats, targets: Floats) -> float:
    """Mean surprise, in nats, at the `targets` (0 or 1, `[example]`) of a sigmoid neuron with weighted sums `z`.

        L = -log p   where the target is 1,   -log (1 - p)   where it is 0,   p = sigmoid(z)

    Both are log(1 + e^z) - target z, which neither overflows nor takes the logarithm of nought.
    """
    return float((np.logaddexp(0.0, z) - targets * z).mean())


def train(
    inputs: Floats, targets: Floats, steps: int, watch: Callable[[int, float], None] = lambda step, loss: None
) -> TrainedNeuron:
    """Teach a sigmoid neuron by gradient descent on all examples at once: logistic regression (Cox 1958).

    How does the loss of one example change with the weighted sum? By the chain rule, where the target is y,

        dL/dz = dL/dp dp/dz = (p - y) / (p (1 - p))  *  p (1 - p) = p - y:

    the neuron's error itself. (Squared error would keep the factor p (1 - p), which is almost nought just where the
    neuron is surely wrong.) And since dz/dw_i = x_i, each weight moves against its input times the error,

        w_i <- w_i - rate * mean((p - y) x_i),        b <- b - rate * mean(p - y).

    The loss is convex: it has no valley but the lowest, and nothing has to be drawn at random to begin with. Inputs
    learn alike when they vary alike, so each is first shifted and scaled to mean 0 and deviation 1; in the end that is
    undone, into the weights and the bias, so that they are those of the inputs as given.

    Args:
        inputs: `[example, input]`.
        targets: 0 or 1, `[example]`.
        steps: how often all weights are moved.
        watch: told each step and the loss before it.

    Raises:
        BadInput: there are no such inputs, or as many targets as examples there are not, or some are neither 0 nor 1.
    """
    inputs, targets = np.asarray(inputs, float), np.asarray(targets, float)
    if inputs.ndim != 2 or not inputs.size or not np.isfinite(inputs).all():
        raise BadInput(f"inputs are finite numbers [example, input], not of shape {list(inputs.shape)}")
    if targets.shape != inputs.shape[:1] or not np.isin(targets, (0, 1)).all():
        raise BadInput(f"targets are 0 or 1, one for each of {len(inputs)} examples")
    mean, deviation = inputs.mean(0), inputs.std(0)
    deviation[deviation < 1e-9] = 1.0  # an input that never changes tells nothing; it is left as it is
    x = (inputs - mean) / deviation
    weights, bias, losses = np.zeros(x.shape[1]), 0.0, list[float]()
    rate = safe_rate(x)
    for number in range(steps):
        z = x @ weights + bias
        losses.append(cross_entropy(z, targets))
        watch(number, losses[-1])
        error = SIGMOID.value(z) - targets
        weights -= rate * (error @ x) / len(x)
        bias -= rate * float(error.mean())
    weights /= deviation
    return TrainedNeuron(weights, bias - float(mean @ weights), losses)


def safe_rate(inputs: Floats) -> float:
    """A learning rate at which no step can make the loss of `inputs` `[example, input]` higher.

    A sigmoid's slope is at most 1/4, so the loss bends in no direction by more than a quarter of the largest eigenvalue
    of the inputs' mean products (the bias is an input that is always 1). One over that bend is safe (Nesterov 2004,
    section 1.2.3).
    """
    x = np.column_stack([inputs, np.ones(len(inputs))])
    return float(4 / np.linalg.eigvalsh(x.T @ x / len(x))[-1])
