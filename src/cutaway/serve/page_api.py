"""The page's own API: what is on offer, text as tokens, and answers with every token's alternatives."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query
from fastapi import Request as HTTPRequest
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import BaseModel, StringConstraints, model_validator
from pydantic_core import PydanticCustomError
from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool

from cutaway.infer import LanguageModel
from cutaway.infer import Request as Asked
from cutaway.runs import CutawayError
from cutaway.serve.answering import Answering, AnswerStream
from cutaway.serve.conversations_api import Keeper, KeptIn, owner_of
from cutaway.serve.errors import ApiError, describe_failure
from cutaway.serve.gate import REPORT_POLICY, SESSION_COOKIE, Access
from cutaway.serve.limits import MAX_TOKENIZE, SHOWN_ALTERNATIVES
from cutaway.serve.messages import Messages
from cutaway.serve.requests import ModelName, Request, SamplingRequest, examples
from cutaway.serve.service import Service, chat_prompt
from cutaway.serve.shapes import finite
from cutaway.serve.speech import Calculating, End, Piece, Tokenizing, ToolUse, token_text

log = logging.getLogger(__name__)


class StageShape(BaseModel):
    """One stage of a run that can be talked to."""

    id: str
    stage: str


class FamilyShape(BaseModel):
    """A run with its stages, or a single model, which has none."""

    id: str
    """The model that answers to the family's name: of a run, its last stage."""
    stages: list[StageShape]
    report: bool


class FamiliesShape(BaseModel):
    """Answer to GET /api/models."""

    models: list[FamilyShape]


class ExamplesShape(BaseModel):
    """Answer to GET /api/examples."""

    examples: list[str]


class TokenShape(BaseModel):
    """A token by itself."""

    id: int
    text: str
    """As text; where its bytes are no whole characters, with replacement characters."""
    bytes: str
    """Its bytes in hexadecimal, two digits each; empty for a mark."""
    whole: bool
    """Whether its bytes are whole characters."""
    mark: bool
    """Whether it is one of the chat template's marks rather than text."""


class TokensShape(BaseModel):
    """Answer to POST /api/tokenize."""

    tokens: list[TokenShape]
    context: int
    """How many tokens the model can take in at once."""


class TokenizeRequest(Request):
    """POST /api/tokenize: a text, or a conversation as the chat template puts it before the model."""

    model_config = examples(
        {"model": "demo", "text": "The sky is"},
        {"model": "demo", "messages": [{"role": "user", "content": "Who are you?"}]},
    )

    model: ModelName
    text: Annotated[str, StringConstraints(max_length=MAX_TOKENIZE)] | None = None
    messages: Messages | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.text is None) == (self.messages is None):
            raise PydanticCustomError("value", "give either text or messages")
        return self


class ChatRequest(SamplingRequest):
    """POST /api/chat."""

    model_config = examples(
        {
            "model": "demo",
            "messages": [{"role": "user", "content": "Who are you?"}],
            "temperature": 0.8,
            "top_p": 0.95,
            "max_tokens": 16,
            "seed": 1,
            "keep": {"conversation": "0" * 32, "parent": None, "question": "1" * 32, "answer": "2" * 32},
        }
    )

    messages: Messages
    keep: KeptIn | None = None
    """Where question and answer are kept, if they are."""


