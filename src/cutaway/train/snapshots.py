"""Snapshots: models kept on the way of a training, on a scale of ratios, to see how one came about.

They are not what a run resumes from (see `cutaway.train.checkpoint`): each is a model directory of its own, weights and
tokenizer and nothing of the optimiser.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from cutaway.model import Transformer, save_model
from cutaway.runs import atomic
from cutaway.tokens import Tokenizer
from cutaway.train.checkpoint import directory_of
from cutaway.train.settings import LoopSettings

SNAPSHOTS = "snapshots"


class SnapshotSettings(LoopSettings):
    """How a model is trained, and how often it is kept on the way."""

    BOOKKEEPING: ClassVar[frozenset[str]] = LoopSettings.BOOKKEEPING | {"snapshots"}

    snapshots: int = Field(
        default=0, ge=0, le=64, description="models kept on the way: before the first step, and at steps in even ratios"
    )


@dataclass(frozen=True)
class Snapshots:
    """At which steps a model is kept, and how; 0 is before the first."""

    at: frozenset[int]
    write: Callable[[Any, int], None]


def snapshots_of(settings: SnapshotSettings, tokenizer: Tokenizer, directory: Path) -> Snapshots:
    """Those that a stage's settings ask for, as `directory/snapshots/step-000064/`, each a model directory."""

    def write(model: Transformer, step: int) -> None:
        with atomic.directory(directory_of(directory / SNAPSHOTS, step)) as place:
            save_model(model, place, token_ids=tokenizer.token_ids)
            tokenizer.save(place, context=model.config.context)

    return Snapshots(snapshot_steps(settings.steps, settings.snapshots), write)


def snapshot_steps(steps: int, count: int) -> frozenset[int]:
    """0, and up to `count` - 1 steps from 1 on in even ratios; not the last, whose model is the stage's own.

    Most is learned in the first steps: the loss of a language model falls about as far from the first step to the tenth
    as from the hundredth to the thousandth.
    """
    ratio = steps ** (1 / (count - 1)) if count > 1 else 1.0
    return frozenset({0} | {round(ratio**k) for k in range(count - 1)} - {steps}) if count else frozenset()


def snapshots_in(directory: Path) -> dict[int, Path]:
    """The whole snapshots of a stage's directory, by step in order."""
    found = (path for path in (directory / SNAPSHOTS).glob("step-*") if (path / "config.json").is_file())
    return dict(sorted((int(path.name.removeprefix("step-")), path) for path in found))
