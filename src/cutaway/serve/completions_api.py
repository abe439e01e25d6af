"""POST /v1/completions: texts written on, and what the model thinks of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from cutaway.infer import LanguageModel
from cutaway.infer import Request as Asked
from cutaway.serve.answering import Answering, AnswerStream, collect
from cutaway.serve.events import DONE, EVENTS, event, failure
from cutaway.serve.service import Service, text_prompt
from cutaway.serve.shapes import Usage, new_id, now
from cutaway.serve.speech import End, Event, Piece, Prompted
from cutaway.serve.text_requests import CompletionRequest, Read
from cutaway.serve.text_shapes import Completion, TextChoice, TextLogprobs, text_logprobs, token_name

USUAL_TOKENS = 16
"""OpenAI's own default for this older endpoint; a base model seldom ends by itself."""


def completion_routes(service: Service) -> APIRouter:
    """The one route."""
    router = APIRouter(prefix="/v1", tags=["OpenAI"])

    @router.post("/completions", response_model=Completion, responses=EVENTS)
    async def complete(request: Request, asked: CompletionRequest) -> Response | Completion:
        served = await service.served(asked.model, request)
        lm = served.lm
        prompts = await run_in_threadpool(lambda: [Prompt.of(lm, read) for read in asked.prompts])
        most = USUAL_TOKENS if asked.max_tokens is None else asked.max_tokens
        wanted = [
            Asked(
                prompt.ids,
                service.room(served, len(prompt.ids), most, "prompt", asked.search),
                asked.sampling(),
                stop_ids=lm.tokenizer.stop_ids,
                stops=asked.stops,
                n=asked.tried,
                seconds=service.limits.seconds,
                alternatives=asked.logprobs or 0,
                prompt_steps=bool(asked.echo) and asked.logprobs is not None,
                among=served.caller.name,
            )
            for prompt in prompts
        ]
        answering = await service.ask(request, served, wanted, search=asked.search)
        texts = [Continuation(lm, asked, prompt) for prompt in prompts for _ in range(asked.tried)]
        lengths = sum(len(prompt.ids) for prompt in prompts)
        if asked.stream:
            content = _chunks(asked, lengths, answering, texts)
            return AnswerStream(content, answering, service.limits.read_seconds)
        for index, found in await collect(answering, request):
            _share(found, texts, index, asked.tried)
            texts[index].take(found)
        chosen = [
            text
            for at in range(0, len(texts), asked.tried)
            for text in best(texts[at : at + asked.tried], asked.choices)
        ]
        return Completion(
            id=new_id("cmpl"),
            created=now(),
            model=asked.model,
            choices=[text.choice(index) for index, text in enumerate(chosen)],
            usage=_usage(lengths, texts),
        )

    return router


@dataclass(frozen=True)
class Prompt:
    """What is to be written on from."""

    ids: list[int]
    text: str
    """As the request gave it."""

    @classmethod
    def of(cls, lm: LanguageModel, read: Read) -> Prompt:
        """A text as the beginning of a document, or token ids as they are."""
        ids = text_prompt(lm, read)
        return cls(ids, read if isinstance(read, str) else lm.tokenizer.decode(ids, skip_special=True))


