"""OpenAI's API: models, chat completions and completions, so that any client of it can talk to your model."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from cutaway.infer import LanguageModel
from cutaway.serve.errors import describe_failure
from cutaway.serve.requests import ChatCompletionRequest, CompletionRequest
from cutaway.serve.service import AnswerStream, Service
from cutaway.serve.shapes import (
    AssistantMessage,
    ChatChoice,
    ChatChunkChoice,
    ChatCompletion,
    ChatCompletionChunk,
    ChatDelta,
    Completion,
    ModelCard,
    ModelList,
    TextChoice,
    Usage,
    chat_logprobs,
    new_id,
    now,
    text_logprobs,
)
from cutaway.serve.slots import Ticket, collect
from cutaway.serve.speech import End, Event, Piece

DONE = {"data": "[DONE]"}


def openai_routes(service: Service) -> APIRouter:
    """Everything under /v1."""
    router = APIRouter(prefix="/v1", tags=["OpenAI"])
    started = now()

    @router.get("/models")
    def list_models() -> ModelList:
        return ModelList(data=[ModelCard(id=offer.name, created=started) for offer in service.offers])

    @router.get("/models/{name:path}")
    def one_model(name: str) -> ModelCard:
        return ModelCard(id=service.offer(name).name, created=started)

    @router.post("/chat/completions", response_model=ChatCompletion)
    async def chat(request: Request, asked: ChatCompletionRequest) -> Response | ChatCompletion:
        lm = await service.model(asked.model)
        messages = [message.plain() for message in asked.messages]
        most = asked.max_completion_tokens or asked.max_tokens
        prompt, ticket = await service.answer(lm, messages, asked.sampling(), most, asked.stops)
        if asked.stream:
            return AnswerStream(_chat_chunks(lm, asked, prompt, ticket), ticket)
        pieces, end = _sorted(await collect(ticket, request))
        content = "".join(piece.text for piece in pieces) + end.tail
        logprobs = chat_logprobs(lm, pieces, asked.top_logprobs or 0) if asked.logprobs else None
        return ChatCompletion(
            id=new_id("chatcmpl"),
            created=now(),
            model=asked.model,
            choices=[
                ChatChoice(message=AssistantMessage(content=content), logprobs=logprobs, finish_reason=end.reason)
            ],
            usage=Usage.of(prompt, end.sampled),
        )

    @router.post("/completions", response_model=Completion, response_model_exclude_none=False)
    async def complete(request: Request, asked: CompletionRequest) -> Response | Completion:
        lm = await service.model(asked.model)
        # OpenAI's own default for this older endpoint; a base model seldom ends by itself.
        most = asked.max_tokens or 16
        prompt, ticket = await service.continuation(lm, asked.text, asked.sampling(), most, asked.stops)
        if asked.stream:
            return AnswerStream(_text_chunks(lm, asked, prompt, ticket), ticket)
        pieces, end = _sorted(await collect(ticket, request))
        return Completion(
            id=new_id("cmpl"),
            created=now(),
            model=asked.model,
            choices=[
                TextChoice(
                    text="".join(piece.text for piece in pieces) + end.tail,
                    logprobs=None if asked.logprobs is None else text_logprobs(lm, pieces, asked.logprobs, 0),
                    finish_reason=end.reason,
                )
            ],
            usage=Usage.of(prompt, end.sampled),
        )

    return router


def _sorted(events: Sequence[Event]) -> tuple[list[Piece], End]:
    """The pieces that are the answer's text, and its end."""
    pieces = [event for event in events if isinstance(event, Piece) and event.part == "answer"]
    end = next(event for event in events if isinstance(event, End))
    return pieces, end


async def _chat_chunks(
    lm: LanguageModel, asked: ChatCompletionRequest, prompt: int, ticket: Ticket[Event]
) -> AsyncIterator[dict[str, str]]:
    id_, created = new_id("chatcmpl"), now()

    def chunk(*choices: ChatChunkChoice, usage: Usage | None = None) -> dict[str, str]:
        return _event(
            ChatCompletionChunk(id=id_, created=created, model=asked.model, choices=list(choices), usage=usage),
            keep_usage=asked.include_usage,
        )

    yield chunk(ChatChunkChoice(delta=ChatDelta(role="assistant", content="")))
    try:
        async for event in ticket:
            if isinstance(event, Piece) and event.part == "answer":
                logprobs = chat_logprobs(lm, [event], asked.top_logprobs or 0) if asked.logprobs else None
                if event.text or logprobs:
                    yield chunk(ChatChunkChoice(delta=ChatDelta(content=event.text), logprobs=logprobs))
            elif isinstance(event, End):
                delta = ChatDelta(content=event.tail) if event.tail else ChatDelta()
                yield chunk(ChatChunkChoice(delta=delta, finish_reason=event.reason))
                if asked.include_usage:
                    yield chunk(usage=Usage.of(prompt, event.sampled))
    except Exception as error:
        yield _failure(error)
        return
    yield DONE


async def _text_chunks(
    lm: LanguageModel, asked: CompletionRequest, prompt: int, ticket: Ticket[Event]
) -> AsyncIterator[dict[str, str]]:
    id_, created, offset = new_id("cmpl"), now(), 0

    def chunk(*choices: TextChoice, usage: Usage | None = None) -> dict[str, str]:
        return _event(
            Completion(id=id_, created=created, model=asked.model, choices=list(choices), usage=usage),
            keep_usage=asked.include_usage,
        )

    try:
        async for event in ticket:
            if isinstance(event, Piece) and event.part == "answer":
                logprobs = None if asked.logprobs is None else text_logprobs(lm, [event], asked.logprobs, offset)
                offset += len(event.text)
                if event.text or logprobs:
                    yield chunk(TextChoice(text=event.text, logprobs=logprobs))
            elif isinstance(event, End):
                yield chunk(TextChoice(text=event.tail, finish_reason=event.reason))
                if asked.include_usage:
                    yield chunk(usage=Usage.of(prompt, event.sampled))
    except Exception as error:
        yield _failure(error)
        return
    yield DONE


def _event(shape: BaseModel, *, keep_usage: bool) -> dict[str, str]:
    # Clients tell an absent "usage" (not asked for) from a null one (asked for, and still to come).
    return {"data": shape.model_dump_json(exclude=None if keep_usage else {"usage"})}


def _failure(error: Exception) -> dict[str, str]:
    """The last event of a stream that broke: the status is sent already, so the error comes as data."""
    return {"data": json.dumps(describe_failure(error).body())}
