"""What a stage is to the pipeline, and what the pipeline hands it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from cutaway.runs import Progress, RunDirectory
from cutaway.train.step import Alone

S = TypeVar("S", bound=BaseModel)


@dataclass(frozen=True)
class StageContext(Generic[S]):
    """All that a stage's function is given."""

    run: RunDirectory
    directory: Path
    """The stage's own directory; it exists. What an interrupted attempt left in it is still there, to resume from."""
    settings: S
    seed: int
    progress: Progress
    recipe: Any
    """The whole recipe, of whichever kind the stage is for."""
    processes: Alone = field(default_factory=Alone)
    """Those that do the stage together."""


@dataclass(frozen=True)
class Stage(Generic[S]):
    """One step of a run.

    A finished stage is not run again while its settings, its inputs and its outputs stay the same. Stopped half-way it
    is called again with its directory as it was; when settings or inputs changed, with an empty one.
    """

    name: str
    verb: str
    """The command that brings a run up to this stage; several stages may share one."""
    function: Callable[[StageContext[S]], None]
    settings: Callable[[Any], S]
    """Its section of the recipe."""
    inputs: tuple[str, ...] = ()
    """The stages whose outputs it reads."""
    outputs: tuple[str, ...] = ("**/*",)
    """Globs, below its directory, of the files that others may read. Logs and checkpoints, whose bytes differ from one
    time to the next, do not belong."""
    scratch: tuple[str, ...] = ("checkpoints",)
    """What in its directory is of no use once the stage has finished; removed only when the manifest says so."""
    uses: tuple[str, ...] = ("seed",)
    """What else of the recipe it reads ("owner", "sft.mixture"); a change there counts as a change of its settings."""
    files: Callable[[Any], Iterable[Path]] = lambda recipe: ()
    """Files and folders outside the run that it reads: inputs too."""
    costly: bool = False
    """Whether its outputs take so long to make that they are never thrown away unasked."""
    together: bool = False
    """Whether all processes of a run do it; any other stage is done by the first one alone."""
    optional: bool = False
    """Whether it runs only when asked for: a comparison that the finished assistant does not need."""
    place: str | None = None
    """The directory it works in, where that is another stage's: it then only adds its outputs there."""

    @property
    def folder(self) -> str:
        """The name of the directory it works in."""
        return self.place or self.name
