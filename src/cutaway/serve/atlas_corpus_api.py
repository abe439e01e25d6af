"""What the atlas draws of a run's data: the way from raw text to documents, what was taken out, and the shards."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from cutaway.corpus.build import read_texts
from cutaway.runs import BadInput
from cutaway.serve.errors import ApiError
from cutaway.serve.page_api import TokenShape, token_shape
from cutaway.serve.runs_api import beside
from cutaway.serve.service import Service
from cutaway.tokens import Tokenizer
from cutaway.tokens.shards import read_shard, shard_info

MAX_SHOWN = 160
"""Tokens of a shard that are shown at once."""
MAX_HELDOUT = 4_000
"""Characters of a held-out document that are sent."""
LONG_ENOUGH = 1_500
"""Characters from which on a held-out document has something to tell of context."""
STATS, HELDOUT = "stats.json", "heldout.parquet"

Name = Annotated[str, Query(min_length=1, max_length=200)]


class FlowShape(BaseModel):
    """What there was after one step."""

    name: str
    documents: int
    bytes: int
    aside: bool = False
    """Whether this is what the step set aside, rather than what goes on."""


class TakenOutShape(BaseModel):
    """What one rule took out, and some of it."""

    rule: str
    unit: str
    """What is counted: paragraphs or documents."""
    count: int
    bytes: int
    samples: list[SampleOut]


class SampleOut(BaseModel):
    """Something that was taken out."""

    where: str
    text: str
    like: str | None = None
    """What it was too like, where that was the reason."""
    similarity: float | None = None
    value: float | str | None = None
    """What the rule measured of it."""
    threshold: float | str | None = None


class SourceShape(BaseModel):
    """One source of the corpus in the end."""

    name: str
    documents: int
    bytes: int
    heldout_documents: int
    heldout_bytes: int


class ShardShape(BaseModel):
    """One file of token ids."""

    name: str
    tokens: int
    bytes: int


class ShareShape(BaseModel):
    """How much of what pretraining reads comes from one source."""

    name: str
    share: float


class CorpusShape(BaseModel):
    """A run's data."""

    run: str
    flow: list[FlowShape]
    taken_out: list[TakenOutShape]
    sources: list[SourceShape]
    shards: list[ShardShape]
    mixture: list[ShareShape]


class CorporaShape(BaseModel):
    """Answer to GET /api/atlas/corpus."""

    runs: list[str]
    """Those that have a corpus."""
    corpus: CorpusShape | None


class ShardPieceShape(BaseModel):
    """Answer to GET /api/atlas/shard."""

    at: int
    tokens: list[TokenShape]


class HeldOutText(BaseModel):
    """Answer to GET /api/atlas/heldout: text that no stage was trained on; none where the run holds nothing out."""

    document: str | None = None
    text: str | None = None


def atlas_corpus_routes(service: Service) -> APIRouter:
    """The part of /api/atlas that reads a run's data."""
    router = APIRouter(prefix="/api/atlas", tags=["page"])
    served = [offer.run for offer in service.offers if offer.run]

    @router.get("/corpus")
    def corpus(run: Name | None = None) -> CorporaShape:
        """The corpus of a run; of the first that has one, where none is named."""
        found = {name: path for name, path in beside(served).items() if (path / "corpus" / STATS).is_file()}
        if run is not None and run not in found:
            raise ApiError(404, f"there is no run {run[:80]!r} with a corpus here", param="run", code="run_not_found")
        name = run or next(iter(found), None)
        return CorporaShape(runs=list(found), corpus=_corpus(name, found[name]) if name else None)

    @router.get("/shard")
    async def shard(run: Name, shard: Name, at: Annotated[int, Query(ge=0, lt=2**53)] = 0) -> ShardPieceShape:
        """Some tokens of a shard from a place on, as they lie there."""
        path = beside(served).get(run)
        file = _shards(path).get(shard) if path else None
        if path is None or file is None:
            raise ApiError(404, f"{run[:80]} has no shard {shard[:80]!r}", param="shard", code="shard_not_found")
        return await run_in_threadpool(_piece, path, file, at)

    @router.get("/heldout")
    async def heldout(model: Annotated[str | None, Query(max_length=200)] = None) -> HeldOutText:
        """A document that the model's run kept from its training, long enough to have a context."""
        run = service.offer(model).run
        file = run / "corpus" / HELDOUT if run else None
        if file is None or not file.is_file():
            return HeldOutText()
        return await run_in_threadpool(_heldout, file)

    return router


@dataclass(frozen=True)
class _Reader:
    """A tokenizer without a model."""

    tokenizer: Tokenizer


