"""Activations: how a neuron answers to its weighted sum.

A neuron adds up its inputs, each multiplied by a weight, into one number z. Were z itself its answer, a stack of layers
would be worth no more than one: a weighted sum of weighted sums is again a weighted sum. The activation bends the line,
and a network can fit curves.

Each function stands here beside its slope, dvalue/dz. Learning by descent passes an error back through a neuron by
multiplying it with that slope: where the slope is nought, the neuron learns nothing from that example.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEAK = 0.01
"""Slope of the leaky ReLU below nought."""

_erf = np.vectorize(math.erf, otypes=[float])


@dataclass(frozen=True)
class Activation:
    """A function of the weighted sum z, elementwise on arrays of any shape, and its slope there.

    Attributes:
        name: as people call it.
        formula: as people write it.
        value: the neuron's answer to z.
        slope: how much the answer changes for a small change of z.
    """

    name: str
    formula: str
    value: Callable[[Floats], Floats]
    slope: Callable[[Floats], Floats]


def step(z: Floats) -> Floats:
    """1 from nought on, else 0: fires or does not (McCulloch and Pitts 1943; Rosenblatt's perceptron, 1958).

    It cannot be trained by descent: its slope is 0 wherever it has one.
    """
    return np.where(z >= 0, 1.0, 0.0)


def sigmoid(z: Floats) -> Floats:
    """1 / (1 + e^-z): a step with soft edges, from 0 to 1, which may be read as a probability.

    Written by tanh, whose argument may be as large as it likes: e^-z would overflow from z = -710 on.
    """
    return 0.5 * (1 + np.tanh(z / 2))


def _sigmoid_slope(z: Floats) -> Floats:
    """By the chain rule s (1 - s): at most 1/4, at z = 0.

    Through ten layers of sigmoids less than a millionth is left of an error.
    """
    s = sigmoid(z)
    return s * (1 - s)


def _tanh_slope(z: Floats) -> Floats:
    """1 - tanh(z)^2: up to 1, four times the sigmoid's. tanh is the sigmoid from -1 to 1: 2 sigmoid(2 z) - 1."""
    return 1 - np.tanh(z) ** 2


def relu(z: Floats) -> Floats:
    """max(0, z), the rectified linear unit (Nair and Hinton 2010; Glorot, Bordes and Bengio 2011).

    However large z is, its slope stays 1, so errors go back through many layers undiminished. A neuron whose z is
    below nought for every example has slope 0 for all of them and never comes back.
    """
    return np.maximum(z, 0.0)


def leaky_relu(z: Floats) -> Floats:
    """z, or a hundredth of it below nought (Maas, Hannun and Ng 2013): no neuron dies, for no slope is nought."""
    return np.where(z > 0, z, LEAK * z)


def gelu(z: Floats) -> Floats:
    """The Gaussian error linear unit, z P(X <= z) for a standard normal X (Hendrycks and Gimpel 2016; BERT, GPT-2).

    A ReLU with a smooth corner: each input is let through by as much as it is larger than others.
    """
    return z * _normal_share(z)


def _gelu_slope(z: Floats) -> Floats:
    """P(X <= z) + z phi(z), by the product rule; phi is the normal density, the slope of P."""
    return _normal_share(z) + z * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def _normal_share(z: Floats) -> Floats:
    """P(X <= z) for a standard normal X."""
    return 0.5 * (1 + _erf(np.asarray(z) / math.sqrt(2)))


def silu(z: Floats) -> Floats:
    """The sigmoid linear unit, z sigmoid(z), also called Swish (Elfwing, Uchibe and Doya 2017; Llama's SwiGLU)."""
    return z * sigmoid(z)


def _silu_slope(z: Floats) -> Floats:
    """By the product rule s + z s (1 - s); a little above 1 right of z = 1.28, a little below 0 left of -1.28."""
    return sigmoid(z) + z * _sigmoid_slope(z)


SIGMOID = Activation("sigmoid", "1 / (1 + e^-z)", sigmoid, _sigmoid_slope)

ACTIVATIONS: tuple[Activation, ...] = (
    Activation("step", "1 if z >= 0, else 0", step, np.zeros_like),
    SIGMOID,
    Activation("tanh", "(e^z - e^-z) / (e^z + e^-z)", np.tanh, _tanh_slope),
    Activation("ReLU", "max(0, z)", relu, lambda z: np.where(z > 0, 1.0, 0.0)),
    Activation("leaky ReLU", f"z if z > 0, else {LEAK} z", leaky_relu, lambda z: np.where(z > 0, 1.0, LEAK)),
    Activation("GELU", "z P(X <= z), X standard normal", gelu, _gelu_slope),
    Activation("SiLU", "z / (1 + e^-z)", silu, _silu_slope),
)
"""Those that networks have been built from, in the order in which they came into use."""
