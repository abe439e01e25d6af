"""The digit network: 784 pixels, two hidden layers of 16 neurons, ten outputs, and ways down its cost.

Every pixel of a 28×28 image is an input. Each neuron of the first hidden layer has a weight for each of them and a
bias, and so on to the ten outputs, one a class:

    784·16 + 16  +  16·16 + 16  +  16·10 + 10  =  13,002 numbers to learn.

All activations are sigmoids. The output that is largest names the digit. The cost of an image is Σⱼ (aⱼ − yⱼ)², where
yⱼ is 1 for the right class and 0 for the nine others; the cost C of the network is its mean over all images.

*Batch* gradient descent works out the gradient of C over all images for each step θ ← θ − η ∇C. *Stochastic* descent
(Robbins and Monro 1951) takes a step after every single image: its gradient is right only on average, yet a pass over n
images takes n steps instead of one. *Mini-batches* are between: the mean over 32 images is steadier than one, costs
hardly more where a processor does many sums at once, and still gives n / 32 steps a pass.

The learning rate η decides whether a step helps. Too small, and it creeps; too large, and it lands beyond the valley's
other side. Sigmoids then fail in a way of their own: their sums become so large that f′(z) = a(1 − a) is nearly 0,
and no gradient leads back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cutaway.ladder.backprop import MLP
from cutaway.ladder.image_data import CLASSES, ImageData

HIDDEN = (16, 16)
SURE = 0.9
"""From which on the largest output counts as a confident answer."""

Floats = NDArray[Any]


def digit_network(data: ImageData, seed: int, activation: str = "sigmoid", loss: str = "squared") -> MLP:
    """The network above, new, for images of any size."""
    return MLP((data.pixels, *HIDDEN, CLASSES), activation, loss, seed=seed)


def parameter_count(sizes: Sequence[int]) -> int:
    """How many weights and biases layers of these sizes have."""
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(sizes))


def flat(images: Floats) -> Floats:
    """Images `[n, row, column]` as rows of pixels `[n, pixel]`."""
    return images.reshape(len(images), -1)


@dataclass(frozen=True)
class Way:
    """A way down.

    Attributes:
        batch: images a step; 0 means all of them.
        rate: the learning rate η.
        passes: over the images.
        fading: whether η falls to nought from pass to pass, along half a cosine.
    """

    batch: int
    rate: float
    passes: int
    fading: bool = False


def descend(network: MLP, x: Floats, y: NDArray[np.int64], way: Way, seed: int) -> Iterator[float]:
    """Train on images `[n, row, column]` with labels `[n]`; after each pass give the mean cost of its images,
    each as it was before its step.
    """
    rng, rows = np.random.default_rng(seed), flat(x)
    for done in range(way.passes):
        share = 0.5 * (1 + math.cos(math.pi * done / way.passes)) if way.fading else 1.0
        yield network.train_epoch(rows, y, way.batch or len(rows), share * way.rate, rng)


def outputs(network: MLP, x: Floats) -> Floats:
    """What the network says of images `[n, row, column]`: `[n, class]`, each from 0 to 1."""
    return network.forward(flat(x))[-1]


def cost(network: MLP, x: Floats, y: NDArray[np.int64]) -> float:
    """C over some images."""
    return float(((outputs(network, x) - np.eye(CLASSES)[y]) ** 2).sum(axis=1).mean())


def accuracy(said: Floats, y: NDArray[np.int64]) -> float:
    """The share of images whose class has the largest of the outputs `[n, class]`."""
    return float((said.argmax(axis=1) == y).mean())


@dataclass(frozen=True)
class Sureness:
    """How sure a network is of its answers, right or wrong.

    Attributes:
        mean: of each image's largest output.
        sure: the share of images whose largest output is over `SURE`.
    """

    mean: float
    sure: float


def sureness(said: Floats) -> Sureness:
    """Of outputs or probabilities `[n, class]`."""
    largest = said.max(axis=1)
    return Sureness(float(largest.mean()), float((largest > SURE).mean()))


def noise(like: Floats, n: int, seed: int) -> dict[str, Floats]:
    """Images that are no digits, `[n, row, column]` each: every pixel any grey; and those of `like`, each with its
    pixels in random order, so that there is as much ink as in a digit.
    """
    rng = np.random.default_rng(seed)
    scrambled = rng.permuted(flat(like[:n]), axis=1).reshape(-1, *like.shape[1:])
    return {"any grey": rng.random((n, *like.shape[1:]), np.float32), "pixels shuffled": scrambled}
