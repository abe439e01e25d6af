"""What a rung of the ladder is, and the run that it makes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, Field, create_model

from cutaway.evals.measures import RESULTS
from cutaway.evals.plates import svg_file
from cutaway.pipeline.stage import Stage, StageContext
from cutaway.runs import Result, Settings, atomic, write_results

REPORT, DATA = "report.md", "data.json"


@dataclass(frozen=True)
class Found:
    """What came of a rung.

    Attributes:
        results: its figures.
        said: what a person reads first: one to five lines with the main figures.
        report: Markdown, below a title that is added; `![...](name.svg)` shows a picture.
        pictures: drawings by name, without an ending, as `cutaway.evals` draws them; "" where there is nothing to draw.
        data: what the pictures were drawn from, in JSON's types: what the page draws.
    """

    results: Sequence[Result]
    said: Sequence[str]
    report: str
    pictures: Mapping[str, str] = field(default_factory=dict[str, str])
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Rung:
    """One rung of the ladder.

    Attributes:
        name: what `cutaway ladder` calls it, and its module.
        title: the title of its report.
        settings: its section of the recipe; every field has a default that runs without data of one's own.
        climb: does it. `context.settings` are of the type above; what it keeps beside what it returns (models,
            metrics) it writes to `context.directory`, where an interrupted attempt may have left something.
        files: files outside the run that it reads, from its settings.
        costly: whether it takes minutes, so that what it made is never thrown away unasked.
    """

    name: str
    title: str
    settings: type[Settings]
    climb: Callable[[StageContext[Any]], Found]
    files: Callable[[Any], Iterable[Path]] = lambda settings: ()
    costly: bool = False

    @property
    def recipe(self) -> type[Settings]:
        """What a recipe of this rung may hold."""
        fields: dict[str, Any] = {
            "kind": (str, Field(default=f"ladder/{self.name}")),
            "seed": (int, Field(default=1, ge=0, lt=2**31)),
            self.name: (self.settings, Field(default_factory=self.settings)),
        }
        return create_model("LadderRecipe", __base__=Settings, **fields)

    @property
    def stages(self) -> tuple[Stage[Any], ...]:
        """The one stage of its run."""

        def settings(recipe: Any) -> BaseModel:
            return cast("BaseModel", getattr(recipe, self.name))

        return (
            Stage(
                name=self.name,
                verb="ladder",
                function=self._do,
                settings=settings,
                outputs=(RESULTS, REPORT, DATA, "*.svg", "model/**/*"),
                files=lambda recipe: self.files(settings(recipe)),
                costly=self.costly,
            ),
        )

    def _do(self, context: StageContext[Any]) -> None:
        found, directory = self.climb(context), context.directory
        report = found.report
        write_results(directory / RESULTS, found.results)
        atomic.write_json(directory / DATA, dict(found.data))
        for name, drawn in found.pictures.items():
            if drawn:
                atomic.write_text(directory / f"{name}.svg", svg_file(drawn))
            else:  # a curve of a single step, say
                report = re.sub(rf"!\[[^]]*\]\({re.escape(name)}\.svg\)\n*", "", report)
        atomic.write_text(directory / REPORT, f"# {self.title}\n\n{report.strip()}\n")
        for line in found.said:
            context.progress.say(line)
