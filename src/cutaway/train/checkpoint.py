"""Checkpoints: a directory a step, written whole or not at all."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from cutaway.model import Transformer
from cutaway.runs import BadInput, atomic
from cutaway.train.optimizer import Optimizer


@dataclass(frozen=True)
class Position:
    """How far a run has come: steps done and seconds spent on them."""

    step: int
    seconds: float


def save_checkpoint(root: Path, position: Position, model: Transformer, optimizer: Optimizer, *, keep: int = 2) -> None:
    """Write `step-000500/` and drop all but the last `keep`. On a full disk the earlier ones stay as they were."""
    with atomic.directory(root / f"step-{position.step:06d}") as directory:
        save_file(
            {name: weight.contiguous() for name, weight in unique_weights(model).items()},
            directory / "model.safetensors",
        )
        state = {name: value.contiguous() for name, value in optimizer.state_dict().items()}
        save_file(state, directory / "optimizer.safetensors")
        (directory / "position.json").write_text(json.dumps({"step": position.step, "seconds": position.seconds}))
    for old in checkpoints(root)[:-keep]:
        shutil.rmtree(old)


def load_checkpoint(root: Path, model: Transformer, optimizer: Optimizer) -> Position | None:
    """Put the last checkpoint's state into model and optimiser; None if there is none.

    Raises `BadInput` naming the file that is damaged.
    """
    found = checkpoints(root)
    if not found:
        return None
    directory = found[-1]
    try:
        weights = load_file(directory / "model.safetensors")
        moments = load_file(directory / "optimizer.safetensors")
        position = Position(**json.loads((directory / "position.json").read_text()))
        with torch.no_grad():
            for name, weight in unique_weights(model).items():
                weight.copy_(weights[name])
        optimizer.load_state_dict(moments)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise BadInput(
            f"the checkpoint {directory} is damaged ({error}); delete that directory to go on from the one before"
        ) from None
    return position


def checkpoints(root: Path) -> list[Path]:
    """The whole checkpoints, oldest first."""
    return sorted(path for path in root.glob("step-*") if path.is_dir())


def unique_weights(model: Transformer) -> dict[str, torch.Tensor]:
    """Weights by name, a shared one once."""
    return {name: weight.detach() for name, weight in model.named_parameters()}
