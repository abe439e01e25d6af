"""Runs as the page watches them: their stages, curves and samples, while they are made and afterwards."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from cutaway.runs import BadInput, RunDirectory
from cutaway.runs.manifest import MANIFEST, Manifest
from cutaway.serve.comparison_api import comparison_routes
from cutaway.serve.errors import ApiError
from cutaway.serve.gate import REPORT_POLICY
from cutaway.serve.merges_api import merges_routes
from cutaway.serve.service import Service
from cutaway.serve.trainings import LOG, RECIPE, Trainings
from cutaway.serve.trainings_api import trainings_routes

METRICS, SAMPLES, REPORT = "metrics.jsonl", "samples.jsonl", "report.html"
MOST_POINTS = 2_000
"""Steps of one answer; of more, every so many-th is told."""
MOST_SAMPLES = 400
MOST_BYTES = 64 << 20
"""Of a metrics file that are read at once; the rest is in the next answer."""
MOST_RUNS = 500

Name = Annotated[str, Query(min_length=1, max_length=200)]


class StageOfRun(BaseModel):
    """One stage of a run."""

    name: str
    state: str
    """running, finished or failed."""
    seconds: float
    error: str | None
    metrics: bool
    samples: bool
    corpus: bool
    """Whether it wrote down what became of its documents."""
    tokenizer: bool


class RunShape(BaseModel):
    """One run."""

    name: str
    seed: int | None
    stages: list[StageOfRun]
    alive: bool
    """Whether a process works on it now."""
    resumable: bool
    """Whether nobody does, and there is something left to do."""
    report: bool
    log: bool
    """Whether it was begun from the page, so that its log can be read there."""
    error: str | None = None
    """Why it cannot be read."""


class RunsShape(BaseModel):
    """Answer to GET /api/runs."""

    runs: list[RunShape]


class CurvesShape(BaseModel):
    """Answer to GET /api/runs/metrics: columns of equal length; null where a step has no such number."""

    columns: dict[str, list[float | None]]
    next: int
    """Where the file goes on: `after` of the next request."""
    every: int
    """Every so many-th step is told."""


class SampleShape(BaseModel):
    """What the model wrote at one step."""

    step: int
    prompt: str
    text: str


class SamplesShape(BaseModel):
    """Answer to GET /api/runs/samples."""

    samples: list[SampleShape]


def runs_routes(service: Service) -> APIRouter:
    """Everything under /api/runs: the runs that are served, and those beside them in the same folders."""
    router = APIRouter(prefix="/api/runs", tags=["page"])
    served = [offer.run for offer in service.offers if offer.run]
    trainings = Trainings(served[0].resolve().parent if served else None, service.begun)
    router.include_router(trainings_routes(trainings, lambda: beside(served)))
    router.include_router(merges_routes(lambda: beside(served)))
    router.include_router(comparison_routes(lambda: beside(served)))

    @router.get("")
    def runs() -> RunsShape:
        found = beside(served).items()
        return RunsShape(runs=[_run(name, path, alive=trainings.at_work(path)) for name, path in found])

    @router.get("/metrics")
    async def metrics(run: Name, stage: Name, after: Annotated[int, Query(ge=0, lt=2**53)] = 0) -> CurvesShape:
        """The steps that stand in the file from byte `after` on."""
        return await run_in_threadpool(_curves, _file(beside(served), run, stage, METRICS), after)

    @router.get("/samples")
    async def samples(run: Name, stage: Name) -> SamplesShape:
        return await run_in_threadpool(_samples, _file(beside(served), run, stage, SAMPLES))

    @router.get("/report", response_class=FileResponse)
    def report(run: Name) -> Response:
        path = beside(served).get(run)
        if path is None or not (path / REPORT).is_file():
            raise ApiError(404, f"there is no report of {run[:80]!r}; a run writes it at its end", code="no_report")
        return FileResponse(path / REPORT, media_type="text/html", headers={"Content-Security-Policy": REPORT_POLICY})

    return router


def beside(served: Iterable[Path]) -> dict[str, Path]:
    """Runs by name: those served first, then the others in the same folders by name."""
    found: dict[str, Path] = {}
    paths = [path.resolve() for path in served]
    others = (path for folder in dict.fromkeys(run.parent for run in paths) for path in sorted(folder.iterdir()))
    for path in (*paths, *others):
        if len(found) < MOST_RUNS and any((path / name).is_file() for name in (MANIFEST, RECIPE)):
            found.setdefault(path.name, path)
    return found


def _run(name: str, path: Path, *, alive: bool) -> RunShape:
    report, log = (path / REPORT).is_file(), (path / LOG).is_file()
    resumable = not alive and (path / RECIPE).is_file()
    try:
        manifest = Manifest.read(RunDirectory(path))
    except (BadInput, OSError) as error:
        return RunShape(
            name=name, seed=None, stages=[], alive=alive, resumable=resumable, report=report, log=log, error=str(error)
        )
    stages = [
        StageOfRun(
            name=stage,
            state=record.state,
            seconds=record.seconds,
            error=record.error,
            metrics=(path / stage / METRICS).is_file(),
            samples=(path / stage / SAMPLES).is_file(),
            corpus=stage == "corpus" and (path / stage / "stats.json").is_file(),
            tokenizer=(path / stage / "tokenizer.json").is_file(),
        )
        for stage, record in (manifest.stages if manifest else {}).items()
    ]
    return RunShape(
        name=name,
        seed=manifest.seed if manifest else None,
        stages=stages,
        alive=alive,
        resumable=resumable and not (report and all(stage.state == "finished" for stage in stages)),
        report=report,
        log=log,
    )


def _file(runs: dict[str, Path], run: str, stage: str, name: str) -> Path:
    path = runs.get(run)
    if path is None:
        raise ApiError(404, f"there is no run {run[:80]!r} here", param="run", code="run_not_found")
    # A stage is named by what is there, so that a name can lead nowhere else.
    if not any(stage == each.name for each in path.iterdir() if each.is_dir()):
        raise ApiError(404, f"{run} has no stage {stage[:80]!r}", param="stage", code="stage_not_found")
    return path / stage / name


def _curves(file: Path, after: int) -> CurvesShape:
    data = _lines(file, after)
    rows = _rows(data)
    every = max(1, -(-len(rows) // MOST_POINTS))
    # A step at which something was measured that is not measured at every step is told in any case.
    seldom = {key for row in rows for key in row} - set(rows[1] if len(rows) > 1 else ())
    kept = [row for i, row in enumerate(rows) if i % every == 0 or i == len(rows) - 1 or seldom & row.keys()]
    names = sorted({key for row in kept for key, value in row.items() if _number(value) is not None})
    columns = {name: [_number(row.get(name)) for row in kept] for name in names}
    return CurvesShape(columns=columns, next=after + len(data), every=every)


def _samples(file: Path) -> SamplesShape:
    rows = _rows(_lines(file, 0))[-MOST_SAMPLES:]
    return SamplesShape(
        samples=[
            SampleShape(step=row["step"], prompt=str(row.get("prompt", "")), text=str(row.get("text", "")))
            for row in rows
            if isinstance(row.get("step"), int)
        ]
    )


def _lines(file: Path, after: int) -> bytes:
    """Whole lines from byte `after` on; a line that is being written is left for the next time."""
    try:
        with file.open("rb") as source:
            source.seek(after)
            data = source.read(MOST_BYTES)
    except FileNotFoundError:
        return b""
    return data[: data.rfind(b"\n") + 1]


def _rows(data: bytes) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for line in data.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue  # a line torn by a kill, which the run's own resumption cuts off
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
