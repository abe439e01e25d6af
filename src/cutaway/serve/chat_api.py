"""POST /v1/chat/completions: the next turn of a conversation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from cutaway.infer import LanguageModel
from cutaway.infer import Request as Asked
from cutaway.infer.constrained import Constraint, Grammar
from cutaway.serve.answering import Answering, AnswerStream, collect
from cutaway.serve.call_grammar import must_call
from cutaway.serve.calls import Arguments, Call, form_of
from cutaway.serve.chat_requests import ChatCompletionRequest
from cutaway.serve.chat_shapes import (
    AssistantMessage,
    ChatChoice,
    ChatChunkChoice,
    ChatCompletion,
    ChatCompletionChunk,
    ChatDelta,
    Finish,
    ToolCallDelta,
    ToolCallShape,
    chat_logprobs,
)
from cutaway.serve.events import DONE, EVENTS, event, failure
from cutaway.serve.parts import THINK, THOUGHT, Parts, Said
from cutaway.serve.service import Service, chat_prompt
from cutaway.serve.shapes import Usage, new_id, now
from cutaway.serve.speech import Calculating, End, Event, Piece
from cutaway.serve.tools import NO_ARGUMENTS


def chat_routes(service: Service) -> APIRouter:
    """The one route."""
    router = APIRouter(prefix="/v1", tags=["OpenAI"])

    @router.post("/chat/completions", response_model=ChatCompletion, responses=EVENTS)
    async def chat(request: Request, asked: ChatCompletionRequest) -> Response | ChatCompletion:
        served = await service.served(asked.model, request)
        lm = served.lm
        prompt = await run_in_threadpool(_prompt, lm, asked)
        wanted = Asked(
            prompt,
            service.room(served, len(prompt), asked.most_tokens, "messages", asked.search),
            asked.sampling(),
            stop_ids=lm.tokenizer.stop_ids,
            stops=asked.stops,
            n=asked.n or 1,
            seconds=service.limits.seconds,
            alternatives=asked.top_logprobs or 0,
            # The server's own calculator, where the caller brings no tools of his own.
            interject=None if asked.tools else Calculating(lm.tokenizer),
            among=served.caller.name,
        )
        answering = await service.ask(
            request,
            served,
            [wanted],
            grammar=_grammar(lm, asked),
            grammar_param="tools" if asked.must_call else "response_format",
            search=asked.search,
        )
        turns = [Turn(lm, asked, _parts(lm, asked, prompt)) for _ in range(wanted.n)]
        if asked.stream:
            return AnswerStream(
                _chunks(lm, asked, len(prompt), answering, turns), answering, service.limits.read_seconds
            )
        for index, found in await collect(answering, request):
            turns[index].take(found)
        return ChatCompletion(
            id=new_id("chatcmpl"),
            created=now(),
            model=asked.model,
            choices=[turn.choice(index) for index, turn in enumerate(turns)],
            usage=_usage(len(prompt), turns),
        )

    return router


@dataclass
class Turn:
    """One answer, put together from what comes."""

    lm: LanguageModel
    asked: ChatCompletionRequest
    parts: Parts
    texts: dict[str, str] = field(default_factory=dict[str, str])
    pieces: list[Piece] = field(default_factory=list[Piece])
    calls: list[ToolCallShape] = field(default_factory=list[ToolCallShape])
    reasoning_tokens: int = 0
    end: End | None = None

    def take(self, event: Event) -> list[Said | Call | Arguments]:
        """Put in what has come; gives what is new to be told."""
        new: Iterable[Said | Call | Arguments] = ()
        if isinstance(event, Piece):
            if self._belongs(event):
                new = self.parts.feed(event)
        elif isinstance(event, End):
            tail = [Said("content", event.tail, ())] if event.tail and not self.calls else []
            new = [*self.parts.finish(), *tail]
            if self.asked.must_call and event.reason == "length":
                # Cut inside the opening of a call, which is no text for the caller.
                new = [each for each in new if not isinstance(each, Said)]
            self.end = event
        told = list(new)
        for each in told:
            if isinstance(each, Call):
                self.calls.append(ToolCallShape.begun(each))
            elif isinstance(each, Arguments):
                self.calls[each.index].function.arguments += each.text
            else:
                self.texts[each.kind] = self.texts.get(each.kind, "") + each.text
                if each.kind == "content":
                    self.pieces += each.pieces
                else:
                    self.reasoning_tokens += len(each.pieces)
        return told

    def _belongs(self, piece: Piece) -> bool:
        """Whether a token is for the caller, not for or from a tool of the server's; of marks those that divide."""
        if piece.part == "call":
            return self.parts.form is not None
        return piece.part == "answer" or (piece.id in self.parts.spelled and not piece.forced)

    @property
    def finish(self) -> Finish:
        """Why it ended."""
        assert self.end is not None
        # Where one call is enough, what was written after it does not count.
        cut = self.end.reason == "length" and not self.parts.over
        return "tool_calls" if self.calls and not cut else self.end.reason

    def choice(self, index: int) -> ChatChoice:
        """The whole answer."""
        content, top = self.texts.get("content", ""), self.asked.top_logprobs or 0
        return ChatChoice(
            index=index,
            message=AssistantMessage(
                content=None if self.calls and not content.strip() else content,
                reasoning=self.texts.get("reasoning"),
                tool_calls=self.calls or None,
            ),
            logprobs=chat_logprobs(self.lm, self.pieces, top) if self.asked.logprobs else None,
            finish_reason=self.finish,
        )