def _piece(run: Path, file: Path, at: int) -> ShardPieceShape:
    try:
        reader = _Reader(Tokenizer.load(run / "tokenizer"))
        ids = read_shard(file)
    except BadInput as error:
        raise ApiError(400, str(error), param="shard") from error
    at = max(0, min(at, len(ids) - MAX_SHOWN))
    return ShardPieceShape(at=at, tokens=[token_shape(reader, int(id_)) for id_ in ids[at : at + MAX_SHOWN]])


def _heldout(file: Path) -> HeldOutText:
    try:
        documents = read_texts(file)
    except BadInput as error:
        raise ApiError(400, str(error)) from error
    long = [document for document in documents if len(document.text) >= LONG_ENOUGH]
    chosen = next(iter(long), None) or max(documents, key=lambda document: len(document.text), default=None)
    if chosen is None:
        return HeldOutText()
    return HeldOutText(document=chosen.id, text=chosen.text[:MAX_HELDOUT])


def _corpus(name: str, run: Path) -> CorpusShape:
    file = run / "corpus" / STATS
    try:
        stats: dict[str, Any] = json.loads(file.read_text("utf-8"))
        crawled = isinstance(stats["steps"], dict)
        flow, taken_out, sources = _crawled(stats) if crawled else _built(stats)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ApiError(500, f"{file} cannot be read: {error!r}; build the corpus again", code="server_error") from error
    shards: list[ShardShape] = []
    for shard, path in _shards(run).items():
        try:
            shards.append(ShardShape(name=shard, tokens=shard_info(path).n_tokens, bytes=path.stat().st_size))
        except BadInput as error:
            raise ApiError(400, str(error)) from error
    return CorpusShape(run=name, flow=flow, taken_out=taken_out, sources=sources, shards=shards, mixture=_mixture(run))


Told = tuple[list[FlowShape], list[TakenOutShape], list[SourceShape]]


def _built(stats: Mapping[str, Any]) -> Told:
    """What `cutaway.corpus.build` wrote down."""
    flow = [
        _flow(step["step"], step["sources"]).model_copy(update={"aside": step["step"] == "held out"})
        for step in stats["steps"]
    ]
    if "world" in stats["train"]:
        flow.append(_flow("texts of the invented world added", stats["train"]))
    taken_out = [
        TakenOutShape(
            rule=rule,
            unit="paragraphs",
            count=removed["paragraphs"],
            bytes=removed["bytes"],
            samples=[
                SampleOut(
                    where=sample["document"],
                    text=sample["paragraph"],
                    like=sample.get("kept"),
                    similarity=sample.get("similarity"),
                )
                for sample in removed["samples"]
            ],
        )
        for rule, removed in stats["removed"].items()
    ]
    nothing = {"documents": 0, "bytes": 0}
    sources = [
        SourceShape(
            name=source,
            documents=size["documents"],
            bytes=size["bytes"],
            heldout_documents=stats["heldout"].get(source, nothing)["documents"],
            heldout_bytes=stats["heldout"].get(source, nothing)["bytes"],
        )
        for source, size in stats["train"].items()
    ]
    return flow, taken_out, sources


def _crawled(stats: Mapping[str, Any]) -> Told:
    """What `cutaway.corpus.crawl` wrote down: its funnel."""
    flow = [
        FlowShape(name=step, documents=passed["documents_out"], bytes=passed["bytes_out"])
        for step, passed in stats["steps"].items()
    ]
    taken_out = [
        TakenOutShape(
            rule=f"{step}: {rule}",
            unit="documents",
            count=removed["documents"],
            bytes=removed["bytes"],
            samples=[
                SampleOut(
                    where=shown["url"] or shown["id"],
                    text=shown["text"],
                    value=shown["value"],
                    threshold=shown["threshold"],
                )
                for _, shown in removed["sample"]
            ],
        )
        for step, rules in stats["removed"].items()
        for rule, removed in rules.items()
    ]
    sources = [
        SourceShape(name=language, documents=kept, bytes=size, heldout_documents=0, heldout_bytes=0)
        for language, (_, kept, size) in stats["languages"].items()
        if kept
    ]
    return flow, taken_out, sources


def _flow(name: str, sources: Mapping[str, Mapping[str, int]]) -> FlowShape:
    documents, size = (sum(source[key] for source in sources.values()) for key in ("documents", "bytes"))
    return FlowShape(name=name, documents=documents, bytes=size)


def _shards(run: Path) -> dict[str, Path]:
    return {file.stem: file for file in sorted((run / "shards").glob("*.bin"))}


def _mixture(run: Path) -> list[ShareShape]:
    """What pretraining's rows are cut from, as the run's own recipe has it."""
    try:
        shares = tomllib.loads((run / "recipe.toml").read_text("utf-8"))["pretrain"]["shares"]
        total = sum(shares.values())
        return [ShareShape(name=name, share=value / total) for name, value in shares.items() if value]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError):
        return []
