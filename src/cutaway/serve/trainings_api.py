"""Training from the page: what can be started, starting, stopping and resuming it, and its log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi import Request as HTTPRequest
from pydantic import BaseModel, Field, StringConstraints
from starlette.concurrency import run_in_threadpool

from cutaway.pipeline.find import shipped_recipes
from cutaway.serve.errors import ApiError
from cutaway.serve.requests import Request
from cutaway.serve.shapes import ErrorShape
from cutaway.serve.trainings import RECIPE, Plan, Trainings, tail

MAX_DEPTH = 16
MIN_TOKENS, MAX_TOKENS = 1_000, 10**11

RunName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
NewName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]

REFUSED: dict[int | str, dict[str, Any]] = {
    409: {"model": ErrorShape, "description": "The runs do not stand so that this can be done; the message says why."},
    507: {"model": ErrorShape, "description": "It cannot be written: the disk is full, or the place is not ours."},
}


class PlanShape(BaseModel):
    """A recipe that a run can be started from, with what can be set of it; null: it has no such setting."""

    recipe: str
    of_run: bool
    """Whether it is the recipe of the run of that name, or one that comes with Cutaway."""
    seed: int
    tokens: int | None
    depth: int | None


class PlansShape(BaseModel):
    """Answer to GET /api/runs/recipes."""

    folder: str | None
    """Where new runs go; null: nothing can be started here."""
    plans: list[PlanShape]


class StartRequest(Request):
    """POST /api/runs/start: a new run of a recipe. What is not given stays as the recipe has it."""

    recipe: RunName
    of_run: bool = False
    name: NewName
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    tokens: Annotated[int, Field(ge=MIN_TOKENS, le=MAX_TOKENS)] | None = None
    depth: Annotated[int, Field(ge=1, le=MAX_DEPTH)] | None = None


class NamedRequest(Request):
    """POST /api/runs/stop and /api/runs/resume."""

    run: RunName


class BegunShape(BaseModel):
    """The run that was started, resumed or asked to stop."""

    run: str


class LogShape(BaseModel):
    """Answer to GET /api/runs/log: its last lines; none where the run was begun in a terminal."""

    lines: list[str]


def trainings_routes(trainings: Trainings, runs: Callable[[], dict[str, Path]]) -> APIRouter:
    """What stands under /api/runs and changes runs. `runs` are those there are, by name."""
    router = APIRouter()

    def known(name: str) -> Path:
        path = runs().get(name)
        if path is None:
            raise ApiError(404, f"there is no run {name[:80]!r} here", param="run", code="run_not_found")
        return path

    @router.get("/recipes")
    def recipes() -> PlansShape:
        """The recipes that need no more than themselves."""
        found = trainings.plans(runs()) if trainings.folder else []
        shapes = [PlanShape(recipe=p.name, of_run=p.of_run, seed=p.seed, tokens=p.tokens, depth=p.depth) for p in found]
        return PlansShape(folder=str(trainings.folder) if trainings.folder else None, plans=shapes)

    @router.post("/start", responses=REFUSED)
    async def start(request: HTTPRequest, asked: StartRequest) -> BegunShape:
        """Begin a new run, which goes on when the server ends."""
        _must_rule(request)
        return BegunShape(run=await run_in_threadpool(_start, asked))

    def _start(asked: StartRequest) -> str:
        there = runs()
        plan = next((p for p in trainings.plans(there) if (p.name, p.of_run) == (asked.recipe, asked.of_run)), None)
        if plan is None:
            raise ApiError(404, f"there is no recipe {asked.recipe[:80]!r} to start from here", param="recipe")
        source = there[plan.name] / RECIPE if plan.of_run else shipped_recipes()[plan.name]
        return trainings.start(plan, source, asked.name, _overrides(asked, plan), there).name

    @router.post("/resume", responses=REFUSED)
    async def resume(request: HTTPRequest, asked: NamedRequest) -> BegunShape:
        """Go on with a run where it stopped."""
        _must_rule(request)
        await run_in_threadpool(lambda: trainings.resume(known(asked.run), runs()))
        return BegunShape(run=asked.run)

    @router.post("/stop", responses=REFUSED)
    async def stop(request: HTTPRequest, asked: NamedRequest) -> BegunShape:
        """Ask the process that works on a run to stop; it leaves a checkpoint, which takes it a moment."""
        _must_rule(request)
        await run_in_threadpool(lambda: trainings.stop(known(asked.run)))
        return BegunShape(run=asked.run)

    @router.get("/log")
    async def log(run: Annotated[str, Query(min_length=1, max_length=200)]) -> LogShape:
        return LogShape(lines=await run_in_threadpool(lambda: tail(known(run))))

    return router


def _must_rule(request: HTTPRequest) -> None:
    """Raise `ApiError` 403 for who has a key: that is for asking models, the token for what the machine does."""
    if request.scope["state"]["owner"]:
        raise ApiError(403, "a key is for asking models; training needs the server's own token", code="needs_token")


def _overrides(asked: StartRequest, plan: Plan) -> list[str]:
    """What is set, as `--set` has it. Raises `ApiError` 400 for what the recipe has no setting for."""
    given = {"seed": asked.seed, "pretrain.tokens": asked.tokens, "pretrain.depth": asked.depth}
    can = {"seed": True, "pretrain.tokens": plan.tokens is not None, "pretrain.depth": plan.depth is not None}
    for key, value in given.items():
        if value is not None and not can[key]:
            param = key.rpartition(".")[2]
            raise ApiError(400, f"{param} cannot be set for {asked.recipe[:80]} here; leave it out", param=param)
    return [f"{key}={value}" for key, value in given.items() if value is not None]
