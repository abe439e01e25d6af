"""What an asker holds of a request: its events as they come, for threads and for asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator

from cutaway.infer.request import Ended, Event


class Handle:
    """Iterate over it, with `for` or `async for`, to get a request's events until its last completion has ended.

    Who stops iterating before the end gives the request up. Events wait here as long as nobody takes them.
    """

    def __init__(self, completions: int) -> None:
        self.left = completions
        self.on_cancel: Callable[[], None] = lambda: None
        self._events: deque[Event] = deque()
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrived: asyncio.Event | None = None

    def put(self, event: Event) -> None:
        """Hand over an event, from any thread."""
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()
            loop, arrived = self._loop, self._arrived
        if loop is not None and arrived is not None:
            try:
                loop.call_soon_threadsafe(arrived.set)
            except RuntimeError:  # the loop is closed: nobody waits any more
                self.cancel()

    def cancel(self) -> None:
        """Give the request up, from any thread: what has not ended ends at the next step, and says so."""
        self.on_cancel()

    def __iter__(self) -> Iterator[Event]:
        try:
            while self.left:
                with self._changed:
                    while not self._events:
                        self._changed.wait()
                    event = self._next()
                yield event
        finally:
            self._leave()

    async def __aiter__(self) -> AsyncIterator[Event]:
        arrived = asyncio.Event()
        with self._changed:
            self._loop, self._arrived = asyncio.get_running_loop(), arrived
        try:
            while self.left:
                arrived.clear()
                with self._changed:
                    event = self._next() if self._events else None
                if event is None:
                    await arrived.wait()
                else:
                    yield event
        finally:
            self._leave()

    def _next(self) -> Event:
        event = self._events.popleft()
        self.left -= isinstance(event, Ended)
        return event

    def _leave(self) -> None:
        if self.left:
            self.cancel()
