"""A run of several processes: the first goes through the stages, and calls the others where a model is trained.

Only the first holds the run's lock, keeps its manifest and tells a person how far it is.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cutaway.pipeline.stage import Stage, StageContext
from cutaway.runs import CutawayError, RunDirectory, SilentProgress
from cutaway.train.step import Alone

SECONDS_TO_SPEAK = 10.0
"""What goes wrong in one process mostly does so in all; so long the first one has to tell of it for them."""


@dataclass(frozen=True)
class Call:
    """What the first process asks the others to do with it."""

    stage: str
    run: Path
    recipe: Any


def follow(stages: Sequence[Stage[Any]], processes: Alone) -> None:
    """Join in the stages that the first process calls for, until it calls no more or has ended."""
    nothing: Call | None = None
    while call := heard(processes, nothing):
        recipe, run = call.recipe, RunDirectory(call.run)
        stage = next(stage for stage in stages if stage.name == call.stage)
        directory = run.stage(stage.folder)
        try:
            stage.function(
                StageContext(run, directory, stage.settings(recipe), recipe.seed, SilentProgress(), recipe, processes)
            )
        except CutawayError:
            time.sleep(SECONDS_TO_SPEAK)
            raise


def heard(processes: Alone, nothing: Call | None) -> Call | None:
    """The first process's next call, or `nothing` if there is none because it has ended."""
    try:
        return processes.same(nothing)
    except RuntimeError:
        return nothing
