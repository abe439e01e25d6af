"""What the routes share: the models with their engines, and the way from a request to its events."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from cutaway.assistant.conversations import Conversations
from cutaway.infer import Busy, Closed, Engine, Handle, LanguageModel, Search, Searcher
from cutaway.infer import Request as Asked
from cutaway.infer.constrained import Constraint, Grammar
from cutaway.infer.figures import Load
from cutaway.infer.pages import PAGE, page_bytes
from cutaway.runs import BadInput
from cutaway.serve.answering import Answering
from cutaway.serve.errors import ApiError, describe_failure
from cutaway.serve.limits import Limits
from cutaway.serve.messages import Function
from cutaway.serve.metrics import Metrics
from cutaway.serve.offers import Offer, choose, with_finished
from cutaway.serve.rates import Caller, Rates
from cutaway.serve.record import record_of
from cutaway.serve.snapshots import AT, Snapshots, steps_kept
from cutaway.serve.tools import conversation

EngineOf = Callable[..., Engine]


@dataclass(frozen=True)
class Served:
    """A model that is asked for, and by whom."""

    name: str
    lm: LanguageModel
    caller: Caller


class Service:
    """One server's models and the room to run them."""

    def __init__(
        self,
        offers: Sequence[Offer],
        limits: Limits,
        *,
        engine: EngineOf = Engine,
        log_content: bool = False,
        conversations: Conversations | None = None,
    ) -> None:
        self.offers = tuple(offers)
        self.limits = limits
        self.searcher = Searcher(limits.searching)
        self.metrics = Metrics(self.loads, searches=lambda: self.searcher.held)
        self.rates = Rates()
        self.log_content = log_content
        self.conversations = conversations
        self.snapshots = Snapshots()
        self.embedding = asyncio.Semaphore(1)
        """Texts are made vectors of by one request at a time: each takes all cores."""
        self.looking = asyncio.Semaphore(1)
        """So is looking inside."""
        self._engine_of = engine
        self._engines: dict[int, tuple[str, Engine]] = {}
        self._begun: set[Path] = set()
        self._lock = threading.Lock()
        self._closed = False

    def begun(self, run: Path) -> None:
        """Offer the models of a run that was begun from here, each as soon as its stage is finished."""
        with self._lock:
            self._begun.add(run)

    def renew(self) -> None:
        """Look for models that runs begun from here have finished meanwhile."""
        with self._lock:
            for run in self._begun:
                self.offers = with_finished(self.offers, run)

    def offer(self, name: str | None, caller: Caller | None = None) -> Offer:
        """The model of that name.

        Raises:
            ApiError: 404, there is none (the message names those there are); 403, it is not for this caller.
        """
        offer = choose(self.offers, name)
        if offer is None:
            names = ", ".join(repr(offer.name) for offer in self.offers)
            quoted = repr((name or "")[:80])
            message = f"there is no model {quoted} here; there are: {names}"
            raise ApiError(404, message, param="model", code="model_not_found")
        if caller and caller.models is not None and offer.name not in caller.models:
            message = f"this key is not for the model {offer.name}; it is for {', '.join(sorted(caller.models))}"
            raise ApiError(403, message, param="model", code="model_not_allowed")
        return offer

    async def served(self, name: str, connection: HTTPConnection) -> Served:
        """The model of that name, loaded now if it was not."""
        caller: Caller = connection.scope["state"]["caller"]
        offer = self.offer(name, caller)
        record_of(connection).model = offer.name
        return Served(offer.name, await self.loaded(offer), caller)

    async def served_or_kept(self, name: str, connection: HTTPConnection) -> Served:
        """The same, or a model that was kept on the way of its training: "demo:pretrain@64".

        Raises:
            ApiError: 404, no model was kept at that step (the message names the steps).
        """
        base, at, step = name.rpartition(AT)
        if not at or any(offer.name == name for offer in self.offers):
            return await self.served(name, connection)
        caller: Caller = connection.scope["state"]["caller"]
        offer = self.offer(base, caller)
        record_of(connection).model = offer.name
        kept = await run_in_threadpool(steps_kept, offer)
        path = kept.get(int(step)) if step.isascii() and step.isdecimal() else None
        if path is None:
            steps = ", ".join(map(str, kept)) or "none"
            message = f"{base} has no model kept at step {step[:20]!r}; the steps kept are: {steps}"
            raise ApiError(404, message, param="model", code="model_not_found")
        try:
            return Served(name, await run_in_threadpool(self.snapshots.open, path), caller)
        except (BadInput, OSError) as error:
            raise ApiError(500, f"{name} cannot be opened: {error}", code="server_error") from error

    async def loaded(self, offer: Offer) -> LanguageModel:
        """The model of an offer. Raises `ApiError` 500 where it cannot be opened: that is no fault of the request."""
        try:
            return await run_in_threadpool(offer.load)
        except BadInput as error:
            raise ApiError(500, f"{offer.name} cannot be opened: {error}", code="server_error") from error

    async def ask(
        self,
        connection: HTTPConnection,
        served: Served,
        prompts: Sequence[Asked],
        *,
        grammar: Callable[[], Grammar] | None = None,
        grammar_param: str | None = None,
        search: Search | None = None,
    ) -> Answering:
        """Put requests of one kind in line, one for each prompt; with `search`, to be answered by that.

        `grammar_param` is the parameter that the grammar comes from, for what is said of one that cannot be followed.

        Raises:
            ApiError: 400, they can never be carried out; 429, there is no room, or the caller's is used up.
        """
        lm, record = served.lm, record_of(connection)
        n = sum(each.n for each in prompts)
        places = self.limits.answering + self.limits.waiting
        if n > places:
            raise ApiError(400, f"{n} answers are asked for at once; this server holds {places}", code="too_many")
        if search and len(prompts) > self.limits.searching:
            message = f"{len(prompts)} searches are asked for at once; this server holds {self.limits.searching}"
            raise ApiError(400, message, code="too_many")
        for token, _ in cast("tuple[tuple[int, float], ...]", prompts[0].sampling.logit_bias):
            if token >= lm.config.vocab_size:
                message = f"logit_bias names token {token}; the model's go from 0 to {lm.config.vocab_size - 1}"
                raise ApiError(400, message, param="logit_bias", code="invalid_value")
        reservation = self.rates.begin(served.caller, n)
        handles: list[Handle] = []
        try:
            # One after another, so that those before a refused one are known and can be given up.
            if search:
                handles.extend(self.searcher.submit(lm, asked, search) for asked in prompts)
            else:
                engine = await run_in_threadpool(self.engine, served.name, lm)
                constraint = await run_in_threadpool(_compiled, grammar, lm, grammar_param) if grammar else None
                handles.extend(engine.submit(_with(asked, constraint)) for asked in prompts)
        except BaseException as error:
            for handle in handles:
                handle.cancel()
            reservation.end()
            raise _refusal(error) from error
        record.prompt_tokens += sum(len(asked.prompt) for asked in prompts)
        answering = Answering(lm, handles, prompts[0].n, reservation, record, self.metrics.speed)
        if self.log_content:
            answering.log([lm.tokenizer.decode(asked.prompt) for asked in prompts])
        return answering

    def room(
        self, served: Served, length: int, max_tokens: int | None, param: str, search: Search | None = None
    ) -> int:
        """How many tokens may follow a prompt of `length` tokens: what is asked for, as far as the context goes.

        A search also needs memory for each of its sequences.

        Raises:
            ApiError: 400, there is no room for even one, or more are asked for than the caller or a search may.
        """
        context, most = served.lm.config.context, served.caller.limits.max_tokens
        if max_tokens is not None and most is not None and max_tokens > most:
            raise ApiError(400, f"this key allows {most} tokens an answer, not {max_tokens}", param="max_tokens")
        # To read a prompt and write nothing takes no room beyond it.
        if length > context or (length == context and max_tokens != 0):
            raise ApiError(
                400,
                f"the prompt is {length} tokens long and the model's context is {context}, which must hold the answer "
                f"too; shorten the {'conversation' if param == 'messages' else param}",
                param=param,
                code="context_length_exceeded",
            )
        wanted = [limit for limit in (max_tokens, most) if limit is not None]
        found = min(context - length, *wanted) if wanted else context - length
        if search is None:
            return found
        tokens = self._searched_tokens(served.lm, search)
        if length >= tokens or (max_tokens is not None and length + found > tokens):
            raise ApiError(
                400,
                f"a search through {search.rows} sequences at once has room for {tokens} tokens here, and the prompt "
                f"of {length} with {found} after it is longer; ask for fewer sequences, or for fewer tokens",
                param="max_tokens",
                code="search_too_large",
            )
        return min(found, tokens - length)

    def _searched_tokens(self, lm: LanguageModel, search: Search) -> int:
        """How long the sequences of a search may become for their keys and values to fit into the bound."""
        page = page_bytes(lm.config, lm.model.embed.weight.dtype)
        return self.limits.search_bytes * PAGE // (page * search.rows)

    def engine(self, name: str, lm: LanguageModel) -> Engine:
        """The engine that runs a model; models that share their weights share it."""
        with self._lock:
            if self._closed:
                raise Closed("the server is shutting down")
            if id(lm) not in self._engines:
                engine = self._engine_of(lm, most_rows=self.limits.answering, waiting=self.limits.waiting)
                self._engines[id(lm)] = (name, engine)
            return self._engines[id(lm)][1]

    def loads(self) -> dict[str, Load]:
        """How things stand with every engine, by the name of its model."""
        with self._lock:
            engines = dict(self._engines.values())
        return {name: engine.load() for name, engine in engines.items()}

    def close(self) -> None:
        """End every answer, and wait for the engines; blocks."""
        with self._lock:
            self._closed = True
            engines = [engine for _, engine in self._engines.values()]
        self.searcher.close()
        for engine in engines:
            engine.close()


