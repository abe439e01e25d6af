"""Room for a bounded number of generations; one whose client has gone makes way at the next token."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar, cast

from starlette.requests import Request

from cutaway.serve.errors import ApiError

Item = TypeVar("Item")
_END = object()


class ClientGone(Exception):
    """The client hung up before its answer was ready."""


class Slots:
    """`answering` generations run at once, each in a thread of its own; `waiting` more stand in line.

    All methods are called on the event loop's thread.
    """

    def __init__(self, answering: int, waiting: int) -> None:
        self._pool = ThreadPoolExecutor(answering, thread_name_prefix="answer")
        self._capacity = answering + waiting
        self._tickets: set[Ticket[object]] = set()
        self._lock = threading.Lock()

    @property
    def taken(self) -> int:
        """Generations that run or wait."""
        with self._lock:
            return len(self._tickets)

    def start(self, generate: Callable[[], Iterator[Item]]) -> Ticket[Item]:
        """Put a generation in line. `generate` and its iterator run in a worker thread.

        Raises:
            ApiError: 429, the line is full.
        """
        with self._lock:
            if len(self._tickets) >= self._capacity:
                raise ApiError(
                    429,
                    f"the server is busy with {self._capacity} answers, running and waiting; try again shortly",
                    code="server_busy",
                    headers={"Retry-After": "2"},
                )
            ticket = Ticket(generate, asyncio.get_running_loop())
            self._tickets.add(cast("Ticket[object]", ticket))
        ticket.future = self._pool.submit(ticket.work)
        ticket.future.add_done_callback(lambda _: self._forget(cast("Ticket[object]", ticket)))
        return ticket

    def close(self) -> None:
        """Stop every generation, and wait for the threads; each ends after the token it is at."""
        with self._lock:
            tickets = list(self._tickets)
        for ticket in tickets:
            ticket.dismiss()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _forget(self, ticket: Ticket[object]) -> None:
        with self._lock:
            self._tickets.discard(ticket)


class Ticket(Generic[Item]):
    """One generation's place: iterate over it to get its items; `leave` gives the place up."""

    future: Future[None]

    def __init__(self, generate: Callable[[], Iterator[Item]], loop: asyncio.AbstractEventLoop) -> None:
        self._generate = generate
        self._loop = loop
        # Its length is bounded by the number of tokens of one answer.
        self._items: asyncio.Queue[object] = asyncio.Queue()
        self._left = threading.Event()

    def work(self) -> None:
        """Runs in the worker thread: hand over item after item until the end, or until the client has left."""
        try:
            items = self._generate()
            for item in items:
                if self._left.is_set():
                    break
                self._send(item)
            cast("Callable[[], None]", getattr(items, "close", lambda: None))()
        except BaseException as error:  # whatever it is, the waiting side must hear of it
            self._send(error)
        else:
            self._send(_END)

    def leave(self) -> None:
        """Give the place up: at once when still waiting, else after the token that is being computed."""
        self._left.set()
        self.future.cancel()

    def dismiss(self) -> None:
        """Leave, and tell whoever still waits for the first item that none will come."""
        self.leave()
        if self.future.cancelled():
            self._send(ApiError(503, "the server is shutting down", code="server_error"))

    async def __aiter__(self) -> AsyncIterator[Item]:
        try:
            while (item := await self._items.get()) is not _END:
                if isinstance(item, BaseException):
                    raise item
                yield cast("Item", item)
        finally:
            self.leave()

    def _send(self, item: object) -> None:
        try:
            self._loop.call_soon_threadsafe(self._items.put_nowait, item)
        except RuntimeError:  # the loop is closed: nobody waits any more
            self._left.set()


async def collect(ticket: Ticket[Item], request: Request) -> list[Item]:
    """All items of a generation, given up as soon as the client hangs up.

    Raises:
        ClientGone: it did.
    """

    async def everything() -> list[Item]:
        return [item async for item in ticket]

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
        ticket.leave()
        for task in (work, gone):
            task.cancel()
        await asyncio.gather(work, gone, return_exceptions=True)
