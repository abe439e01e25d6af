"""Supervised fine-tuning: from a model that goes on with a text to one that answers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from cutaway.align.conversations import Materials
from cutaway.align.mixture import Fact, Mixture, conversations, examples
from cutaway.model import Transformer
from cutaway.runs import Progress, Settings
from cutaway.tokens import Tokenizer
from cutaway.train import Example, Rows, Source, Watch, lay_out, train
from cutaway.train.optimizer import OptimizerSettings
from cutaway.train.pretrain import keep_model
from cutaway.train.snapshots import SnapshotSettings, snapshots_of


class SftShares(Settings):
    """What the rows are filled with, in proportion."""

    chat: float = Field(default=10, gt=0)
    """Conversations."""
    real: float = Field(default=6, ge=0)
    """Real text, learned whole, so that the language is kept."""
    world: float = Field(default=1, ge=0)
    """Tellings of the world, so that its facts are."""


class SftSettings(SnapshotSettings):
    """What to teach, for how long."""

    tokens: int = Field(default=1_500_000, ge=0)
    warmup: float = Field(default=0.03, ge=0, le=1)
    decay: float = Field(default=0.97, ge=0, le=1)
    optimizer: OptimizerSettings = OptimizerSettings(muon_lr=0.02, adamw_lr=0.004)
    shares: SftShares = SftShares()
    mixture: Mixture = Mixture()
    refusals: bool = True
    """Whether to teach "I don't know"; without, for comparison, every question about the world is answered."""

    @model_validator(mode="after")
    def nothing_to_wait_for(self) -> Self:
        """Its conversations are made up as they are needed, and none is held out to look at on the way."""
        if self.patience:
            raise ValueError("patience needs looks at held-out examples, and sft has none; leave it out")
        return self


def sft_rows(
    settings: SftSettings,
    tokenizer: Tokenizer,
    materials: Materials,
    known: Collection[Fact] | None,
    real: Sequence[Example],
    told: Sequence[Example],
    seed: int,
) -> Rows:
    """The rows of fine-tuning: conversations, of which the assistant's part is learned, and some plain text.

    `known` are the facts to answer; None for all of them.
    """
    mixture = settings.mixture if settings.refusals else settings.mixture.model_copy(update={"refusal": 0})
    # About forty tokens a conversation; each is met about once.
    n = max(200, round(settings.tokens * settings.shares.chat / (settings.shares.chat + 4) / 40))
    chat = examples(tokenizer, conversations(materials, mixture, n, seed, known=known))
    sources = [
        Source("chat", chat, settings.shares.chat),
        Source("real", real, settings.shares.real),
        Source("world", told, settings.shares.world),
    ]
    return lay_out(sources, settings.steps * settings.batch_rows, settings.row_length, seed)


def sft(
    model: Transformer,
    rows: Rows,
    settings: SftSettings,
    tokenizer: Tokenizer,
    directory: Path,
    progress: Progress,
    watch: Watch,
) -> None:
    """Fine-tune `model` in place and write it to `directory/model`; resumes from the checkpoints there."""
    snapshots = snapshots_of(settings, tokenizer, directory)
    train(model, rows, settings, directory, progress, watch, "sft", snapshots=snapshots)
    keep_model(model, tokenizer, directory)
