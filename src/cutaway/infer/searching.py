"""Searches for whoever asks: beam search and contrastive search, one after another, in a thread beside the engines.

A search reads many sequences that grow from one prompt, and leaves most of them; it keeps them in a cache of its own,
not in an engine's pages, and says what it found at its end, in an engine's words.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch

from cutaway.infer.beam import Beams
from cutaway.infer.completion import Completion, completed, searched
from cutaway.infer.contrastive import Contrast, contrastive_search
from cutaway.infer.decoding import Decoding
from cutaway.infer.generate import Step
from cutaway.infer.handle import Handle
from cutaway.infer.language_model import LanguageModel
from cutaway.infer.request import Busy, Closed, Ended, Event, Reason, Request, Written

PIECE = 256
"""Tokens of a prompt that are read before anybody is asked whether the answer is still wanted."""
Search = Beams | Contrast


class Searcher:
    """Takes requests that are to be answered by a search, from any thread, and carries them out in order.

    Of a request its constraint, its interjections, its tap and the prompt's own tokens are left out of account.
    """

    def __init__(self, most: int = 8) -> None:
        """`most` requests may be here, the one that is carried out and those that wait."""
        self.most = most
        self._searches: set[_Searching] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="search")

    @property
    def held(self) -> int:
        """Requests that have not ended."""
        return len(self._searches)

    def submit(self, lm: LanguageModel, request: Request, search: Search) -> Handle:
        """Put a request in line.

        Raises:
            BadInput: it can never be done: the request asks for what a search cannot give.
            Busy: the line is full.
            Closed: the searcher was closed.
        """
        searching = _Searching(lm, request, search)
        with self._lock:
            if self._closed:
                raise Closed("the searcher is shutting down and takes no more requests")
            if self.held >= self.most:
                raise Busy(f"{self.held} searches run and wait; try again shortly")
            self._searches.add(searching)
            self._thread.submit(self._carry_out, searching)
        return searching.handle

    def close(self) -> None:
        """Take no more requests, give up those that are there, and stop."""
        with self._lock:
            self._closed = True
            for searching in self._searches:
                searching.cancelled = True
        self._thread.shutdown()

    def _carry_out(self, searching: _Searching) -> None:
        try:
            events = list(searching.events())
        except Exception as error:  # whatever it is, nobody waits in vain
            events = [Ended(i, "error", 0, error=error) for i in range(searching.request.n)]
        with self._lock:
            self._searches.discard(searching)
        for event in events:
            searching.handle.put(event)


@dataclass(eq=False)
class _Searching:
    """One request and what came of it."""

    lm: LanguageModel
    request: Request
    search: Search
    arrived: float = field(default_factory=time.monotonic)
    cancelled: bool = False
    decoding: Decoding = field(init=False)
    handle: Handle = field(init=False)

    def __post_init__(self) -> None:
        request, search = self.request, self.search
        self.decoding = Decoding(
            max_tokens=request.max_tokens,
            n=request.n,
            stops=request.stops,
            top=request.alternatives,
            beams=search if isinstance(search, Beams) else None,
            contrast=search if isinstance(search, Contrast) else None,
        )
        self.handle = Handle(request.n)
        self.handle.on_cancel = self.cancel

    def cancel(self) -> None:
        """Nobody wants it any more."""
        self.cancelled = True

    def going(self) -> bool:
        """Whether it is still wanted, and there is time."""
        seconds = self.request.seconds
        return not self.cancelled and (seconds is None or time.monotonic() < self.arrived + seconds)

    def events(self) -> Iterator[Event]:
        """All that there is to say, once all is known."""
        session, ids = self.lm.begin(self.request.prompt)
        read: list[torch.Tensor] = []
        for at in range(0, len(ids), PIECE):
            if not self.going():
                break
            read.append(session.read(ids[at : at + PIECE]))
        found: list[Completion] = []
        if self.going():
            stop_ids = frozenset(self.request.stop_ids)
            if isinstance(self.search, Beams):
                found = list(searched(self.lm, session, self.decoding, self.search, stop_ids, self.going))
            else:
                steps = contrastive_search(
                    self.lm.tokenizer, session, torch.cat(read), self.search,
                    max_tokens=self.request.max_tokens, stop_ids=stop_ids, top=self.request.alternatives,
                )  # fmt: skip
                told = completed(self.lm, self._while_going(steps), self.decoding, stop_ids)
                found = [each for each in told if isinstance(each, Completion)]
        cut: Reason = "length" if self.going() else "cancelled" if self.cancelled else "timed out"
        for i in range(self.request.n):
            # Where there is no room for a token there is one empty text, and where it never began none.
            completion = found[i] if i < len(found) else Completion("", [], "length")
            yield from (Written(i, step) for step in completion.steps)
            tail = completion.text.removeprefix("".join(step.text for step in completion.steps))
            ended = "stop" if completion.finish == "stop" and cut != "cancelled" else cut
            yield Ended(i, ended, len(completion.steps), tail=tail)

    def _while_going(self, steps: Iterator[Step]) -> Iterator[Step]:
        for step in steps:
            yield step
            if not self.going():
                return
