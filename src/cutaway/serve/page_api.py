"""The page's own API: what is on offer, text as tokens, and answers with every token's alternatives."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import AsyncIterator
from typing import Annotated, Self

from fastapi import APIRouter, Query
from fastapi import Request as HTTPRequest
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import BaseModel, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError
from starlette.concurrency import run_in_threadpool

from cutaway.infer import LanguageModel
from cutaway.infer import Request as Asked
from cutaway.runs import CutawayError
from cutaway.serve.answering import Answering, AnswerStream
from cutaway.serve.beginning import Beginning, Begun, BegunToken
from cutaway.serve.chat_events import (
    ChatEvent,
    DoneEvent,
    DoneShape,
    ErrorEvent,
    StartEvent,
    StartShape,
    TokenEvent,
    ToolEvent,
    ToolUseShape,
    told,
)
from cutaway.serve.conversations_api import Keeper, KeptIn, owner_of
from cutaway.serve.errors import ApiError, describe_failure
from cutaway.serve.fitting import Fitted, fitted
from cutaway.serve.gate import REPORT_POLICY, SESSION_COOKIE, Access
from cutaway.serve.limits import MAX_TOKENIZE, MAX_TOKENS, SHOWN_ALTERNATIVES
from cutaway.serve.messages import Messages
from cutaway.serve.parts import THINK, THOUGHT
from cutaway.serve.requests import ModelName, Request, SamplingRequest, examples
from cutaway.serve.service import Service, chat_prompt, token_ids
from cutaway.serve.shapes import ErrorShape
from cutaway.serve.speech import End, Event, Piece, ToolUse
from cutaway.serve.token_shapes import TokenShape, answer_token_shape, token_shape

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


class ContextRequest(Request):
    """POST /api/context: a conversation, and how long the next answer may be."""

    model_config = examples({"model": "demo", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 16})

    model: ModelName
    messages: Messages
    max_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None


class ContextShape(BaseModel):
    """Answer to POST /api/context. All but `left_out` are numbers of tokens."""

    context: int
    """How many tokens the model can take in at once."""
    all: int
    """The whole conversation."""
    read: int
    """The part of it that is read before the answer."""
    left_out: int
    """Messages that are not read: the oldest, but for the system's."""


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
    begun: Begun = Field(default_factory=list[BegunToken])
    """Tokens that the answer begins with; they are told first, each with the probability that the model gives it."""


def page_routes(service: Service, access: Access) -> APIRouter:
    """Everything under /api, and the report."""
    router = APIRouter(tags=["page"])

    @router.get("/api/models")
    def models() -> FamiliesShape:
        service.renew()
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

    @router.post("/api/context")
    async def context(request: HTTPRequest, asked: ContextRequest) -> ContextShape:
        """How a conversation lies in the model's context."""
        lm = (await service.served(asked.model, request)).lm
        return await run_in_threadpool(_context, lm, asked)

    @router.post("/api/chat", status_code=200, response_class=AnswerStream, responses={200: {"model": ChatEvent}})
    async def chat(request: HTTPRequest, asked: ChatRequest) -> Response:
        """Server-sent events: `start`, then `token` and `tool` as they come, then `done` or `error`."""
        served = await service.served(asked.model, request)
        lm = served.lm
        keeper = None
        if asked.keep and service.conversations:
            keeper = Keeper(service.conversations, owner_of(request), asked.keep, served.name)
        told = [message.plain() for message in asked.messages]
        fits = await run_in_threadpool(fitted, lm, told, asked.max_tokens)
        prompt = fits.prompt
        beginning = Beginning(lm.tokenizer, asked.begun)
        begun = token_ids(lm, beginning.tokens)
        room = service.room(served, len(prompt) + len(begun), asked.max_tokens, "messages")
        wanted = Asked(
            [*prompt, *begun],
            0 if beginning.ended else room,
            asked.sampling(),
            stop_ids=lm.tokenizer.stop_ids,
            seconds=service.limits.seconds,
            alternatives=SHOWN_ALTERNATIVES,
            prompt_steps=bool(begun),
            interject=beginning.calculating,
            among=served.caller.name,
        )
        if keeper:
            await run_in_threadpool(keeper.ask, told[-1]["content"] or "")
        answering = await service.ask(request, served, [wanted])
        events = _chat_events(lm, fits, beginning, answering, keeper)
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


def _context(lm: LanguageModel, asked: ContextRequest) -> ContextShape:
    messages = [message.plain() for message in asked.messages]
    fits = fitted(lm, messages, asked.max_tokens)
    whole = len(chat_prompt(lm, messages)) if fits.left_out else len(fits.prompt)
    return ContextShape(context=lm.config.context, all=whole, read=len(fits.prompt), left_out=fits.left_out)


async def _chat_events(
    lm: LanguageModel, fits: Fitted, beginning: Beginning, answering: Answering, keeper: Keeper | None
) -> AsyncIterator[dict[str, str]]:
    began = time.perf_counter()
    # Some templates open the reasoning themselves.
    thinking = lm.tokenizer.decode(fits.prompt[-8:]).rstrip().endswith(THINK)
    start = StartShape(prompt_tokens=len(fits.prompt), context=lm.config.context, left_out=fits.left_out)
    yield told(StartEvent(event="start", data=start))
    try:
        async for event in _followed(answering, beginning):
            if isinstance(event, Piece):
                token = answer_token_shape(lm, event)
                thinking = thinking or token.text == THINK
                if thinking and token.part in ("answer", "mark"):
                    token.part = "reasoning"
                thinking = thinking and token.text != THOUGHT
                if keeper:
                    keeper.tokens.append(token.model_dump())
                yield told(TokenEvent(event="token", data=token))
            elif isinstance(event, ToolUse):
                use = ToolUseShape(name=event.name, arguments=event.arguments, result=event.result)
                if keeper:
                    keeper.tools.append(use.model_dump())
                yield told(ToolEvent(event="tool", data=use))
            elif isinstance(event, End):
                seconds = round(time.perf_counter() - began, 3)
                done = DoneShape(finish=event.reason, tokens=event.sampled, seconds=seconds)
                if keeper:
                    # Kept before it is told: what the page has seen to the end is there after a kill.
                    keeper.state = "done"
                    keeper.figures = {**start.model_dump(), "finish": event.reason, "seconds": seconds}
                    await run_in_threadpool(keeper.end)
                    keeper = None
                yield told(DoneEvent(event="done", data=done))
    except Exception as error:
        if keeper:
            keeper.state = "failed"
        failure = ErrorShape.model_validate(describe_failure(error).body())
        yield told(ErrorEvent(event="error", data=failure))
    finally:
        if keeper:
            # The reader is gone, and this generator is being closed: nothing can be waited for any more.
            threading.Thread(target=_end, args=(keeper,)).start()


async def _followed(answering: Answering, beginning: Beginning) -> AsyncIterator[Event]:
    async for _, event in answering:
        for each in beginning.follow(event):
            yield each


def _end(keeper: Keeper) -> None:
    try:
        keeper.end()
    except CutawayError:
        log.exception("an answer could not be kept")
