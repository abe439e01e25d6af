"""Rung 9: recurrent networks, and how far back their gradients reach."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from cutaway.evals.bits_per_byte import BitsPerByte
from cutaway.evals.charts import Chart, Point
from cutaway.evals.markdown import markdown_table
from cutaway.ladder.gradient_flow import descent, flow_in, reach
from cutaway.ladder.recurrent import CELLS
from cutaway.ladder.recurrent_model import RecurrentModel
from cutaway.pipeline.rungs.language import (
    LearningSettings,
    RunningText,
    curve,
    files_of,
    forget_checkpoints,
    keep,
    learn,
    n_parameters,
    nearest_in_size,
    running_text,
)
from cutaway.pipeline.rungs.panels import panels
from cutaway.pipeline.rungs.rung import Found, Rung
from cutaway.pipeline.stage import StageContext
from cutaway.pipeline.texts import Passes
from cutaway.runs import BadInput, Result, Settings
from cutaway.train.objectives.next_token import NextToken

NAME = "recurrent"
TITLES = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}
ROWS = 64
"""Stretches of held-out text over which gradients are averaged."""
LAST = 20
"""Steps at the end of a descent whose losses are averaged."""
FREE, CLIPPED = "free", "clipped"


class Rates(Settings):
    """Peak learning rates."""

    rnn: float = Field(default=0.002, gt=0)
    lstm: float = Field(default=0.006, gt=0)
    gru: float = Field(default=0.006, gt=0)


class RecurrentSettings(LearningSettings):
    """The networks, and the experiments with gradients."""

    tokens: int = Field(default=500_000, ge=1)
    """Tokens that each network reads."""
    parameters: int = Field(default=100_000, ge=1000)
    """Weights of each network, about."""
    width: int = Field(default=32, ge=1)
    """Of each token's vector."""
    lr: Rates = Rates()
    """Peak learning rates."""
    distance: int = Field(default=100, ge=2)
    """Steps back over which gradients are measured."""
    radii: tuple[float, ...] = Field(default=(0.5, 1.0, 1.5, 2.0), min_length=1)
    """Spectral radii of the recurrent matrix of an untrained RNN that are compared."""
    descent_steps: int = Field(default=100, ge=LAST)
    """Steps of plain descent of an RNN, with clipping and without."""
    descent_radius: float = Field(default=1.0, gt=0)
    """The spectral radius from which it descends."""
    descent_lr: float = Field(default=1.0, gt=0)
    """Its learning rate."""
    clip: float = Field(default=1.0, gt=0)
    """The longest gradient that clipping lets through."""


@dataclass(frozen=True)
class Trained:
    """What came of one kind of cell."""

    parameters: int
    carried: BitsPerByte
    """For the held-out part, the state carried through all of it."""
    blocks: BitsPerByte
    """The same, the state nought again at every block as long as a row of training."""
    before: list[float]
    """Norms of gradients by distance, untrained."""
    after: list[float]
    curve: list[Point]
    sample: str


Descents = Mapping[str, Sequence[tuple[float, float]]]
"""Losses and norms, step by step, of descents by name."""


def climb(context: StageContext[RecurrentSettings]) -> Found:
    """Train the three, measure them and their gradients; then the spectral radius, and clipping."""
    settings = context.settings
    text = running_text(settings, context.directory / "model")
    rows = stretches(text, settings.distance)
    trained = {kind: train_one(context, text, kind, rows) for kind in CELLS}
    radii = {f"{radius:g}": flow_in(untrained(text, settings, context.seed, radius), rows) for radius in settings.radii}
    descents = {
        name: descend(text, settings, context.seed, clip) for name, clip in ((FREE, math.inf), (CLIPPED, settings.clip))
    }
    forget_checkpoints(context.directory)
    data = {
        "flow": {kind: {"untrained": each.before, "trained": each.after} for kind, each in trained.items()},
        "radius": radii,
        "descent": {name: [finite(step) for step in steps] for name, steps in descents.items()},
        "curves": {kind: each.curve for kind, each in trained.items()},
    }
    pictures = {
        "flow": flow_chart({TITLES[kind]: each.after for kind, each in trained.items()}, "of trained networks"),
        "untrained": flow_chart({TITLES[kind]: each.before for kind, each in trained.items()}, "of untrained networks"),
        "radius": flow_chart({f"radius {name}": norms for name, norms in radii.items()}, "of an untrained RNN"),
        "clipping": clipping_chart(descents),
    }
    found = results(trained, descents, context.seed)
    return Found(found, said(settings, trained, descents), report(text, settings, trained, descents), pictures, data)