async def _chunks(
    lm: LanguageModel, asked: ChatCompletionRequest, prompt: int, answering: Answering, turns: Sequence[Turn]
) -> AsyncIterator[dict[str, str]]:
    id_, created = new_id("chatcmpl"), now()

    def chunk(*choices: ChatChunkChoice, usage: Usage | None = None) -> dict[str, str]:
        shape = ChatCompletionChunk(id=id_, created=created, model=asked.model, choices=list(choices), usage=usage)
        return event(shape, keep_usage=asked.include_usage)

    for index in range(len(turns)):
        yield chunk(ChatChunkChoice(index=index, delta=ChatDelta(role="assistant", content="")))
    try:
        async for index, found in answering:
            turn = turns[index]
            for new in turn.take(found):
                if delta := _delta(new, asked):
                    pieces = new.pieces if isinstance(new, Said) and new.kind == "content" else ()
                    logprobs = chat_logprobs(lm, pieces, asked.top_logprobs or 0) if asked.logprobs and pieces else None
                    yield chunk(ChatChunkChoice(index=index, delta=delta, logprobs=logprobs))
            if turn.end is not None:
                yield chunk(ChatChunkChoice(index=index, delta=ChatDelta(), finish_reason=turn.finish))
        if asked.include_usage:
            yield chunk(usage=_usage(prompt, turns))
    except Exception as error:
        yield failure(error)
        return
    yield DONE


def _delta(new: Said | Call | Arguments, asked: ChatCompletionRequest) -> ChatDelta | None:
    """What a part of an answer adds to it; None where that is nothing."""
    if isinstance(new, Call | Arguments):
        return ChatDelta(tool_calls=[ToolCallDelta.of(new)])
    if new.kind == "reasoning":
        return ChatDelta(reasoning=new.text) if new.text else None
    return ChatDelta(content=new.text) if new.text or (asked.logprobs and new.pieces) else None


def _usage(prompt: int, turns: Sequence[Turn]) -> Usage:
    ends = [turn.end for turn in turns if turn.end]
    return Usage.of(
        prompt,
        sum(end.sampled for end in ends),
        cached=ends[0].known if ends else 0,
        reasoning=sum(turn.reasoning_tokens for turn in turns),
    )


def _prompt(lm: LanguageModel, asked: ChatCompletionRequest) -> list[int]:
    return chat_prompt(lm, [message.plain() for message in asked.messages], asked.functions)


def _grammar(lm: LanguageModel, asked: ChatCompletionRequest) -> Callable[[], Grammar] | None:
    """What the answer must look like, where the request says so."""
    if asked.must_call:
        return partial(_forced, lm, asked)
    return None if asked.schema_ is None else partial(Grammar.json_schema, asked.schema_)


def _forced(lm: LanguageModel, asked: ChatCompletionRequest) -> Grammar:
    """Calls of the tools. Raises `BadInput` where the arguments of one, which come late, cannot be followed."""
    for function in asked.functions:
        schema = Grammar.json_schema(function.parameters or NO_ARGUMENTS)
        Constraint(schema, lm.tokenizer, lm.config.vocab_size).mask()
    return must_call(asked.functions, lm.tokenizer, parallel=not asked.one_call)


def _parts(lm: LanguageModel, asked: ChatCompletionRequest, prompt: Sequence[int]) -> Parts:
    """How an answer to this prompt falls into parts."""
    tokenizer = lm.tokenizer
    form = form_of(tokenizer) if asked.functions else None
    marks = {THINK, THOUGHT} | (form.marks if form else set())
    # A grammar leaves no room for reasoning.
    free = not asked.must_call and asked.schema_ is None
    return Parts(
        form,
        [function.name for function in asked.functions],
        reasons=free and THINK in tokenizer.chat_template,
        # Some templates open the reasoning themselves.
        thinking=free and tokenizer.decode(prompt[-8:]).rstrip().endswith(THINK),
        one=asked.one_call,
        spelled={id_: name for name, id_ in tokenizer.special.items() if name in marks},
    )
