"""A run of several processes: the first goes through the stages, and calls the others where a model is trained.

Only the first holds the run's lock, keeps its manifest and tells a person how far it is.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cutaway.pipeline.stage import Stage, StageContext
from cutaway.runs import CutawayError, RunDirectory, SilentProgress
from cutaway.train.step import Alone

SECONDS_TO_SPEAK = 10.0
"""Until another than the first tells of an error; `torchrun` ends it sooner if the first has ended with one."""


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
        with first_speaks(processes):
            stage.function(
                StageContext(run, directory, stage.settings(recipe), recipe.seed, SilentProgress(), recipe, processes)
            )


@contextmanager
def first_speaks(processes: Alone) -> Generator[None]:
    """Within the block what goes wrong mostly does so in all processes: the first has time to tell of it for them."""
    try:
        yield
    except CutawayError:
        if not processes.is_first:
            time.sleep(SECONDS_TO_SPEAK)
        raise


def heard(processes: Alone, nothing: Call | None) -> Call | None:
    """The first process's next call, or `nothing` if there is none because it has ended."""
    try:
        return processes.same(nothing)
    except RuntimeError:
        return nothing
