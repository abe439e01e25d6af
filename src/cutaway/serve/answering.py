"""One request's answers on their way from the engine to the client, counted and given up when the client goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from sse_starlette import EventSourceResponse
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from cutaway.infer import Handle, LanguageModel
from cutaway.serve.metrics import Speed
from cutaway.serve.rates import Reservation
from cutaway.serve.record import Record
from cutaway.serve.speech import End, Event, Piece, spoken


class ClientGone(Exception):
    """The client hung up before its answer was ready."""


class Answering:
    """Iterate over it to get events, each with its answer's number; `leave` gives all of them up.

    Answers to the first prompt have the first numbers, and come first.
    """

    def __init__(
        self,
        lm: LanguageModel,
        handles: Sequence[Handle],
        each: int,
        reservation: Reservation,
        record: Record,
        speed: Speed,
    ) -> None:
        self.lm = lm
        self.handles, self.each = handles, each
        self._reservation, self._record, self._speed = reservation, record, speed
        self._unended = each * len(handles)
        self._sampled = 0
        self._texts: dict[int, str] | None = None
        self._left = False

    def log(self, prompts: list[str]) -> None:
        """Put what was asked and is answered into the log as well."""
        self._texts = {}
        self._record.content = {"prompts": prompts}

    async def __aiter__(self) -> AsyncIterator[tuple[int, Event]]:
        try:
            for at, handle in enumerate(self.handles):
                async for index, event in spoken(self.lm, handle):
                    index += at * self.each
                    self._count(index, event)
                    yield index, event
        except Exception:
            self._record.finish.append("error")
            self._unended = 0
            raise
        finally:
            self.leave()

    def leave(self) -> None:
        """Give up what has not ended; the answers are over."""
        if self._left:
            return
        self._left = True
        for handle in self.handles:
            if handle.left:
                handle.cancel()
        record = self._record
        record.completion_tokens += self._sampled
        record.finish += ["gone"] * self._unended
        if self._texts is not None and record.content is not None:
            record.content["answers"] = [self._texts[index] for index in sorted(self._texts)]
        self._reservation.charge(record.prompt_tokens + record.completion_tokens)
        self._reservation.end()

    def _count(self, index: int, event: Event) -> None:
        if isinstance(event, Piece) and not event.forced:
            self._sampled += 1
            self._record.token()
            self._speed.add()
        elif isinstance(event, End):
            self._unended -= 1
            self._record.cached_tokens += event.known if index % self.each == 0 else 0
            self._record.finish.append("timeout" if event.timed_out else event.reason)
        if self._texts is not None and isinstance(event, Piece | End):
            text = event.text if isinstance(event, Piece) else event.tail
            self._texts[index] = self._texts.get(index, "") + text


async def collect(answering: Answering, request: Request) -> list[tuple[int, Event]]:
    """All events of some answers, given up as soon as the client hangs up.

    Raises:
        ClientGone: it did.
    """

    async def everything() -> list[tuple[int, Event]]:
        return [event async for event in answering]

    async def hang_up() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    work, gone = asyncio.ensure_future(everything()), asyncio.ensure_future(hang_up())
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        raise ClientGone
    finally:
        answering.leave()
        for task in (work, gone):
            task.cancel()
        await asyncio.gather(work, gone, return_exceptions=True)


class AnswerStream(EventSourceResponse):
    """Server-sent events of some answers, whose places are given up however the response ends."""

    media_type = "text/event-stream"  # for the OpenAPI document

    def __init__(self, content: AsyncIterator[dict[str, Any]], answering: Answering, read_seconds: float) -> None:
        super().__init__(content, sep="\n", send_timeout=read_seconds)
        self.answering = answering

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""

        async def attentive(message: Message) -> None:
            await send(message)
            # Where the next event lies ready, nothing else gives the loop time to learn that the client is gone.
            await asyncio.sleep(0)

        try:
            await super().__call__(scope, receive, attentive)
        finally:
            # The content may never have been started, and then its own clean-up never runs.
            self.answering.leave()
