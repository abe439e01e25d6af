"""Pretraining: a new model learns to foretell text."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self, cast

import torch
from pydantic import Field, model_validator

from cutaway.model import ModelConfig, Transformer, save_model
from cutaway.runs import Progress
from cutaway.tokens import Tokenizer
from cutaway.train.loop import Watch, train
from cutaway.train.objectives import Feed
from cutaway.train.snapshots import SnapshotSettings, snapshots_of
from cutaway.train.step import Alone


class PretrainSettings(SnapshotSettings):
    """The size of the model and its training. What is not given follows from `depth`."""

    depth: int = Field(default=4, ge=1, le=64)
    """The one dial: the number of blocks, from which the rest follows."""
    width: int = Field(ge=32)
    """Width of the residual stream; 48 a block."""
    heads: int = Field(ge=1)
    """Query heads; every two share a key and a value head."""
    context: int = Field(default=512, ge=32)
    """Tokens that the model can read at once."""

    @model_validator(mode="before")
    @classmethod
    def follow_depth(cls, data: Any) -> Any:
        """Fill in what was not given: width, heads, tokens, batch and learning rates by the rules beside each."""
        if not isinstance(data, dict) or not isinstance(depth := data.get("depth", 4), int):
            return cast("object", data)
        shape = ModelConfig.from_depth(max(1, depth), 0)
        size = max(1, depth) / 4
        # Twenty tokens a weight of the blocks (Hoffmann et al. 2022); larger models take larger batches and smaller
        # steps, both with the square root of the depth.
        weights = shape.n_layers * 12 * shape.d_model**2
        data.setdefault("width", shape.d_model)
        data.setdefault("heads", shape.n_heads)
        data.setdefault("tokens", 20 * weights)
        data.setdefault("batch_tokens", 512 * max(1, round(4 * size**0.5)))
        if isinstance(optimizer := data.setdefault("optimizer", {}), dict):
            optimizer.setdefault("muon_lr", round(0.02 / size**0.5, 6))
            optimizer.setdefault("adamw_lr", round(0.004 / size**0.5, 6))
        return cast("object", data)

    @model_validator(mode="after")
    def fits(self) -> Self:
        """Heads need two dimensions at least, since positions turn pairs; rows must fit into the context."""
        if self.width // self.heads < 2:
            raise ValueError(f"width {self.width} is too little for {self.heads} heads: each needs 2 or more")
        if self.row_length > self.context:
            raise ValueError(
                f"row_length {self.row_length} is more than the context of {self.context}; lower it or raise context"
            )
        return self

    def config(self, vocab_size: int) -> ModelConfig:
        """The model's shape."""
        d_head = self.width // self.heads
        return ModelConfig(
            vocab_size=vocab_size,
            n_layers=self.depth,
            d_model=self.width,
            n_heads=self.heads,
            n_kv_heads=self.heads // 2 if self.heads % 2 == 0 else self.heads,
            d_head=d_head - d_head % 2,
            d_mlp=32 * round(self.width * 8 / 3 / 32),
            context=self.context,
            tied_embeddings=self.width < 2048,
        )


def pretrain(
    settings: PretrainSettings,
    tokenizer: Tokenizer,
    feed: Feed,
    directory: Path,
    progress: Progress,
    watch: Watch,
    seed: int,
    processes: Alone | None = None,
) -> Transformer:
    """Train a new model on `feed` and write it to `directory/model`; resumes from the checkpoints there.

    With `processes` all of them train it together, and the first writes it.
    """
    model = new_model(settings.config(tokenizer.vocab_size), seed)
    snapshots = snapshots_of(settings, tokenizer, directory)
    train(model, feed, settings, directory, progress, watch, "pretrain", processes=processes, snapshots=snapshots)
    if processes is None or processes.is_first:
        keep_model(model, tokenizer, directory)
    return model


def new_model(config: ModelConfig, seed: int) -> Transformer:
    """An untrained model, the same for the same seed."""
    torch.manual_seed(seed)
    return Transformer(config)


def keep_model(model: Transformer, tokenizer: Tokenizer, directory: Path) -> None:
    """Write a stage's finished model with its tokenizer to `directory/model`."""
    save_model(model, directory / "model", token_ids=tokenizer.token_ids)
    tokenizer.save(directory / "model", context=model.config.context)