def chat_prompt(
    lm: LanguageModel, messages: Sequence[dict[str, Any]], functions: Sequence[Function] = (), *, generate: bool = True
) -> list[int]:
    """The token ids of a conversation in which these functions can be called, up to where the assistant speaks next.

    Without `generate`, up to the end of the last message.

    Raises:
        ApiError: 400, the chat template has no way to say this conversation.
    """
    must_write(lm)
    if not lm.tokenizer.chat_template:
        message = f"{lm.name} has no chat template, so it cannot chat; send it a text by POST /v1/completions"
        raise ApiError(400, message, param="model", code="no_chat_template")
    try:
        told, tools = conversation(messages, functions, lm.tokenizer)
        return lm.tokenizer.encode_chat(told, generate=generate, tools=tools)
    except (BadInput, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ApiError(400, f"the messages do not fit the chat template: {error}", param="messages") from error


def text_prompt(lm: LanguageModel, text: str | Sequence[int]) -> list[int]:
    """The token ids of a text, as the beginning of a document: that is how the model met documents in training.

    Ids are taken as they are. Raises `ApiError` 400 for one that the model does not have.
    """
    must_write(lm)
    return token_ids(lm, text)


def token_ids(lm: LanguageModel, text: str | Sequence[int]) -> list[int]:
    """The token ids of a text as a document, or ids as they are. Raises `ApiError` 400 for one that is none."""
    if isinstance(text, str):
        return lm.tokenizer.document(text)
    size = lm.config.vocab_size
    wrong = next((id_ for id_ in text if not 0 <= id_ < size), None)
    if wrong is not None:
        raise ApiError(400, f"{wrong} is no token of this model; they go from 0 to {size - 1}", code="invalid_value")
    return list(text)


def must_write(lm: LanguageModel) -> None:
    """Raise `ApiError` 400 for a model that goes on with no text."""
    if lm.config.kind != "decoder":
        raise ApiError(
            400, f"{lm.name} is an {lm.config.kind}, which goes on with no text; name a decoder", param="model"
        )


def _compiled(grammar: Callable[[], Grammar], lm: LanguageModel, param: str | None) -> Constraint:
    """Where texts in the grammar begin. Raises `ApiError` 400 where it, or its first step, is beyond the bounds."""
    try:
        constraint = Constraint(grammar(), lm.tokenizer, lm.config.vocab_size)
        constraint.copy().mask()
    except BadInput as error:
        raise ApiError(400, str(error), param=param, code="invalid_value") from error
    return constraint


def _with(asked: Asked, constraint: Constraint | None) -> Asked:
    if constraint is None:
        return asked
    return replace(asked, constraint=constraint.copy)


def _refusal(error: BaseException) -> BaseException:
    if isinstance(error, Busy):
        return ApiError(429, f"the server is busy: {error}", code="server_busy", headers={"Retry-After": "2"})
    if isinstance(error, Closed):
        return ApiError(503, "the server is shutting down", code="shutting_down", headers={"Retry-After": "5"})
    return describe_failure(error) if isinstance(error, BadInput) else error
