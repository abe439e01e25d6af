"""Rung 12: every language model of the ladder on one table, on the same text, beside a transformer of their size."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import torch
from pydantic import Field

from cutaway.corpus.suffix_array import Index, write_index
from cutaway.evals.bits_per_byte import BitsPerByte
from cutaway.evals.charts import Chart, Point, Reference
from cutaway.evals.markdown import markdown_table
from cutaway.evals.measures import duration
from cutaway.evals.numbers import short
from cutaway.infer.generate import Session
from cutaway.ladder.infinigram import InfiniGram
from cutaway.ladder.neural import NeuralModel
from cutaway.ladder.neural_ngram import NeuralNgram
from cutaway.ladder.ngram import KneserNey
from cutaway.ladder.protocol import SequenceModel
from cutaway.ladder.recurrent_model import RecurrentModel
from cutaway.ladder.writing import reader
from cutaway.model import ModelConfig, Transformer
from cutaway.pipeline.rungs.language import (
    GLANCE,
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
from cutaway.runs import BadInput, Result, Settings
from cutaway.train.objectives.next_token import NextToken

NAME = "table"
COUNTED = "kneser_ney"
LOOKED_UP = "infinigram"
Name = Literal["kneser_ney", "infinigram", "neural_ngram", "rnn", "lstm", "gru", "transformer"]
TITLES: dict[Name, str] = {
    "kneser_ney": "Kneser–Ney n-gram",
    "infinigram": "∞-gram",
    "neural_ngram": "neural n-gram",
    "rnn": "RNN",
    "lstm": "LSTM",
    "gru": "GRU",
    "transformer": "transformer",
}
KINDS = {"with a state": ("rnn", "lstm", "gru"), "with a window": ("neural_ngram", "transformer")}
"""The trained ones, by what they know of the past."""
TIMES = 5
"""How often the reading of a sequence is timed; the fastest counts."""


class Rates(Settings):
    """Peak learning rates."""

    neural_ngram: float = Field(default=0.004, gt=0)
    rnn: float = Field(default=0.002, gt=0)
    lstm: float = Field(default=0.006, gt=0)
    gru: float = Field(default=0.006, gt=0)
    transformer: float = Field(default=0.004, gt=0)


class TableSettings(LearningSettings):
    """Which models, how large, and how long each learns."""

    models: tuple[Name, ...] = Field(default=tuple(TITLES), min_length=1)
    """The rows of the table. The ∞-gram is left out where its library is not installed."""
    parameters: int = Field(default=250_000, ge=5000)
    """Weights of each neural model, about."""
    tokens: int = Field(default=1_200_000, ge=1)
    """Tokens that each of them reads."""
    order: int = Field(default=8, ge=1, le=16)
    """Length of the longest n-grams that are counted."""
    neural_order: int = Field(default=8, ge=2)
    """Length of the n-grams that the neural n-gram reads and completes."""
    width: int = Field(default=32, ge=1)
    """Of each token's vector, in the neural n-gram and the recurrent networks."""
    depth: int = Field(default=3, ge=1)
    """The transformer's blocks."""
    lr: Rates = Rates()
    """Peak learning rates."""


@dataclass(frozen=True)
class Row:
    """One model's row."""

    parameters: int
    """Weights; of what counts, the numbers that it keeps."""
    bits: BitsPerByte
    seconds: float
    """Of training, or of counting."""
    tokens_per_second: float
    """Read one after another, with the distribution after each: as fast as one sequence can be written."""
    curve: list[Point]
    """Bits per byte of the first held-out characters over tokens read."""


