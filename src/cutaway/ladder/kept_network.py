"""A network of fully connected layers on disk, as safetensors, with some images to try it on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from cutaway.ladder.backprop import ACTIVATIONS, LOSSES, MLP
from cutaway.runs import BadInput, atomic

SAMPLES = 20
"""Images that are kept with a network."""
ABOUT = "cutaway"
"""The key of the file's metadata."""


@dataclass(frozen=True)
class KeptNetwork:
    """A network that was trained on images.

    Attributes:
        network: which.
        data: what the images are called.
        learned: how many it was trained on.
        tested: how many others it was tested on.
        accuracy: the share of these whose class it names.
        x: some of these, `[n, row, column]`, from 0 (paper) to 1 (ink).
        y: their classes, `[n]`.
    """

    network: MLP
    data: str
    learned: int
    tested: int
    accuracy: float
    x: NDArray[np.float32]
    y: NDArray[np.int64]


def of_each_class(x: NDArray[np.float32], y: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """`SAMPLES` of the images `[n, row, column]`: the first of each class in turn, then the second of each."""
    nth = np.array([int((y[:i] == label).sum()) for i, label in enumerate(y)])
    chosen = np.lexsort((y, nth))[:SAMPLES]
    return x[chosen], y[chosen]


def write(path: Path, kept: KeptNetwork) -> None:
    """Put it into a file, atomically."""
    network = kept.network
    tensors = {"images": kept.x, "labels": kept.y}
    for i, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        tensors |= {f"layers.{i}.weight": weight, f"layers.{i}.bias": bias}
    about = {
        "activation": next(name for name, each in ACTIVATIONS.items() if each is network.activation),
        "loss": next(name for name, each in LOSSES.items() if each is network.loss),
        "data": kept.data,
        "learned": kept.learned,
        "tested": kept.tested,
        "accuracy": kept.accuracy,
    }
    atomic.write_bytes(path, save(tensors, {ABOUT: json.dumps(about)}))


def read(path: Path) -> KeptNetwork:
    """What `write` put into a file. Raises `BadInput` where it holds something else."""
    try:
        with safe_open(path, "numpy") as file:
            about = json.loads((file.metadata() or {})[ABOUT])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no dict
        count = sum(name.endswith(".weight") for name in tensors)
        weights = [tensors[f"layers.{i}.weight"] for i in range(count)]
        sizes = (weights[0].shape[1], *(len(each) for each in weights))
        network = MLP(sizes, about["activation"], about["loss"], weights[0].dtype)
        biases = [tensors[f"layers.{i}.bias"] for i in range(count)]
        for (inputs, outputs), weight, bias in zip(pairwise(sizes), weights, biases, strict=True):
            if weight.shape != (outputs, inputs) or bias.shape != (outputs,):
                raise ValueError(f"a layer of {weight.shape} weights has {bias.shape} biases")
        network.weights, network.biases = weights, biases
        numbers = (about["data"], about["learned"], about["tested"], about["accuracy"])
        return KeptNetwork(network, *numbers, x=tensors["images"], y=tensors["labels"])
    except (SafetensorError, OSError, KeyError, IndexError, TypeError, ValueError) as error:
        raise BadInput(
            f"{path} holds no network of the ladder's ({error}); run it again: cutaway ladder digits"
        ) from error
