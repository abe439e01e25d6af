"""What the rungs of language models share: a text in two parts, training on one, measuring on the other, files."""

from __future__ import annotations

import shutil
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from cutaway.corpus import Document
from cutaway.corpus.built_in import built_in_documents
from cutaway.evals.bits_per_byte import BitsPerByte, bits_per_byte, ngram_bits_per_byte
from cutaway.ladder.protocol import SequenceModel
from cutaway.ladder.writing import write_on
from cutaway.model import safetensors_file
from cutaway.pipeline.stage import StageContext
from cutaway.pipeline.texts import Passes, TextTokenizer, in_two, make_tokenizer, read_text
from cutaway.runs import BadInput, MetricsLog, Settings
from cutaway.tokens import Tokenizer
from cutaway.train import LoopSettings, Watch, train
from cutaway.train.objectives import Objective
from cutaway.train.optimizer import OptimizerSettings

LOOKS = 8
"""Times to look at a model in training, beside the first and last step."""
GLANCE = 20_000
"""Held-out characters of one look."""
WRITTEN = 160
"""Tokens of a sample."""
M = TypeVar("M", bound=nn.Module)
BUILT_IN = "the Bible in Basic English"


class TextSettings(Settings):
    """What to learn from."""

    data: Path | None = None
    """A text, a folder of texts, `.jsonl` or `.parquet`; left out: the Bible in Basic English."""
    characters: int = Field(default=1_000_000, ge=0)
    """How many characters of it, from its beginning; 0: all."""
    heldout_fraction: float = Field(default=0.1, gt=0, lt=1)
    """The share of these, at their end, that models are measured on and not trained on."""
    tokenizer: TextTokenizer = TextTokenizer()
    """What a token is."""


class LearningSettings(TextSettings):
    """How the neural models are trained."""

    tokens: int = Field(default=500_000, ge=1)
    """Tokens that each reads."""
    batch_tokens: int = Field(default=2048, ge=32)
    """Tokens a step."""
    row_length: int = Field(default=128, ge=16)
    """Tokens a row: how far back training looks."""

    def loop(self, lr: float) -> LoopSettings:
        """The loop's settings for a peak learning rate.

        All weights go through AdamW. Muon is for matrices that stand between two activations and are used once; a
        recurrent matrix is used at every position, several gates share one, and the n-gram's reads vectors of tokens.
        """
        return LoopSettings(
            tokens=self.tokens,
            batch_tokens=self.batch_tokens,
            row_length=self.row_length,
            optimizer=OptimizerSettings(kind="adamw", adamw_lr=lr),
            precision="float32",
            # A cell's steps, unrolled, would be one graph of thousands of operations to compile.
            compile=False,
        )


def files_of(settings: TextSettings) -> Iterable[Path]:
    """What such a rung reads from outside its run."""
    return () if settings.data is None else (settings.data,)


@dataclass(frozen=True)
class RunningText:
    """A text to learn from and to be measured on."""

    name: str
    training: str
    heldout: str
    tokenizer: Tokenizer
    ids: NDArray[np.uint16]
    """The tokens of the part to train on, an end-of-text token before them."""

    def measured(self, model: SequenceModel, characters: int | None = None) -> BitsPerByte:
        """What a model needs for the held-out part, or its first characters, each token given all those before it."""
        return ngram_bits_per_byte(model.log_probs, self.tokenizer, [self.document(characters)])["total"]

    def measured_in_windows(
        self, model: nn.Module, context: int, stride: int, characters: int | None = None
    ) -> BitsPerByte:
        """The same for a model that maps tokens to logits, given at most `context` tokens at once."""
        return bits_per_byte(model, self.tokenizer, [self.document(characters)], context, stride)["total"]

    def document(self, characters: int | None = None) -> Document:
        """The held-out part, or its first characters."""
        return Document("heldout", self.heldout[:characters], "user")

    def written_by(self, model: SequenceModel, seed: int) -> str:
        """A sample: tokens drawn from the model one after another, a document's beginning."""
        return self.tokenizer.decode(write_on(model, [self.tokenizer.end_of_text], WRITTEN, seed), skip_special=True)


def running_text(settings: TextSettings, directory: Path) -> RunningText:
    """The text that the settings name; its tokenizer is written into `directory`.

    Raises:
        BadInput: it cannot be read, or is too short; or it has characters at its end that no model could have learned.
    """
    if settings.data is None:
        text, name = "\n\n".join(document.text for document in built_in_documents(["bbe"])), BUILT_IN
    else:
        text, name = read_text(settings.data), settings.data.name
    parts = in_two(text[: settings.characters or None], settings.heldout_fraction)
    tokenizer = make_tokenizer(settings.tokenizer, parts["train"], parts["heldout"], directory)
    ids = np.array([tokenizer.end_of_text, *tokenizer.encode(parts["train"])], dtype=np.uint16)
    return RunningText(name, parts["train"], parts["heldout"], tokenizer, ids)


def learn(
    context: StageContext[Any],
    text: RunningText,
    name: str,
    model: nn.Module,
    settings: LoopSettings,
    objective: Objective | None = None,
) -> list[dict[str, Any]]:
    """Train a model on the text, from where an interrupted attempt stopped; give the lines of its metrics.

    Those at which it was looked at have `val_bpb`: bits per byte of the first held-out characters, in blocks as long as
    the rows of training.

    Raises:
        BadInput: the text is too short for the rows.
    """
    length = settings.row_length
    if len(text.ids) < 2 * length:
        raise BadInput(
            f"the text has {len(text.ids):,} tokens to train on; two rows take {2 * length:,}: give more, or lower "
            f"row_length (--set {context.directory.name}.row_length=16)"
        )

    def look(model: nn.Module, step: int) -> dict[str, float]:
        model.eval()
        return {"val_bpb": text.measured_in_windows(model, length, length, GLANCE).value}

    directory = context.directory / name
    watch = Watch(max(1, settings.steps // LOOKS), look)
    feed = Passes(text.ids, length, context.seed)
    train(model, feed, settings, directory, context.progress, watch, name, objective)
    return MetricsLog.read(directory / "metrics.jsonl")


def curve(metrics: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """Bits per byte over tokens read, wherever a model was looked at."""
    return [(row["tokens"], row["val_bpb"]) for row in metrics if "val_bpb" in row]


def nearest_in_size(make: Callable[[int], M], parameters: int, seed: int, step: int = 4) -> M:
    """The untrained model `make(width)`, of all widths that are multiples of `step`, that is nearest in size."""

    def size(width: int) -> int:
        # On this device weights take no memory.
        with torch.device("meta"):
            return n_parameters(make(width))

    widths = range(step, parameters, step)
    at = bisect_left(widths, parameters, key=size)
    nearest = min(widths[max(0, at - 1) : at + 1], key=lambda width: abs(size(width) - parameters))
    torch.manual_seed(seed)
    return make(nearest)


def n_parameters(model: nn.Module) -> int:
    """Number of weights, each counted once."""
    return sum(weight.numel() for weight in model.parameters())


def keep(directory: Path, name: str, tensors: Mapping[str, Tensor]) -> None:
    """Write a model's tensors to `model/<name>.safetensors`."""
    entries = {key: (each.dtype, tuple(each.shape), lambda each=each: each) for key, each in tensors.items()}
    safetensors_file.write(directory / "model" / f"{name}.safetensors", entries)


def forget_checkpoints(directory: Path) -> None:
    """Remove what the trainings of a rung would have been resumed from, once all of it is done."""
    for each in directory.glob("*/checkpoints"):
        shutil.rmtree(each)