def stretches(text: RunningText, distance: int) -> Tensor:
    """Stretches of the held-out part, side by side, each to be read up to its last token: `[row, distance + 2]`.

    Raises:
        BadInput: it is too short for one.
    """
    ids = torch.tensor(text.tokenizer.encode(text.heldout))
    if len(ids) < distance + 2:
        raise BadInput(
            f"the held-out part has {len(ids)} tokens; to look {distance} back takes {distance + 2}: give more"
        )
    return ids[: len(ids) // (distance + 2) * (distance + 2)].view(-1, distance + 2)[:ROWS]


def train_one(context: StageContext[RecurrentSettings], text: RunningText, kind: str, rows: Tensor) -> Trained:
    """A network of one kind of cell, as large as the others."""
    settings, vocab_size = context.settings, text.tokenizer.vocab_size
    model = nearest_in_size(
        lambda hidden: RecurrentModel(kind, vocab_size, settings.width, hidden), settings.parameters, context.seed
    )
    before = flow_in(model, rows)
    metrics = learn(context, text, kind, model, settings.loop(getattr(settings.lr, kind)), NextToken())
    keep(context.directory, kind, model.state_dict())
    return Trained(
        parameters=n_parameters(model),
        carried=text.measured(model),
        blocks=text.measured_in_windows(model, settings.row_length, settings.row_length),
        before=before,
        after=flow_in(model, rows),
        curve=curve(metrics),
        sample=text.written_by(model, context.seed),
    )


def untrained(text: RunningText, settings: RecurrentSettings, seed: int, radius: float) -> RecurrentModel:
    """A new RNN whose recurrent matrix has that spectral radius."""
    vocab_size = text.tokenizer.vocab_size
    model = nearest_in_size(
        lambda hidden: RecurrentModel("rnn", vocab_size, settings.width, hidden), settings.parameters, seed
    )
    model.scale_recurrence(radius)
    return model


def descend(text: RunningText, settings: RecurrentSettings, seed: int, clip: float) -> list[tuple[float, float]]:
    """Plain descent of such an RNN: its steps' losses and norms."""
    feed = Passes(text.ids, settings.row_length, seed)
    size = max(1, settings.batch_tokens // settings.row_length)
    batches = (feed.batch(step, size) for step in range(settings.descent_steps))
    pairs = ((batch["tokens"], batch["targets"]) for batch in batches)
    return descent(untrained(text, settings, seed, settings.descent_radius), pairs, settings.descent_lr, clip)


def results(trained: Mapping[str, Trained], descents: Descents, seed: int) -> list[Result]:
    """The rung's figures."""
    found: list[Result] = []

    def add(metric: str, value: float, unit: str, n: int, *, higher: bool = False) -> None:
        found.append(Result(NAME, metric, value, unit, n, seed, higher_is_better=higher))

    for kind, each in trained.items():
        add(f"bits_per_byte/{kind}", each.carried.value, "bits/byte", each.carried.bytes)
        add(f"bits_per_byte_in_blocks/{kind}", each.blocks.value, "bits/byte", each.blocks.bytes)
        add(f"parameters/{kind}", each.parameters, "", 1)
        add(f"reach_untrained/{kind}", reach(each.before), "tokens", ROWS, higher=True)
        add(f"reach/{kind}", reach(each.after), "tokens", ROWS, higher=True)
    for name, steps in descents.items():
        add(f"descent_loss/{name}", last_loss(steps), "nats/token", LAST)
        add(f"largest_gradient/{name}", max(norm for _, norm in steps), "", len(steps))
    return found


def last_loss(steps: Sequence[tuple[float, float]]) -> float:
    """The mean loss of a descent's last steps."""
    return sum(loss for loss, _ in steps[-LAST:]) / LAST


def finite(values: Sequence[float]) -> list[float | None]:
    """Values as JSON has them."""
    return [value if math.isfinite(value) else None for value in values]


def told(norms: Sequence[float]) -> str:
    """How far back a gradient reaches."""
    steps = reach(norms)
    return f"{steps} back" if steps < len(norms) else f"more than {len(norms) - 1} back"


def said(settings: RecurrentSettings, trained: Mapping[str, Trained], descents: Descents) -> list[str]:
    """The main figures."""
    free, clipped = (last_loss(descents[name]) for name in (FREE, CLIPPED))
    cells = [
        f"{TITLES[kind]:4s} {each.carried.value:.3f} bits per byte with {each.parameters:,} weights; "
        f"its gradient is below 1% {told(each.after)} (untrained: {told(each.before)})"
        for kind, each in trained.items()
    ]
    descent_ = (
        f"plain descent of an RNN ends at {free:.2f} nats a token; "
        f"with gradients clipped to {settings.clip:g}, at {clipped:.2f}"
    )
    return [*cells, descent_]


RAISED = str.maketrans("-.0123456789", "⁻·⁰¹²³⁴⁵⁶⁷⁸⁹")


def flow_chart(norms: Mapping[str, Sequence[float]], whose: str) -> str:
    """Norms over distance, as powers of ten."""
    lines = {
        name: [(float(k), math.log10(norm)) for k, norm in enumerate(line) if norm > 0] for name, line in norms.items()
    }
    title = f"Norm of the gradient at the state k steps back, {whose}"
    return panels(Chart(title, [], "k", y_format=lambda power: f"10{f'{power:g}'.translate(RAISED)}"), {"": lines})


def clipping_chart(descents: Descents) -> str:
    """Losses of plain descent."""
    lines = {name: [(float(step), loss) for step, (loss, _) in enumerate(steps)] for name, steps in descents.items()}
    return panels(Chart("Loss of plain descent, nats a token", [], "step"), {"": lines})


def report(text: RunningText, settings: RecurrentSettings, trained: Mapping[str, Trained], descents: Descents) -> str:
    """The rung's report."""
    some = next(iter(trained.values()))
    far = [k for k in (10, len(some.after) - 1) if k < len(some.after)]
    head = ["Cell", "weights", "bits per byte", "the same, in blocks"]
    head += [f"{when}, {k} back" for when in ("untrained", "trained") for k in far]
    rows = [
        (
            TITLES[kind],
            f"{each.parameters:,}",
            f"{each.carried.value:.3f}",
            f"{each.blocks.value:.3f}",
            *(f"{norms[k]:.1e}" for norms in (each.before, each.after) for k in far),
        )
        for kind, each in trained.items()
    ]
    steps = [
        (name, f"{max(norm for _, norm in steps):.3g}", f"{last_loss(steps):.3f}") for name, steps in descents.items()
    ]
    about = (
        f"Trained on {settings.tokens:,} tokens of {text.name} in rows of {settings.row_length}, measured on the "
        f"{some.carried.bytes:,} bytes after the part to train on: with the state carried through all of them, and in "
        f"blocks, with a state that is nought again every {settings.row_length} tokens. Beside that the norm of the "
        "gradient of one token's loss at the state so many steps back, a mean over stretches of held-out text."
    )
    descending = (
        f"Plain descent of an RNN of spectral radius {settings.descent_radius:g}, {settings.descent_steps} steps at a "
        f"learning rate of {settings.descent_lr:g}, with gradients free and clipped to {settings.clip:g}. The loss is "
        f"the mean of the last {LAST} steps."
    )
    parts = [
        about,
        markdown_table(head, rows),
        "![](flow.svg)",
        "![](untrained.svg)",
        "![](radius.svg)",
        descending,
        markdown_table(["Gradients", "largest norm", "loss, nats a token"], steps),
        "![](clipping.svg)",
        markdown_table(["Cell", "writes"], [(TITLES[k], each.sample) for k, each in trained.items()], text_columns=2),
    ]
    return "\n\n".join(parts)


RUNG = Rung(NAME, "Recurrent networks: RNN, LSTM, GRU, and how far gradients reach", RecurrentSettings, climb, files_of)
