"""Several runs side by side: in which settings they differ, and what was measured of one stage's model in each."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from cutaway.runs import BadInput, Result, read_results
from cutaway.serve.errors import ApiError
from cutaway.serve.trainings import RECIPE

MAX_COMPARED = 6

Name = Annotated[str, Query(min_length=1, max_length=200)]


class DifferenceShape(BaseModel):
    """A setting that is not the same in all runs, run by run; null: the run has no such setting."""

    key: str
    values: list[str | None]


class MeasuredShape(BaseModel):
    """A figure that was measured in any of the runs, run by run; null: it was not measured there."""

    metric: str
    unit: str
    higher_is_better: bool
    values: list[float | None]
    n: list[int | None]
    """On how many items."""


class ComparisonShape(BaseModel):
    """Answer to GET /api/runs/comparison."""

    runs: list[str]
    settings: list[DifferenceShape]
    measured: list[MeasuredShape]


def comparison_routes(runs: Callable[[], dict[str, Path]]) -> APIRouter:
    """GET /comparison under /api/runs. `runs` are those there are, by name."""
    router = APIRouter()

    @router.get("/comparison")
    async def comparison(
        run: Annotated[list[Name], Query(min_length=1, max_length=MAX_COMPARED)], stage: Name
    ) -> ComparisonShape:
        """The runs in the order in which they are named."""
        there = runs()
        absent = next((name for name in run if name not in there), None)
        if absent is not None:
            raise ApiError(404, f"there is no run {absent[:80]!r} here", param="run", code="run_not_found")
        return await run_in_threadpool(_compared, {name: there[name] for name in run}, stage)

    return router


def _compared(runs: Mapping[str, Path], stage: str) -> ComparisonShape:
    settings = [dict(_settings(path / RECIPE)) for path in runs.values()]
    keys = dict.fromkeys(key for each in settings for key in each)
    rows = [(key, [each.get(key) for each in settings]) for key in keys]
    results = [_results(path, stage) for path in runs.values()]
    metrics = dict.fromkeys(metric for each in results for metric in each)
    return ComparisonShape(
        runs=list(runs),
        settings=[DifferenceShape(key=key, values=values) for key, values in rows if len(set(values)) > 1],
        measured=[_measured(metric, [each.get(metric) for each in results]) for metric in metrics],
    )


def _settings(file: Path) -> Iterator[tuple[str, str]]:
    """A recipe's values as a person would write them, by dotted key; none where it cannot be read."""
    try:
        yield from _flat(tomllib.loads(file.read_text("utf-8")))
    except (OSError, ValueError):
        return


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, json.dumps(value, ensure_ascii=False, default=str)[:200]


def _results(run: Path, stage: str) -> dict[str, Result]:
    """What was measured of a stage's model, by metric; nothing before it was."""
    # A stage is named by what is there, so that a name can lead nowhere else.
    if not any(stage == each.name for each in run.iterdir() if each.is_dir()):
        return {}
    try:
        return {result.metric: result for result in read_results(run / stage / "evals.json")}
    except BadInput:
        return {}


def _measured(metric: str, found: Sequence[Result | None]) -> MeasuredShape:
    first = next(result for result in found if result)
    return MeasuredShape(
        metric=metric,
        unit=first.unit,
        higher_is_better=first.higher_is_better,
        values=[result.value if result and math.isfinite(result.value) else None for result in found],
        n=[result.n if result else None for result in found],
    )
