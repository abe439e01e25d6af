"""The wire: HTTP/1.1 with a bound on the time that the head of a request may take."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol


class PatientProtocol(H11Protocol):
    """uvicorn's HTTP, which by itself waits for ever on a client that sends half a head (a slow-loris attack)."""

    head_seconds = 10.0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A client is there."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        super().connection_lost(exc)
        self._unwatch()

    def _watch(self) -> None:
        # `cycle` is the request that is being answered, or was last: its head is there. Before the first there is none.
        expecting = getattr(self.cycle, "response_complete", True)
        if not expecting:
            self._unwatch()
        elif self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.head_seconds, self.transport.abort)

    def _unwatch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def patient(head_seconds: float) -> type[PatientProtocol]:
    """The protocol with this bound."""
    return type("PatientProtocol", (PatientProtocol,), {"head_seconds": head_seconds})
