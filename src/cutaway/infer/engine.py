"""The engine: a thread that owns a model and writes for whoever asks, many at once."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from copy import deepcopy
from types import TracebackType
from typing import Self

import torch

from cutaway.infer.batching import Batching, RunnerOf
from cutaway.infer.figures import Load
from cutaway.infer.handle import Handle
from cutaway.infer.language_model import LanguageModel
from cutaway.infer.pages import Pages, page_bytes, pages_for
from cutaway.infer.request import Busy, Closed, Ended, Event, Request
from cutaway.infer.runner import TorchRunner
from cutaway.infer.unfinished import Unfinished
from cutaway.runs import BadInput

MEMORY = 1 << 30
"""Bytes for keys and values where nobody says how many; at least one sequence as long as the context finds room."""

log = logging.getLogger(__name__)


class Engine:
    """Takes requests from any thread; every answer is what it would be if the model wrote it alone.

    A batch adds floating-point numbers up in another order than a single sequence, so that two tokens that are equally
    likely but for the last digits may change places.

        with Engine(lm) as engine:
            for event in engine.submit(Request(prompt, max_tokens=20)):
                ...
    """

    def __init__(
        self,
        lm: LanguageModel,
        *,
        runner: RunnerOf = TorchRunner,
        pages: int | None = None,
        memory: int | None = None,
        cache_dtype: torch.dtype | None = None,
        most_rows: int = 32,
        chunk: int = 256,
        waiting: int = 64,
    ) -> None:
        """Start a thread for `lm`, a decoder.

        Args:
            lm: the model. Its weights must stay as they are.
            runner: makes what computes a step.
            pages: room for keys and values, in pages.
            memory: the same in bytes, where `pages` is not given.
            cache_dtype: float32, bfloat16 or int8; None for that of the weights where it is one of them, else float32.
            most_rows: completions that are written at once.
            chunk: tokens of prompts that are read in one step, besides the tokens of those that write.
            waiting: completions that may wait in line.
        """
        for name, value in (("most_rows", most_rows), ("chunk", chunk)):
            if value < 1:
                raise BadInput(f"{name} is {value}; it must be at least 1")
        weight = lm.model.embed.weight
        if cache_dtype is None:
            cache_dtype = torch.bfloat16 if weight.dtype == torch.bfloat16 else torch.float32
        longest = pages_for(lm.config.context)
        if pages is None:
            room = (MEMORY if memory is None else memory) // page_bytes(lm.config, cache_dtype)
            pages = min(most_rows * longest, max(room, longest) if memory is None else room)
        store = Pages(lm.config, pages, dtype=cache_dtype, device=weight.device)
        self._changed = threading.Condition()
        self._batching = Batching(lm, store, runner=runner, most_rows=most_rows, chunk=chunk, wake=self._wake)
        self._capacity = most_rows + waiting
        self._new: deque[Unfinished] = deque()
        self._held = 0
        self._woken = self._closed = self._ending = False
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    def submit(self, request: Request) -> Handle:
        """Put a request in line.

        Raises:
            BadInput: it can never be done: its prompt does not fit into the context, or it has too many completions.
            Busy: the line is full.
            Closed: the engine was closed.
        """
        if request.n > self._capacity:
            raise BadInput(f"{request.n} completions are asked for; the engine holds {self._capacity} at once")
        handle = Handle(request.n)

        def tell(event: Event) -> None:
            if isinstance(event, Ended):
                with self._changed:
                    self._held -= 1
                    self._changed.notify_all()
            handle.put(event)

        # Outside of the lock: a constraint may take a while to make.
        completions = self._batching.completions(request, tell)
        with self._changed:
            if self._closed:
                raise Closed("the engine is shutting down and takes no more requests")
            if self._held + request.n > self._capacity:
                raise Busy(f"all {self._capacity} places, running and waiting, are taken; try again shortly")
            self._held += request.n
            self._new.extend(completions)

        def cancel() -> None:
            for completion in completions:
                completion.cancelled = True
            self._wake()

        handle.on_cancel = cancel
        self._wake()
        return handle

    def load(self) -> Load:
        """How things stand."""
        batching = self._batching
        prefixes, scheduler = batching.prefixes, batching.scheduler
        return Load(
            waiting=len(self._new) + len(scheduler.waiting),
            running=len(scheduler.running),
            pages=batching.pages.count,
            pages_used=batching.pages.count - prefixes.room,
            tokens_asked=prefixes.asked,
            tokens_found=prefixes.found,
            set_back=scheduler.set_back_ever,
            figures=deepcopy(batching.figures),
        )

    def close(self, seconds: float = 0.0) -> None:
        """Take no more requests, give those that run and wait so long to end, cancel the others and stop."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._held, timeout=seconds)
            self._ending = True
        self._wake()
        self._thread.join()
        self._batching.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def _wake(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def _work(self) -> None:
        """The thread: step after step as long as there is something to do."""
        batching = self._batching
        while True:
            with self._changed:
                self._woken = False
                if self._ending and not self._held:
                    return
                while self._new:
                    batching.add(self._new.popleft())
            if self._ending:
                for completion in batching.live:
                    completion.cancelled = True
            try:
                busy = batching.step()
            except BaseException as error:  # whatever it is, the thread goes on and nobody waits in vain
                log.exception("a step failed")
                batching.fail(error)
                busy = True
            if not busy:
                self._rest()

    def _rest(self) -> None:
        """Wait until something has changed, or somebody's time is over."""
        until = min((completion.deadline for completion in self._batching.live), default=math.inf)
        with self._changed:
            left = None if until == math.inf else max(0.0, until - time.monotonic())
            self._changed.wait_for(lambda: self._woken or self._ending, timeout=left)
