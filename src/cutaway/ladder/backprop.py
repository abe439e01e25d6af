"""Backpropagation by hand: a network of fully connected layers and the four equations that train it, in numpy.

The forward pass, for a batch whose examples are rows, layer by layer (a⁰ is the input):

    zˡ = aˡ⁻¹ Wˡᵀ + bˡ        aˡ = f(zˡ)

The backward pass asks how the cost C changes with each of these numbers. Let δˡ stand for ∂C/∂zˡ. The chain rule gives

    (1)  δᴸ = ∂C/∂aᴸ ⊙ f′(zᴸ)              where it starts: the outputs
    (2)  δˡ = (δˡ⁺¹ Wˡ⁺¹) ⊙ f′(zˡ)          one layer back: through the weights, then through the activation
    (3)  ∂C/∂bˡ = Σ over the batch of δˡ
    (4)  ∂C/∂Wˡ = δˡᵀ aˡ⁻¹                  what came in, times how much what came out matters

⊙ multiplies element by element. That is all: every δ is worked out once, from the one after it, so that all gradients
together cost about twice the forward pass, however many weights there are.

Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors", Nature 323 (1986); the four
equations as in Nielsen, "Neural Networks and Deep Learning" (2015), chapter 2, there with examples as columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from cutaway.runs import BadInput

Kind = TypeVar("Kind")
Array = NDArray[Any]
"""Floating-point numbers of the network's dtype."""


@dataclass(frozen=True)
class Activation:
    """What a neuron does with its weighted sum, element by element.

    Attributes:
        value: f(z).
        slope: f′(z), from z and a = f(z): that of many functions is simplest told by their value.
        gain: weights start as normal numbers of variance gain / (inputs of the neuron), so that the sums of one layer
            are spread about as widely as those of the next.
    """

    value: Callable[[Array], Array]
    slope: Callable[[Array, Array], Array]
    gain: float = 1.0


@dataclass(frozen=True)
class Loss:
    """What the last layer does and what it costs. Sums are over the whole batch; the network divides by its size.

    Attributes:
        outputs: (activation, z) → aᴸ `[batch, out]`.
        cost: (z, aᴸ, y) → the sum of all examples' costs.
        delta: (activation, z, aᴸ, y) → δᴸ = ∂cost/∂z `[batch, out]`: equation (1).
    """

    outputs: Callable[[Activation, Array], Array]
    cost: Callable[[Array, Array, Array], float]
    delta: Callable[[Activation, Array, Array, Array], Array]


def sigmoid(z: Array) -> Array:
    """1 / (1 + e⁻ᶻ), as (1 + tanh(z/2)) / 2: the same function, and nothing in it overflows."""
    a = np.tanh(0.5 * z)
    a *= 0.5
    a += 0.5
    return a


def softmax(z: Array) -> Array:
    """eᶻ divided by its sum over each row. The row's largest z is taken off first; the quotient stays the same."""
    a = np.exp(z - z.max(axis=1, keepdims=True))
    a /= a.sum(axis=1, keepdims=True)
    return a


def squared_cost(z: Array, a: Array, y: Array) -> float:
    """Σ (a − y)², over outputs and examples, without a factor 1/2."""
    error = a - y
    return float(np.vdot(error, error))


def cross_entropy_cost(z: Array, a: Array, y: Array) -> float:
    """− Σ y ln softmax(z), worked out from z, for ln of an `a` that was rounded to 0 would be infinite."""
    shifted = z - z.max(axis=1, keepdims=True)
    return float(np.log(np.exp(shifted).sum(axis=1)).sum() - np.vdot(y, shifted))


ACTIVATIONS = {
    "sigmoid": Activation(sigmoid, lambda z, a: a * (1 - a)),
    "tanh": Activation(np.tanh, lambda z, a: 1 - a * a),
    "relu": Activation(lambda z: np.maximum(z, 0), lambda z, a: z > 0, gain=2.0),
}
LOSSES = {
    # The derivative of (a − y)² is 2(a − y); f′(z) is the step from a back to z.
    "squared": Loss(lambda f, z: f.value(z), squared_cost, lambda f, z, a, y: 2 * (a - y) * f.slope(z, a)),
    # Each output of a softmax depends on every z of its row; yet with the logarithm after it all but this cancels.
    "cross-entropy": Loss(lambda f, z: softmax(z), cross_entropy_cost, lambda f, z, a, y: a - y),
}


