"""The wire: HTTP/1.1 with a bound on the connections, and on the time that the head of a request may take."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

FULL = b"this server has as many connections as it takes; try again in a few seconds\n"
TURNED_AWAY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
    b"Retry-After: 5\r\nConnection: close\r\n\r\n%s" % (len(FULL), FULL)
)
LATE = b"the head of the request did not arrive in time\n"
TIMED_OUT = (
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
    b"Connection: close\r\n\r\n%s" % (len(LATE), LATE)
)
LINGER_SECONDS = 2.0
"""Time for one who was turned away to send what he has begun, and to read why."""
MOST_LINGERING = 128
"""Who are turned away beyond are cut off."""


class PatientProtocol(H11Protocol):
    """uvicorn's HTTP, which by itself waits for ever on a client that sends half a head (a slow-loris attack).

    One connection too many uvicorn lets be until a request has come on it, and then closes while the body may still be
    on its way, so that the client sees a reset and no answer. Here it is answered at once, and heard to its end.
    """

    head_seconds = 10.0
    lingering: ClassVar[set[asyncio.Protocol]]
    """Those who were turned away and have not gone."""
    _deadline: asyncio.TimerHandle | None = None
    _away = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.most, self.limit_concurrency = self.limit_concurrency, None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A client is there."""
        super().connection_made(transport)
        if self.most is not None and len(self.connections) > self.most:
            self._turn_away()
        else:
            self._watch()

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._away:
            return
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        super().connection_lost(exc)
        self.lingering.discard(self)
        self._unwatch()

    def _turn_away(self) -> None:
        self._away = True
        self.connections.discard(self)
        if len(self.lingering) >= MOST_LINGERING:
            self.transport.abort()
            return
        self.lingering.add(self)
        self.transport.write(TURNED_AWAY)
        self.transport.write_eof()
        # The transport closes by itself when the client has ended, too.
        self._deadline = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _watch(self) -> None:
        # `cycle` is the request that is being answered, or was last: its head is there. Before the first there is none.
        expecting = getattr(self.cycle, "response_complete", True)
        if not expecting:
            self._unwatch()
        elif self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.head_seconds, self._end)

    def _end(self) -> None:
        """The head is late: say so to one who has begun it, and close."""
        if self.conn.trailing_data[0]:
            self.transport.write(TIMED_OUT)
            self.transport.close()
        else:
            self.transport.abort()

    def _unwatch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def patient(head_seconds: float) -> type[PatientProtocol]:
    """The protocol with this bound, for one server."""
    return type("PatientProtocol", (PatientProtocol,), {"head_seconds": head_seconds, "lingering": set()})
