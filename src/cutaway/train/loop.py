"""The loop that every model of the house trains through."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import Field

from cutaway.model import ModelConfig, Transformer
from cutaway.model.anatomy import anatomy_of
from cutaway.model.flops import flops_of
from cutaway.runs import CutawayError, MetricsLog, Progress, Settings
from cutaway.train.checkpoint import Position, load_checkpoint, save_checkpoint
from cutaway.train.machine import can_compile, compute_dtype, matmul_flops
from cutaway.train.optimizer import Optimizer, OptimizerSettings
from cutaway.train.rows import Rows
from cutaway.train.step import TrainStep

COMPILE_PAYS_AFTER = 1_000_000
"""Tokens from which on a compiled step has won back the half minute that a cold compilation takes."""


class LoopSettings(Settings):
    """How long to train, in what portions, and how the learning rate goes."""

    tokens: int = Field(ge=1, description="tokens to train on in all")
    batch_tokens: int = Field(default=2048, ge=32, description="tokens a step")
    row_length: int = Field(default=256, ge=16, description="tokens a row: how far back training looks")
    warmup: float = Field(default=0.02, ge=0, le=1, description="share of the steps in which the learning rate rises")
    decay: float = Field(default=0.5, ge=0, le=1, description="share of the steps in which it falls, at the end")
    final: float = Field(default=0.0, ge=0, le=1, description="where it falls to, as a share of the highest")
    clip: float = Field(default=1.0, gt=0, description="largest norm of a step's gradient")
    optimizer: OptimizerSettings = OptimizerSettings()
    compile: bool | None = Field(default=None, description="torch.compile; left out: where it pays for itself")
    checkpoint_seconds: float = Field(default=60.0, gt=0, description="seconds between checkpoints")

    @property
    def batch_rows(self) -> int:
        """Rows a step."""
        return max(1, self.batch_tokens // self.row_length)

    @property
    def steps(self) -> int:
        """Steps in all."""
        return max(1, self.tokens // (self.batch_rows * self.row_length))

    def scale(self, step: int) -> float:
        """The learning rate of a step as a share of the highest: up, level, down (warm-up, stable, decay)."""
        rising, falling = max(1, round(self.warmup * self.steps)), max(1, round(self.decay * self.steps))
        up = (step + 1) / rising
        down = self.final + (1 - self.final) * (self.steps - step) / falling
        return min(1.0, up, down)


@dataclass(frozen=True)
class Watch:
    """What to look at during training: called with the model at the first step, each `every` steps and the last.

    It gives figures for that step's line of metrics, such as `val_bpb`.
    """

    every: int
    look: Callable[[Transformer, int], dict[str, float]]


def train(
    model: Transformer, rows: Rows, settings: LoopSettings, directory: Path, progress: Progress, watch: Watch, name: str
) -> None:
    """Train `model` in place on `rows`, resuming from the last checkpoint in `directory` if there is one.

    Writes `metrics.jsonl` and `checkpoints/`. A resumed run ends with the same bits as an unbroken one.

    Raises:
        CutawayError: the loss or its gradient is not finite; the checkpoint before it stays.
    """
    torch.manual_seed(0)
    optimizer = Optimizer(model, settings.optimizer)
    position = load_checkpoint(directory / "checkpoints", model, optimizer) or Position(0, 0.0)
    log = MetricsLog(directory / "metrics.jsonl")
    log.truncate_after(position.step)
    dtype = compute_dtype()
    compiled = settings.tokens >= COMPILE_PAYS_AFTER if settings.compile is None else settings.compile
    step_once = TrainStep(model, optimizer, compiled=compiled and can_compile(), dtype=dtype, clip=settings.clip)
    step_tokens = settings.batch_rows * settings.row_length
    ceiling = matmul_flops(dtype)
    spent, saved_at = position.seconds, time.monotonic()
    with progress.task(name, settings.steps, "steps") as task:
        for step in range(position.step, settings.steps):
            began = time.perf_counter()
            scale = settings.scale(step)
            inputs, targets, learned = rows.batch(step, settings.batch_rows)
            loss, norm = step_once(inputs, targets, learned, scale=scale)
            seconds = time.perf_counter() - began
            spent += seconds
            if not (abs(loss) < float("inf") and norm < float("inf")):
                raise CutawayError(
                    f"the loss or its gradient is not finite at step {step} of {name} (loss {loss}, norm {norm}); "
                    "lower the learning rates and run again: it goes on from the last checkpoint"
                )
            speed = step_tokens / seconds
            flops = flops_per_token(model.config, settings.row_length, learned=float(learned.float().mean()))
            figures = {
                "step": step + 1,
                "tokens": (step + 1) * step_tokens,
                "seconds": round(spent, 3),
                "loss": loss,
                "lr": scale * settings.optimizer.muon_lr,
                "grad_norm": norm,
                "tokens_per_second": round(speed, 1),
                "flops_utilization": round(speed * flops / ceiling, 4),
            }
            last = step + 1 == settings.steps
            if last or step == 0 or (step + 1) % watch.every == 0:
                figures |= watch.look(model, step + 1)
                model.train()
            log.append(figures)
            shown = {key: figures[key] for key in ("val_bpb",) if key in figures}
            task.update(step + 1, loss=loss, tok_s=speed, mfu=figures["flops_utilization"], **shown)
            if last or time.monotonic() - saved_at > settings.checkpoint_seconds:
                save_checkpoint(directory / "checkpoints", Position(step + 1, spent), model, optimizer)
                saved_at = time.monotonic()
    model.eval().requires_grad_(False)


def flops_per_token(config: ModelConfig, length: int, *, learned: float = 1.0) -> float:
    """Operations of a training step for one token of a row of `length`: forward, and twice that backward.

    As `cutaway.model.flops` counts them, but the unembedding only for the share of tokens that is `learned`.
    """
    once = flops_of(anatomy_of(config), length)[-1]
    return 3 * (once.forward - (1 - learned) * once.unembedding)