@dataclass
class Continuation:
    """One continuation, put together from what comes."""

    lm: LanguageModel
    asked: CompletionRequest
    prompt: Prompt
    text: str = ""
    pieces: list[Piece] = field(default_factory=list[Piece])
    prompted: tuple[Piece, ...] = ()
    end: End | None = None

    def take(self, event: Event) -> None:
        """Put in what has come."""
        if isinstance(event, Piece):
            self.pieces.append(event)
            self.text += event.text
        elif isinstance(event, End):
            self.text += event.tail
            self.end = event

    def opening(self) -> tuple[str, TextLogprobs | None]:
        """The prompt, where it is to be echoed, and what the model thought of it."""
        if not self.asked.echo:
            return "", None
        return self.prompt.text, None if self.asked.logprobs is None else self._prompt_logprobs(self.asked.logprobs)

    def logprobs(self, pieces: Sequence[Piece], offset: int) -> TextLogprobs | None:
        """What the model thought of some of its own tokens, the first of which stands at `offset`."""
        return None if self.asked.logprobs is None else text_logprobs(self.lm, pieces, self.asked.logprobs, offset)

    def choice(self, index: int) -> TextChoice:
        """The whole continuation."""
        assert self.end is not None
        opening, before = self.opening()
        after = self.logprobs(self.pieces, len(opening))
        if before and after:
            after = TextLogprobs(
                tokens=before.tokens + after.tokens,
                token_logprobs=before.token_logprobs + after.token_logprobs,
                top_logprobs=before.top_logprobs + after.top_logprobs,
                text_offset=before.text_offset + after.text_offset,
            )
        return TextChoice(index=index, text=opening + self.text, logprobs=after, finish_reason=self.end.reason)

    def _prompt_logprobs(self, top: int) -> TextLogprobs:
        # Of the first token, which nothing stands before, there is nothing to be thought.
        rest = sum(len(piece.text) for piece in self.prompted)
        shaped = text_logprobs(self.lm, self.prompted, top, len(self.prompt.text) - rest)
        # SentencePiece puts a space before the first word, which the prompt has not.
        shaped.text_offset = [max(0, offset) for offset in shaped.text_offset]
        shaped.tokens.insert(0, token_name(self.lm, self.prompt.ids[0]))
        shaped.token_logprobs.insert(0, None)
        shaped.top_logprobs.insert(0, None)
        shaped.text_offset.insert(0, 0)
        return shaped


def best(texts: Sequence[Continuation], count: int) -> list[Continuation]:
    """Those with the highest mean log-probability of a token, the best first; all as they are if none is left out."""
    if count == len(texts):
        return list(texts)

    def mean(text: Continuation) -> float:
        return sum(piece.logprob for piece in text.pieces) / max(1, len(text.pieces))

    return sorted(texts, key=mean, reverse=True)[:count]


async def _chunks(
    asked: CompletionRequest, prompt: int, answering: Answering, texts: Sequence[Continuation]
) -> AsyncIterator[dict[str, str]]:
    id_, created = new_id("cmpl"), now()
    opened, offsets = set[int](), dict[int, int]()

    def chunk(*choices: TextChoice, usage: Usage | None = None) -> dict[str, str]:
        shape = Completion(id=id_, created=created, model=asked.model, choices=list(choices), usage=usage)
        return event(shape, keep_usage=asked.include_usage)

    try:
        async for index, found in answering:
            _share(found, texts, index, asked.tried)
            text = texts[index]
            if isinstance(found, Prompted):
                continue
            if index not in opened:
                opened.add(index)
                opening, logprobs = text.opening()
                offsets[index] = len(opening)
                if opening or logprobs:
                    yield chunk(TextChoice(index=index, text=opening, logprobs=logprobs))
            text.take(found)
            if isinstance(found, Piece):
                logprobs = text.logprobs([found], offsets[index])
                offsets[index] += len(found.text)
                if found.text or logprobs:
                    yield chunk(TextChoice(index=index, text=found.text, logprobs=logprobs))
            elif isinstance(found, End):
                yield chunk(TextChoice(index=index, text=found.tail, finish_reason=found.reason))
        if asked.include_usage:
            yield chunk(usage=_usage(prompt, texts))
    except Exception as error:
        yield failure(error)
        return
    yield DONE


def _share(event: Event, texts: Sequence[Continuation], index: int, each: int) -> None:
    """Tell all continuations of a prompt what the model thought of it; the engine says it once."""
    if isinstance(event, Prompted):
        for text in texts[index - index % each : index - index % each + each]:
            text.prompted = event.pieces


def _usage(prompt: int, texts: Sequence[Continuation]) -> Usage:
    ends = [text.end for text in texts if text.end]
    return Usage.of(prompt, sum(end.sampled for end in ends), cached=sum(end.known for end in ends[:1]))
