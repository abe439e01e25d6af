"""What the routes share: the models, the slots for generations, and the way from a request to its events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from cutaway.infer import LanguageModel, Sampling
from cutaway.runs import BadInput
from cutaway.serve import speech
from cutaway.serve.errors import ApiError
from cutaway.serve.limits import Limits
from cutaway.serve.offers import Offer, choose
from cutaway.serve.slots import Slots, Ticket


class Service:
    """One server's models and the room to run them."""

    def __init__(self, offers: Sequence[Offer], limits: Limits) -> None:
        self.offers = tuple(offers)
        self.limits = limits
        self.slots = Slots(limits.answering, limits.waiting)

    def offer(self, name: str | None) -> Offer:
        """The model of that name.

        Raises:
            ApiError: 404, there is none; the message names those there are.
        """
        offer = choose(self.offers, name)
        if offer is None:
            names = ", ".join(repr(offer.name) for offer in self.offers)
            quoted = repr((name or "")[:80])
            message = f"there is no model {quoted} here; there are: {names}"
            raise ApiError(404, message, param="model", code="model_not_found")
        return offer

    async def model(self, name: str) -> LanguageModel:
        """The model of that name, loaded now if it was not."""
        return await run_in_threadpool(self.offer(name).load)

    async def answer(
        self,
        lm: LanguageModel,
        messages: list[dict[str, Any]],
        sampling: Sampling,
        max_tokens: int | None,
        stops: Sequence[str] = (),
    ) -> tuple[int, Ticket[speech.Event]]:
        """Start the next turn of a conversation; gives the prompt's length in tokens, and the ticket.

        Raises:
            ApiError: 400, the conversation is longer than the model's context; 429, the server is full.
        """
        prompt = await run_in_threadpool(chat_prompt, lm, messages)
        most = room(lm, len(prompt), max_tokens, "messages")
        length, seconds = len(prompt), self.limits.seconds
        ticket = self.slots.start(
            lambda: speech.answer(lm, messages, length, sampling, most, stops=stops, seconds=seconds)
        )
        return length, ticket

    async def continuation(
        self, lm: LanguageModel, text: str, sampling: Sampling, max_tokens: int | None, stops: Sequence[str] = ()
    ) -> tuple[int, Ticket[speech.Event]]:
        """Start the continuation of a text; otherwise like `answer`."""
        prompt = await run_in_threadpool(text_prompt, lm, text)
        most = room(lm, len(prompt), max_tokens, "prompt")
        seconds = self.limits.seconds
        ticket = self.slots.start(lambda: speech.continuation(lm, prompt, sampling, most, stops=stops, seconds=seconds))
        return len(prompt), ticket


def chat_prompt(lm: LanguageModel, messages: list[dict[str, Any]]) -> list[int]:
    """The token ids of a conversation, up to where the assistant speaks next.

    Raises:
        ApiError: 400, the chat template has no way to say this conversation.
    """
    _must_write(lm)
    try:
        return lm.tokenizer.encode_chat(messages)
    except (BadInput, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ApiError(400, f"the messages do not fit the chat template: {error}", param="messages") from error


def text_prompt(lm: LanguageModel, text: str) -> list[int]:
    """The token ids of a text, as the beginning of a document: that is how the model met documents in training."""
    _must_write(lm)
    return lm.tokenizer.document(text)


def _must_write(lm: LanguageModel) -> None:
    if lm.config.kind != "decoder":
        raise ApiError(
            400, f"{lm.name} is an {lm.config.kind}, which goes on with no text; name a decoder", param="model"
        )


def room(lm: LanguageModel, length: int, max_tokens: int | None, param: str) -> int:
    """How many tokens may follow a prompt of `length` tokens: what is asked for, as far as the context goes.

    Raises:
        ApiError: 400, there is no room for even one.
    """
    context = lm.config.context
    if length >= context:
        raise ApiError(
            400,
            f"the prompt is {length} tokens long and the model's context is {context}, which must hold the answer too; "
            "shorten the conversation",
            param=param,
            code="context_length_exceeded",
        )
    return context - length if max_tokens is None else min(max_tokens, context - length)


class AnswerStream(EventSourceResponse):
    """Server-sent events of one generation, whose place is given up however the response ends."""

    def __init__(self, content: AsyncIterator[dict[str, str]], ticket: Ticket[speech.Event]) -> None:
        super().__init__(content, sep="\n")
        self.ticket = ticket

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            # The content may never have been started, and then its own clean-up never runs.
            self.ticket.leave()
