"""How a model is trained: the settings that every kind of training shares."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field

from cutaway.runs import Settings
from cutaway.train.machine import compute_dtype, device
from cutaway.train.optimizer import OptimizerSettings

Schedule = Literal["stable", "cosine", "linear"]
TOKENS_AT_ONCE = 2048
"""On a processor."""
Tracker = Literal["tensorboard", "wandb", "trackio"]
Parallel = Literal["replicate", "shard", "tensor"]


class LoopSettings(Settings):
    """How long to train, in what portions, how the learning rate goes, and what is kept."""

    BOOKKEEPING: ClassVar[frozenset[str]] = frozenset(("parallel", "nonfinite", "checkpoint_seconds", "keep", "track"))
    """Settings that another training of the same model may differ in: a run goes on when they are changed."""

    tokens: int = Field(ge=1, description="tokens to train on in all")
    batch_tokens: int = Field(default=2048, ge=32, description="tokens a step")
    row_length: int = Field(default=256, ge=16, description="tokens a row: how far back training looks")
    micro_rows: int = Field(
        default=0, ge=0, description="rows at once; a step's others follow one after another. 0: all"
    )
    schedule: Schedule = Field(default="stable", description="stable (level until `decay`), cosine or linear")
    warmup: float = Field(default=0.02, ge=0, le=1, description="share of the steps in which the learning rate rises")
    decay: float = Field(default=0.5, ge=0, le=1, description="share of the steps in which it falls, if it is stable")
    final: float = Field(default=0.0, ge=0, le=1, description="where it falls to, as a share of the highest")
    clip: float = Field(default=1.0, gt=0, allow_inf_nan=True, description="largest norm of a step's gradient")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="share of each branch's output that is left out")
    z_loss: float = Field(default=0.0, ge=0, description="weight of log² of the softmax's denominator")
    ema: float = Field(default=0.0, ge=0, lt=1, description="decay of the average of the weights; 0: no average")
    optimizer: OptimizerSettings = OptimizerSettings()
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="of matrix products; auto: whichever this machine was measured to be faster in"
    )
    compile: bool | None = Field(default=None, description="torch.compile; left out: where it pays for itself")
    recompute: bool = Field(default=False, description="work each block out again backward instead of keeping it")
    parallel: Parallel = Field(
        default="replicate",
        description="among processes: the weights in each; divided (FSDP); or every block's products divided (tensor)",
    )
    nonfinite: Literal["stop", "skip"] = Field(
        default="stop", description="what a loss or gradient that is not finite does to the run: end it, or be left out"
    )
    patience: int = Field(default=0, ge=0, description="looks without a better one until training ends early; 0: never")
    checkpoint_seconds: float = Field(default=60.0, gt=0, description="seconds between checkpoints")
    keep: int = Field(default=2, ge=1, description="latest checkpoints kept; with `patience` the best one too")
    track: tuple[Tracker, ...] = Field(default=(), description="where metrics go beside metrics.jsonl")

    @property
    def batch_rows(self) -> int:
        """Rows a step."""
        return max(1, self.batch_tokens // self.row_length)

    @property
    def dtype(self) -> torch.dtype:
        """What matrices are multiplied in."""
        return compute_dtype() if self.precision == "auto" else getattr(torch, self.precision)

    @property
    def rows_at_once(self) -> int:
        """Rows that go through the model together; 0 for all of a step's.

        On a processor so many that what passes between operations stays in its caches.
        """
        return self.micro_rows or (0 if device().type == "cuda" else max(1, TOKENS_AT_ONCE // self.row_length))

    @property
    def steps(self) -> int:
        """Steps in all."""
        return max(1, self.tokens // (self.batch_rows * self.row_length))

    def scale(self, step: int) -> float:
        """The learning rate of a step, counted from 0, as a share of the highest.

        It rises in a line. Then `stable` is level and falls in a line at the end (Hu et al. 2024, MiniCPM); `cosine`
        falls as half a cosine (Loshchilov and Hutter 2017, eq. 5); `linear` falls in a line.
        """
        rising = max(1, round(self.warmup * self.steps))
        up = min(1.0, (step + 1) / rising)
        if self.schedule == "stable":
            falling = max(1, round(self.decay * self.steps))
            return min(up, self.final + (1 - self.final) * (self.steps - step) / falling)
        if step < rising:
            return up
        left = (self.steps - step) / max(1, self.steps - rising + 1)
        fallen = left if self.schedule == "linear" else (1 - math.cos(math.pi * left)) / 2
        return self.final + (1 - self.final) * fallen
