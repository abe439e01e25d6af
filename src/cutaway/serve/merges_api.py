"""What a run's tokenizer learned: its merges, in the order in which they were learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from cutaway.runs import BadInput
from cutaway.serve.errors import ApiError
from cutaway.serve.page_api import TokenShape, token_shape
from cutaway.tokens import Tokenizer
from cutaway.tokens.inspection import Merges

MAX_MERGES = 200
"""Merges that are told at once."""


class LearnedShape(BaseModel):
    """One merge: two tokens that became one."""

    rank: int
    """Its place among all, from 0."""
    left: TokenShape
    right: TokenShape
    joined: TokenShape


class LearnedMergesShape(BaseModel):
    """Answer to GET /api/runs/merges."""

    total: int
    """Merges in all."""
    merges: list[LearnedShape]


@dataclass(frozen=True)
class Learned:
    """A tokenizer without a model, and its merges."""

    tokenizer: Tokenizer
    merges: Merges
    pairs: tuple[tuple[str, str], ...]


def merges_routes(runs: Callable[[], dict[str, Path]]) -> APIRouter:
    """GET /merges under /api/runs. `runs` are those there are, by name."""
    router = APIRouter()

    @router.get("/merges")
    async def merges(
        run: Annotated[str, Query(min_length=1, max_length=200)],
        first: Annotated[int, Query(ge=0, lt=2**31)] = 0,
        count: Annotated[int, Query(ge=1, le=MAX_MERGES)] = 50,
    ) -> LearnedMergesShape:
        """Some merges from the place `first` on."""
        path = runs().get(run)
        if path is None:
            raise ApiError(404, f"there is no run {run[:80]!r} here", param="run", code="run_not_found")
        file = path / "tokenizer" / "tokenizer.json"
        if not file.is_file():
            raise ApiError(404, f"{run} has no tokenizer yet; its stage `tokenizer` makes one", param="run")
        return await run_in_threadpool(_told, file, first, count)

    return router


def _told(file: Path, first: int, count: int) -> LearnedMergesShape:
    try:
        learned = _learned(file, file.stat().st_mtime_ns)
    except BadInput as error:
        raise ApiError(400, str(error), param="run") from error

    def shape(symbol: str) -> TokenShape:
        return token_shape(learned, learned.merges.ids[symbol])

    some = enumerate(learned.pairs[first : first + count], first)
    return LearnedMergesShape(
        total=len(learned.pairs),
        merges=[
            LearnedShape(rank=rank, left=shape(left), right=shape(right), joined=shape(left + right))
            for rank, (left, right) in some
        ],
    )


@lru_cache(maxsize=4)
def _learned(file: Path, changed: int) -> Learned:
    """A tokenizer's merges; what `changed` when it was last read is read anew. Raises `BadInput` if it has none."""
    tokenizer = Tokenizer.load(file)
    merges = Merges(tokenizer)
    return Learned(tokenizer, merges, tuple(merges.ranks))