class MLP:
    """A network of fully connected layers, trained by mini-batch gradient descent.

    Attributes:
        weights: one matrix `[out, in]` a layer.
        biases: one vector `[out]` a layer.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str | Activation = "sigmoid",
        loss: str | Loss = "squared",
        dtype: DTypeLike = np.float32,
        seed: int = 0,
    ) -> None:
        """A network that has `sizes[0]` inputs, then layers of the other sizes.

        "squared" is the sum over the outputs of (a − y)², without the factor 1/2 that some books put before it, and
        its outputs go through the activation; "cross-entropy" has softmax outputs. Both are means over the batch.

        Raises:
            BadInput: sizes that make no network, or an activation or loss of unknown name.
        """
        if len(sizes) < 2 or min(sizes) < 1:
            raise BadInput(f"sizes {list(sizes)} make no network; give the inputs and each layer, such as 784 16 16 10")
        self.activation = _named(activation, ACTIVATIONS, "activation") if isinstance(activation, str) else activation
        self.loss = _named(loss, LOSSES, "loss") if isinstance(loss, str) else loss
        self.dtype = np.dtype(dtype)
        rng = np.random.default_rng(seed)
        spreads = [math.sqrt(self.activation.gain / inputs) for inputs in sizes[:-1]]
        self.weights: list[Array] = [
            rng.normal(0, spread, (outputs, inputs)).astype(self.dtype)
            for spread, (inputs, outputs) in zip(spreads, pairwise(sizes), strict=True)
        ]
        self.biases: list[Array] = [np.zeros(outputs, self.dtype) for outputs in sizes[1:]]

    def forward(self, x: Array) -> list[Array]:
        """All activations, each `[batch, size]`: the input itself, then every layer's; the last are the outputs."""
        return self._forward(np.asarray(x, self.dtype))[1]

    def gradients(self, x: Array, y: Array) -> tuple[float, list[Array], list[Array]]:
        """The mean cost of a batch, and its gradients with respect to all weights and all biases.

        Args:
            x: `[batch, in]`.
            y: what the outputs should be, `[batch, out]`: one-hot for a class.

        Raises:
            BadInput: they are of other shapes.
        """
        zs, activations = self._forward(x)
        if y.shape != zs[-1].shape:
            raise BadInput(
                f"the outputs should be [batch, {zs[-1].shape[1]}] for {len(x)} examples, not {list(y.shape)}"
            )
        cost = self.loss.cost(zs[-1], activations[-1], y)
        delta = self.loss.delta(self.activation, zs[-1], activations[-1], y)  # (1)
        delta /= len(x)
        by_weights, by_biases = list[Array](), list[Array]()
        for layer in reversed(range(len(self.weights))):
            by_biases.append(delta.sum(axis=0))  # (3)
            by_weights.append(delta.T @ activations[layer])  # (4); activations[layer] is what came into this layer
            if layer:
                delta = delta @ self.weights[layer]  # (2)
                delta *= self.activation.slope(zs[layer - 1], activations[layer])
        return cost / len(x), by_weights[::-1], by_biases[::-1]

    def train_epoch(self, x: Array, y: Array, batch: int, lr: float, rng: np.random.Generator) -> float:
        """Go once through the data in random order, a step downhill after every `batch` examples.

        Args:
            x: `[n, in]`.
            y: labels `[n]`, or what the outputs should be, `[n, out]`.
            batch: examples a step: 1 is stochastic descent, n is batch descent. The last step takes what is left.
            lr: the learning rate: θ ← θ − lr ∂C/∂θ.
            rng: draws the order.

        Returns:
            The mean cost of the examples, each as it was before the step that used it.
        """
        if batch < 1 or len(x) != len(y) or not len(x):
            raise BadInput(f"{len(x)} examples, {len(y)} labels, batches of {batch}: give as many labels, at least one")
        x = np.asarray(x, self.dtype)
        y = one_hot(y, len(self.biases[-1]), self.dtype) if y.ndim == 1 else np.asarray(y, self.dtype)
        order = rng.permutation(len(x))
        # Every batch is gathered into the same memory.
        x_rows, y_rows = (np.empty((min(batch, len(x)), data.shape[1]), self.dtype) for data in (x, y))
        total = 0.0
        for start in range(0, len(x), batch):
            chosen = order[start : start + batch]
            n = len(chosen)
            # With mode="clip" numpy writes straight to `out`; the indices are all within bounds.
            x_batch = x.take(chosen, axis=0, out=x_rows[:n], mode="clip")
            y_batch = y.take(chosen, axis=0, out=y_rows[:n], mode="clip")
            cost, by_weights, by_biases = self.gradients(x_batch, y_batch)
            for parameters, gradients in ((self.weights, by_weights), (self.biases, by_biases)):
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    gradient *= lr
                    parameter -= gradient
            total += cost * n
        return total / len(x)

    def _forward(self, x: Array) -> tuple[list[Array], list[Array]]:
        """The weighted sums z of every layer, and the activations, the input first."""
        if x.ndim != 2 or x.shape[1] != self.weights[0].shape[1]:
            raise BadInput(f"the network reads [batch, {self.weights[0].shape[1]}], not {list(x.shape)}")
        zs, activations, last = list[Array](), [x], len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            z = activations[-1] @ weight.T
            z += bias
            zs.append(z)
            activations.append(self.activation.value(z) if layer < last else self.loss.outputs(self.activation, z))
        return zs, activations


def one_hot(labels: NDArray[np.integer[Any]], classes: int, dtype: DTypeLike = np.float32) -> Array:
    """Rows `[n, classes]` of noughts with a one at each label's place.

    Raises:
        BadInput: a label is no class.
    """
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise BadInput(f"labels go from 0 to {classes - 1}, and there are some from {labels.min()} to {labels.max()}")
    return np.eye(classes, dtype=dtype)[labels]


def _named(name: str, known: dict[str, Kind], kind: str) -> Kind:
    if name not in known:
        raise BadInput(f"no {kind} {name!r}; there are {', '.join(known)}")
    return known[name]