def climb(context: StageContext[TableSettings]) -> Found:
    """Train and measure one model after another."""
    settings = context.settings
    text = running_text(settings, context.directory / "model")
    table: dict[str, Row] = {}
    references: list[Reference] = []
    for name in dict.fromkeys(settings.models):
        if name == COUNTED:
            table[name], counted = count(context, text)
            references = [Reference(f"{TITLES[name]}, n = {counted.order}", text.measured(counted, GLANCE).value)]
        elif name == LOOKED_UP:
            try:
                table[name] = look_up(context, text)
            except BadInput as error:
                context.progress.say(f"{TITLES[name]} left out: {error}")
                continue
        else:
            table[name] = train_one(context, text, name)
        row = table[name]
        context.progress.say(
            f"{TITLES[name]}: {row.bits.value:.3f} bits per byte, {short(row.parameters)} parameters, "
            f"{duration(row.seconds)}, {row.tokens_per_second:,.0f} tokens a second"
        )
    forget_checkpoints(context.directory)
    if not table:
        raise BadInput("there is nothing to compare: name a model more in table.models")
    drawn = learning_chart(table, references)
    pictures = {"learning": drawn} if drawn else {}
    data = {"rows": {name: asdict(row) | {"bits_per_byte": row.bits.value} for name, row in table.items()}}
    best = min(table, key=lambda name: table[name].bits.value)
    said = [f"best: {titled(best)}, {table[best].bits.value:.3f} bits per byte on {table[best].bits.bytes:,} bytes"]
    return Found(results(table, context), said, report(text, settings, table, pictures), pictures, data)


def count(context: StageContext[TableSettings], text: RunningText) -> tuple[Row, KneserNey]:
    """The n-gram, and its row."""
    began = time.perf_counter()
    model = KneserNey.fit([text.ids], context.settings.order, vocab_size=text.tokenizer.vocab_size)
    seconds = time.perf_counter() - began
    arrays = model.arrays()
    keep(context.directory, COUNTED, {name: torch.from_numpy(array) for name, array in arrays.items()})
    kept = sum(array.size for name, array in arrays.items() if not name.endswith("keys"))
    return Row(kept, text.measured(model), seconds, reading_speed(model, text, context.settings), []), model


def look_up(context: StageContext[TableSettings], text: RunningText) -> Row:
    """The n-gram without an n, and its row."""
    began = time.perf_counter()
    place = context.directory / "model" / LOOKED_UP
    write_index(place, [("training", text.ids[1:])], text.tokenizer.vocab_size)
    model = InfiniGram(Index(place), text.tokenizer.end_of_text)
    seconds = time.perf_counter() - began
    # The tokens, and where each of them stands in the order.
    kept = 2 * model.index.n_tokens
    return Row(kept, text.measured(model), seconds, reading_speed(model, text, context.settings), [])