def page_routes(service: Service, access: Access) -> APIRouter:
    """Everything under /api, and the report."""
    router = APIRouter(tags=["page"])

    @router.get("/api/models")
    def models() -> FamiliesShape:
        families: dict[str, FamilyShape] = {}
        for offer in service.offers:
            family = families.setdefault(
                offer.family, FamilyShape(id=offer.name, stages=[], report=offer.report is not None)
            )
            if offer.stage and offer.name != offer.family:
                family.stages.append(StageShape(id=offer.name, stage=offer.stage))
        return FamiliesShape(models=list(families.values()))

    @router.get("/api/examples")
    def examples(model: Annotated[str | None, Query(max_length=200)] = None) -> ExamplesShape:
        return ExamplesShape(examples=service.offer(model).examples())

    @router.post("/api/tokenize")
    async def tokenize(request: HTTPRequest, asked: TokenizeRequest) -> TokensShape:
        lm = (await service.served(asked.model, request)).lm
        return await run_in_threadpool(_tokenized, lm, asked)

    @router.post("/api/chat", response_class=EventSourceResponse)
    async def chat(request: HTTPRequest, asked: ChatRequest) -> Response:
        """Server-sent events: `start`, then `token` and `tool` as they come, then `done` or `error`."""
        served = await service.served(asked.model, request)
        lm = served.lm
        keeper = None
        if asked.keep and service.conversations:
            keeper = Keeper(service.conversations, owner_of(request), asked.keep, served.name)
        prompt = await run_in_threadpool(chat_prompt, lm, [message.plain() for message in asked.messages])
        wanted = Asked(
            prompt,
            service.room(served, len(prompt), asked.max_tokens, "messages"),
            asked.sampling(),
            stop_ids=lm.tokenizer.stop_ids,
            seconds=service.limits.seconds,
            alternatives=SHOWN_ALTERNATIVES,
            interject=Calculating(lm.tokenizer),
            among=served.caller.name,
        )
        if keeper:
            await run_in_threadpool(keeper.ask, asked.messages[-1].plain()["content"] or "")
        answering = await service.ask(request, served, [wanted])
        events = _chat_events(lm, len(prompt), answering, keeper)
        return AnswerStream(events, answering, service.limits.read_seconds)

    @router.post("/api/session")
    def session(request: HTTPRequest) -> Response:
        """Exchange the token or key (checked before this is reached) for a cookie, which the page's links carry too."""
        response = JSONResponse({"session": not access.open})
        if not access.open:
            cookie = access.session(request.scope["state"]["owner"])
            response.set_cookie(SESSION_COOKIE, cookie, httponly=True, samesite="strict", path="/")
        return response

    @router.get("/report", response_class=FileResponse)
    def report(model: Annotated[str | None, Query(max_length=200)] = None) -> Response:
        offer = service.offer(model)
        path = offer.report
        if path is None:
            raise ApiError(404, f"{offer.family} has no report; a run writes it at its end", code="no_report")
        return FileResponse(path, media_type="text/html", headers={"Content-Security-Policy": REPORT_POLICY})

    return router


def _tokenized(lm: LanguageModel, asked: TokenizeRequest) -> TokensShape:
    if asked.messages is not None:
        ids = chat_prompt(lm, [message.plain() for message in asked.messages])
    else:
        ids = lm.tokenizer.encode(asked.text or "")
    return TokensShape(tokens=[token_shape(lm, id_) for id_ in ids], context=lm.config.context)


def token_shape(lm: Tokenizing, token: int) -> TokenShape:
    """What there is to say of a token by itself."""
    text, whole = token_text(lm, token)
    mark = token in lm.tokenizer.special.values()
    return TokenShape(
        id=token, text=text, bytes="" if mark else lm.tokenizer.token_bytes(token).hex(), whole=whole, mark=mark
    )


async def _chat_events(
    lm: LanguageModel, prompt: int, answering: Answering, keeper: Keeper | None
) -> AsyncIterator[dict[str, str]]:
    began = time.perf_counter()
    start = {"prompt_tokens": prompt, "context": lm.config.context}
    yield _event("start", start)
    try:
        async for _, event in answering:
            if isinstance(event, Piece):
                token = _token_event(lm, event)
                if keeper:
                    keeper.tokens.append(token)
                yield _event("token", token)
            elif isinstance(event, ToolUse):
                use = {"name": event.name, "arguments": event.arguments, "result": event.result}
                if keeper:
                    keeper.tools.append(use)
                yield _event("tool", use)
            elif isinstance(event, End):
                seconds = round(time.perf_counter() - began, 3)
                done = {"finish": event.reason, "tokens": event.sampled, "seconds": seconds}
                if keeper:
                    # Kept before it is told: what the page has seen to the end is there after a kill.
                    keeper.state, keeper.figures = "done", {**start, "finish": event.reason, "seconds": seconds}
                    await run_in_threadpool(keeper.end)
                    keeper = None
                yield _event("done", done)
    except Exception as error:
        if keeper:
            keeper.state = "failed"
        yield _event("error", describe_failure(error).body())
    finally:
        if keeper:
            # The reader is gone, and this generator is being closed: nothing can be waited for any more.
            threading.Thread(target=_end, args=(keeper,)).start()


def _end(keeper: Keeper) -> None:
    try:
        keeper.end()
    except CutawayError:
        log.exception("an answer could not be kept")


def _token_event(lm: LanguageModel, piece: Piece) -> dict[str, Any]:
    return {
        **token_shape(lm, piece.id).model_dump(),
        "adds": piece.text,
        "part": piece.part,
        "forced": piece.forced,
        "logprob": finite(piece.logprob),
        "alternatives": [
            {**token_shape(lm, id_).model_dump(), "probability": probability} for id_, probability in piece.alternatives
        ],
    }


def _event(name: str, data: dict[str, Any]) -> dict[str, str]:
    return {"event": name, "data": json.dumps(data, ensure_ascii=False, allow_nan=False)}
