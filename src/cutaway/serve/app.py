"""The whole server, put together."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool

from cutaway.assistant.conversations import Conversations
from cutaway.infer import Engine
from cutaway.serve.answering import ClientGone
from cutaway.serve.atlas_corpus_api import atlas_corpus_routes
from cutaway.serve.atlas_digit_api import atlas_digit_routes
from cutaway.serve.atlas_networks_api import atlas_networks_routes
from cutaway.serve.atlas_running_api import atlas_running_routes
from cutaway.serve.atlas_scale_api import atlas_scale_routes
from cutaway.serve.atlas_text_api import atlas_text_routes
from cutaway.serve.chat_api import chat_routes
from cutaway.serve.checkpoints_api import checkpoint_routes
from cutaway.serve.completions_api import completion_routes
from cutaway.serve.conversations_api import conversation_routes
from cutaway.serve.embeddings_api import embedding_routes
from cutaway.serve.errors import REFUSALS, add_error_handlers
from cutaway.serve.gate import Access, Gate
from cutaway.serve.inside_api import inside_routes
from cutaway.serve.limits import Limits
from cutaway.serve.offers import Offer
from cutaway.serve.page import PAGE, add_page
from cutaway.serve.page_api import page_routes
from cutaway.serve.record import Recorder
from cutaway.serve.runs_api import runs_routes
from cutaway.serve.service import EngineOf, Service
from cutaway.serve.shapes import ModelCard, ModelList, now
from cutaway.serve.tokens_api import token_routes


def create_app(
    offers: Sequence[Offer],
    *,
    access: Access | None = None,
    limits: Limits | None = None,
    page: Path = PAGE,
    engine: EngineOf = Engine,
    log_content: bool = False,
    conversations: Conversations | None = None,
) -> FastAPI:
    """An ASGI application that offers models over OpenAI's API and the page's own, and serves the built page.

    Args:
        offers: the models; the first is the page's first choice.
        access: who may ask; by default only this machine, without a key.
        limits: bounds on requests and on work.
        page: where the built page lies.
        engine: makes what runs a model.
        log_content: whether the log holds what is asked and answered.
        conversations: where the page's conversations are kept; None keeps none.
    """
    access, limits = access or Access(), limits or Limits()
    service = Service(offers, limits, engine=engine, log_content=log_content, conversations=conversations)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        yield
        await run_in_threadpool(service.close)

    app = FastAPI(title="Cutaway", docs_url=None, redoc_url=None, lifespan=lifespan, responses=REFUSALS)
    app.state.service = service
    add_error_handlers(app)
    app.add_middleware(Gate, access=access, limits=limits, rates=service.rates)
    app.add_middleware(Recorder, metrics=service.metrics)  # the last one added is the outermost

    @app.exception_handler(ClientGone)
    def _gone(_: Request, __: ClientGone) -> Response:
        return Response(status_code=499)  # nobody reads it; nginx's number for the log

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    started = now()

    @app.get("/v1/models", tags=["OpenAI"])
    def list_models() -> ModelList:
        return ModelList(data=[ModelCard(id=offer.name, created=started) for offer in service.offers])

    @app.get("/v1/models/{name:path}", tags=["OpenAI"])
    def one_model(name: str) -> ModelCard:
        return ModelCard(id=service.offer(name).name, created=started)

    for routes in (chat_routes, completion_routes, embedding_routes, token_routes, inside_routes, runs_routes):
        app.include_router(routes(service))
    app.include_router(checkpoint_routes(service))
    for routes in (atlas_text_routes, atlas_running_routes, atlas_corpus_routes, atlas_scale_routes):
        app.include_router(routes(service))
    for routes in (atlas_networks_routes, atlas_digit_routes):
        app.include_router(routes(service))
    app.include_router(conversation_routes(service))
    app.include_router(page_routes(service, access))
    add_page(app, page)
    _say_what_is_sent(app)
    return app


def _say_what_is_sent(app: FastAPI) -> None:
    """Mend what FastAPI says of bad requests, which are 400 here and not 422, and of streams."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        document = described()
        for path in document["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
                for status, response in operation["responses"].items():
                    content = response.get("content", {})
                    if "text/event-stream" not in content:
                        continue
                    if status >= "400":  # a refusal is JSON where the answer is a stream, too
                        content["application/json"] = content.pop("text/event-stream")
                    elif schema := content["text/event-stream"].pop("schema", None):
                        content["text/event-stream"]["itemSchema"] = _one_event(schema, document)
                        content["text/event-stream"]["x-parsed"] = schema  # for those who write types of it
        for name in ("HTTPValidationError", "ValidationError"):
            document["components"]["schemas"].pop(name, None)
        return document

    app.openapi = openapi


def _one_event(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """What one event of a stream is, in OpenAPI 3.2's words: its data is a string, which holds JSON."""
    kinds: list[dict[str, Any]] = []
    for each in schema.get("anyOf", ()):
        kind = document["components"]["schemas"][each["$ref"].rsplit("/", 1)[1]]
        data = {"type": "string", "contentMediaType": "application/json", "contentSchema": kind["properties"]["data"]}
        kinds.append({**kind, "properties": {**kind["properties"], "data": data}})
    return {"anyOf": kinds} if kinds else {}