def train_one(context: StageContext[TableSettings], text: RunningText, name: Name) -> Row:
    """A neural model's row."""
    settings, length = context.settings, context.settings.row_length
    model = new_model(name, settings, text.tokenizer.vocab_size, context.seed)
    objective = NextToken() if isinstance(model, NeuralModel) else None
    metrics = learn(context, text, name, model, settings.loop(getattr(settings.lr, name)), objective)
    keep(context.directory, name, dict(model.named_parameters()))
    if isinstance(model, NeuralModel):
        bits = text.measured(model)
    else:
        # It reads no more at once than it was trained to: a window that slides over the text.
        bits = text.measured_in_windows(model, length, max(1, length // 4))
    speed = reading_speed(model, text, settings)
    return Row(n_parameters(model), bits, metrics[-1]["seconds"], speed, curve(metrics))


def new_model(name: Name, settings: TableSettings, vocab_size: int, seed: int) -> NeuralModel | Transformer:
    """An untrained model of about the size that is wanted."""
    if name == "transformer":
        return nearest_in_size(
            lambda width: Transformer(transformer(width, settings, vocab_size)), settings.parameters, seed, step=8
        )
    if name == "neural_ngram":
        return nearest_in_size(
            lambda hidden: NeuralNgram(vocab_size, settings.neural_order, settings.width, hidden),
            settings.parameters,
            seed,
        )
    return nearest_in_size(
        lambda hidden: RecurrentModel(name, vocab_size, settings.width, hidden), settings.parameters, seed
    )


def transformer(width: int, settings: TableSettings, vocab_size: int) -> ModelConfig:
    """A decoder of the project's own family, `width` (a multiple of 8) wide."""
    return ModelConfig(
        vocab_size=vocab_size,
        n_layers=settings.depth,
        d_model=width,
        n_heads=4,
        n_kv_heads=2,
        d_head=width // 4,
        d_mlp=8 * round(width / 3),
        context=max(512, settings.row_length),
    )


def reading_speed(model: SequenceModel | Transformer, text: RunningText, settings: TableSettings) -> float:
    """Tokens a second of one sequence, one token after another."""
    ids = text.tokenizer.encode(text.heldout[: 8 * settings.row_length])[: settings.row_length]
    seconds: list[float] = []
    for _ in range(TIMES):
        read: Callable[[int], object] = attending(model) if isinstance(model, Transformer) else reader(model)
        began = time.perf_counter()
        for token in ids:
            read(token)
        seconds.append(time.perf_counter() - began)
    return len(ids) / min(seconds)


def attending(model: Transformer) -> Callable[[int], object]:
    """What reads one more token of a new sequence and gives the distribution after it; keys and values are kept."""
    session = Session(model)

    def attend(token: int) -> object:
        session.read([token])
        return session.logits[0].softmax(-1)

    return attend


def results(table: Mapping[str, Row], context: StageContext[TableSettings]) -> list[Result]:
    """The table's figures, a metric and model each."""
    found: list[Result] = []
    for name, row in table.items():
        figures = (
            ("bits_per_byte", row.bits.value, "bits/byte", row.bits.bytes),
            ("parameters", row.parameters, "", 1),
            ("training_seconds", row.seconds, "seconds", 1),
            ("reading_speed", row.tokens_per_second, "tokens/s", context.settings.row_length),
        )
        found += [
            Result(NAME, f"{metric}/{name}", value, unit, n, context.seed, higher_is_better=metric == "reading_speed")
            for metric, value, unit, n in figures
        ]
    return found


def titled(name: str) -> str:
    """A model's name for a person."""
    return next(title for known, title in TITLES.items() if known == name)


def learning_chart(table: Mapping[str, Row], references: Sequence[Reference]) -> str:
    """How each came to its figure; empty if none was trained."""
    groups = {
        kind: {titled(name): table[name].curve for name in names if name in table} for kind, names in KINDS.items()
    }
    points = [point for lines in groups.values() for curve in lines.values() for point in curve]
    title = f"Bits per byte of the first {GLANCE:,} held-out characters, in blocks"
    # What comes of the first few steps would press all else together.
    low = min([*(y for _, y in points), *(each.y for each in references)], default=0.0)
    high = max([low + 1.5, *(row.curve[-1][1] + 0.1 for row in table.values() if row.curve)])
    return panels(Chart(title, [], "tokens read", references=references, y_range=(low - 0.05, high)), groups)


def report(text: RunningText, settings: TableSettings, table: Mapping[str, Row], pictures: Mapping[str, str]) -> str:
    """The rung's report."""
    rows = [
        (
            titled(name),
            f"{row.bits.value:.3f}",
            f"{row.parameters:,}",
            f"{row.seconds:.1f}",
            f"{row.tokens_per_second:,.0f}",
        )
        for name, row in table.items()
    ]
    about = (
        f"Trained on {text.name}: {len(text.ids):,} tokens, of which each neural model read {settings.tokens:,}, pass "
        f"after pass, in rows of {settings.row_length}. Measured on the same "
        f"{next(iter(table.values())).bits.bytes:,} bytes after them: what counts and the recurrent networks read "
        f"these from first to last, the transformer in a window of {settings.row_length} tokens that moves on by a "
        "quarter."
    )
    head = ["Model", "bits per byte", "parameters", "training, s", "reading, tokens/s"]
    return "\n\n".join([about, markdown_table(head, rows), *(f"![]({name}.svg)" for name in pictures)])


RUNG = Rung(
    NAME, "The table: from counts to the transformer, on the same bytes", TableSettings, climb, files_of, costly=True
)
