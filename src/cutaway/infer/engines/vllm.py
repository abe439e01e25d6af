"""vLLM behind the interface of our engine: it schedules, computes and draws; what is told of an answer is ours.

Written against vLLM's documentation (versions 0.20 to 0.32), and tried only with a stand-in for it: vLLM itself was
never run with this.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from cutaway.infer.engines.exported import directory_of
from cutaway.infer.engines.vllm_library import (
    engine_arguments,
    grammar_in,
    library,
    must_be_possible,
    sampling_params,
    thought,
)
from cutaway.infer.figures import Figures, Load
from cutaway.infer.handle import Handle
from cutaway.infer.language_model import LanguageModel
from cutaway.infer.native import Precision
from cutaway.infer.request import Busy, Closed, Constraint, Ended, Event, Reason, Request
from cutaway.infer.telling import Teller
from cutaway.runs import BadInput, CutawayError

Turn = Literal["turn"]
"""A stop token came, after which something may be put before the model."""

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Answer:
    """One completion of a request on its way.

    Attributes:
        request, index: what is asked for, and which of its completions this is.
        teller: makes events of its tokens.
        tell: takes them.
        deadline: when its time is over, on the loop's clock; None for never.
        constraint: where it stands in its grammar.
        ids: the prompt and all that came after it.
        turn: where in `ids` the model's present turn begins.
        forced: how many at the end of `ids` were put there and are not yet told.
        heard: how many of `ids` vLLM has told of, as parts of a prompt.
        written: tokens that the model chose.
        known: tokens of the prompt that were found computed already.
        began: whether anything has come yet.
        task: what works at it.
    """

    request: Request
    index: int
    teller: Teller
    tell: Callable[[Event], None]
    deadline: float | None
    constraint: Constraint | None = None
    ids: list[int] = field(default_factory=list[int])
    turn: int = 0
    forced: int = 0
    heard: int = 0
    written: int = 0
    known: int = 0
    began: bool = False
    task: asyncio.Task[Reason] | None = None


class VllmEngine:
    """Takes requests from any thread, as `Engine` does; a thread of its own runs the loop that vLLM lives in.

    Penalties count from the last interjection on, and a request that is interjected reads all anew from there.
    """

    def __init__(
        self, lm: LanguageModel, *, weights: Precision | None = None, most_rows: int = 32, waiting: int = 64
    ) -> None:
        """Start vLLM with `lm`, a decoder.

        Args:
            lm: the model, which goes to vLLM as a directory.
            weights: float32 or bfloat16; None for what vLLM chooses.
            most_rows: completions that are written at once.
            waiting: completions that may wait in line.

        Raises:
            BadInput: vLLM is not installed, or cannot be given this model.
            CutawayError: it does not start.
        """
        if lm.config.kind != "decoder":
            raise BadInput(f"{lm.name} is an {lm.config.kind}, and vLLM is given decoders; leave out --engine")
        self.lm, self.capacity = lm, most_rows + waiting
        self.figures = Figures()
        self.lock = threading.Lock()
        self.held = self.begun = self.asked = self.found = 0
        self.closed = False
        self.live: set[Answer] = set()
        self.names = itertools.count()
        arguments = engine_arguments(lm, str(directory_of(lm, weights)), weights, most_rows)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="vllm", daemon=True)
        self.thread.start()

        async def start() -> Any:
            return library().AsyncLLM.from_engine_args(arguments)

        try:
            self.engine = asyncio.run_coroutine_threadsafe(start(), self.loop).result()
        except Exception as error:
            self.end_loop()
            raise CutawayError(f"vLLM does not start with {lm.name}: {error}") from error

    def submit(self, request: Request) -> Handle:
        """Put a request in line.

        Raises:
            BadInput: it can never be done, by vLLM or at all.
            Busy: the line is full.
            Closed: the engine was closed.
        """
        self.must_fit(request)
        must_be_possible(request, self.lm.config.context)
        handle = Handle(request.n)
        answers = [self.answer(request, index, handle.put) for index in range(request.n)]

        def cancel() -> None:
            with suppress(RuntimeError):  # the loop is closed, and everything has ended
                self.loop.call_soon_threadsafe(self.cancel, answers)

        handle.on_cancel = cancel
        with self.lock:
            if self.closed:
                raise Closed("the engine is shutting down and takes no more requests")
            if self.held + request.n > self.capacity:
                raise Busy(f"all {self.capacity} places, running and waiting, are taken; try again shortly")
            self.held += request.n
            self.loop.call_soon_threadsafe(self.start, answers)
        return handle

    def load(self) -> Load:
        """How things stand. Pages and steps are vLLM's own, of which nothing is told here."""
        with self.lock:
            return Load(
                waiting=self.held - self.begun,
                running=self.begun,
                pages=1,
                pages_used=0,
                tokens_asked=self.asked,
                tokens_found=self.found,
                set_back=0,
                figures=deepcopy(self.figures),
            )

    def close(self) -> None:
        """Take no more requests, cancel those that run and wait, and stop vLLM."""
        with self.lock:
            if self.closed:
                return
            self.closed = True
        asyncio.run_coroutine_threadsafe(self.stop(), self.loop).result()
        self.end_loop()

    async def stop(self) -> None:
        """Cancel all and stop vLLM."""
        tasks = [answer.task for answer in self.live if answer.task]
        self.cancel(list(self.live))
        await asyncio.gather(*tasks, return_exceptions=True)
        self.engine.shutdown()

    def end_loop(self) -> None:
        """Stop the thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def must_fit(self, request: Request) -> None:
        """Raise `BadInput` for a prompt that is too long or holds no tokens of the model, and for too many answers."""
        config = self.lm.config
        if request.n > self.capacity:
            raise BadInput(f"{request.n} completions are asked for; the engine holds {self.capacity} at once")
        if len(request.prompt) > config.context:
            raise BadInput(
                f"a prompt of {len(request.prompt)} tokens does not fit into the model's context of {config.context}"
            )
        wrong = next((token for token in request.prompt if not 0 <= token < config.vocab_size), None)
        if wrong is not None:
            raise BadInput(f"the prompt holds the token {wrong}; the model's go from 0 to {config.vocab_size - 1}")

    def answer(self, request: Request, index: int, tell: Callable[[Event], None]) -> Answer:
        """One completion of a request, before anything has come of it."""
        constraint = request.constraint() if request.constraint else None
        if constraint:
            grammar_in(constraint)
        teller = Teller(request, index, self.lm.tokenizer, tell)
        deadline = None if request.seconds is None else self.loop.time() + request.seconds
        ids = list(request.prompt)
        return Answer(request, index, teller, tell, deadline, constraint, ids, turn=len(ids))

    def start(self, answers: Sequence[Answer]) -> None:
        """Begin with some answers; in the loop."""
        for answer in answers:
            self.live.add(answer)
            answer.task = self.loop.create_task(self.timed(answer))
            answer.task.add_done_callback(partial(self.end, answer))

    def cancel(self, answers: Sequence[Answer]) -> None:
        """Give some answers up; in the loop."""
        for answer in answers:
            if answer.task:
                answer.task.cancel()

    async def timed(self, answer: Answer) -> Reason:
        """Write an answer, as long as there is time; why it ended."""
        try:
            async with asyncio.timeout_at(answer.deadline):
                return await self.write(answer)
        except TimeoutError:
            return "timed out"

    async def write(self, answer: Answer) -> Reason:
        """Write an answer, with what is put before the model in between; why it ended."""
        request = answer.request
        while (reason := await self.stretch(answer)) == "turn":
            assert request.interject is not None
            found = await asyncio.to_thread(request.interject, answer.index, answer.ids[answer.turn :])
            if found is None:
                return "stop"
            if len(answer.ids) + len(found.tokens) > self.lm.config.context:
                return "length"
            answer.teller.interrupted(found)
            answer.ids += found.tokens
            answer.turn, answer.forced, answer.heard = len(answer.ids), len(found.tokens), 0
        return reason

    async def stretch(self, answer: Answer) -> Reason | Turn:
        """Ask vLLM to go on with an answer, and tell what it writes up to an end or a stop token."""
        request = answer.request
        left = min(request.max_tokens - answer.written, self.lm.config.context - len(answer.ids))
        asked = request.prompt_steps and answer.index == 0 and not answer.written
        of_prompt = asked or answer.forced > 0
        if left <= 0 and not asked:
            return "length"
        seed = request.sampling.seed
        params = sampling_params(
            request,
            answer.index,
            left,
            of_prompt=of_prompt,
            grammar=grammar_in(answer.constraint) if answer.constraint else None,
            # What comes after an interjection is not to be drawn as what came before it.
            seed=None if seed is None else seed + answer.written,
        )
        prompt: dict[str, Any] = {"prompt_token_ids": list(answer.ids)}
        if request.among:
            prompt["cache_salt"] = request.among
        stream: AsyncGenerator[Any] = self.engine.generate(
            prompt, params, f"cutaway-{next(self.names)}", priority=-request.priority
        )
        # However this ends, closing the stream has vLLM let go of the request.
        async with aclosing(stream):
            async for output in stream:
                self.begin(answer, output)
                self.tell_prompt(answer, output.prompt_logprobs or ())
                (choice,) = output.outputs
                end: Reason | Turn | None = None
                for token, place in zip(choice.token_ids, choice.logprobs or (), strict=True):
                    end = end or self.wrote(answer, token, place)
                if output.finished:
                    await anext(stream, None)
                if end:
                    return end
        return "length"

    def begin(self, answer: Answer, output: Any) -> None:
        """Count an answer of which something has come for the first time."""
        if answer.began:
            return
        answer.began, answer.known = True, output.num_cached_tokens or 0
        with self.lock:
            self.begun += 1
            self.asked += len(answer.request.prompt)
            self.found += answer.known
            self.figures.read += len(answer.request.prompt) - answer.known

    def tell_prompt(self, answer: Answer, places: Sequence[Any]) -> None:
        """Tell of the prompt's own tokens, or of those that were put before the model last."""
        ids, most = answer.ids, answer.request.alternatives
        first = len(ids) - answer.forced if answer.forced else 1
        tell = answer.teller.forced if answer.forced else answer.teller.prompt_token
        for at, place in enumerate(places, answer.heard):
            # Of the first token, which nothing stands before, there is nothing to be thought.
            if place is not None and at >= first:
                tell(ids[at], *thought(place, ids[at], most))
        answer.heard += len(places)
        if answer.heard == len(ids):
            answer.forced = 0

    def wrote(self, answer: Answer, token: int, place: Any) -> Reason | Turn | None:
        """Tell of a token that the model chose; why the answer or its turn ends with it, None if it goes on."""
        request, constraint = answer.request, answer.constraint
        if answer.written >= request.max_tokens:
            return "length"
        answer.ids.append(token)
        answer.written += 1
        self.figures.written += 1
        answer.teller.written(token, *thought(place, token, request.alternatives))
        if constraint:
            constraint.accept(token)
        full = answer.written >= request.max_tokens
        if answer.teller.stopped or (constraint and constraint.finished):
            return "stop"
        if token in request.stop_ids:
            return "turn" if request.interject and not full else "stop"
        return "length" if full or len(answer.ids) >= self.lm.config.context else None

    def end(self, answer: Answer, task: asyncio.Task[Reason]) -> None:
        """Let an answer go, and say why."""
        self.live.discard(answer)
        error = None
        if task.cancelled():
            reason: Reason = "cancelled"
        elif raised := task.exception():
            reason, error = "error", fault(raised)
        else:
            reason = task.result()
        tail = answer.teller.finish()
        with self.lock:
            self.held -= 1
            self.begun -= answer.began
            self.figures.ended[reason] += 1
        answer.tell(Ended(answer.index, reason, answer.written, answer.known, tail, error))


def fault(error: BaseException) -> CutawayError:
    """What an asker may know of an error."""
    if isinstance(error, CutawayError):
        return error
    if isinstance(error, library().Refused):
        return BadInput(f"vLLM refuses the request: {error}")
    log.error("vLLM failed", exc_info=error)
    return CutawayError("vLLM failed while it wrote; the log has the reason")
