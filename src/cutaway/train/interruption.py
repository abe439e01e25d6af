"""Being stopped by Ctrl-C or SIGTERM between two consistent states, never inside an update."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from cutaway.runs import Terminated


class Stopping:
    """Whether somebody asked to stop, and whether that must wait.

    One of several processes waits until all know (`agreed`), for those that go on would wait for it forever.
    """

    def __init__(self, *, together: bool = False) -> None:
        self.asked: int | None = None
        self.held = together

    def ask(self, signal_number: int, frame: FrameType | None) -> None:
        """The signal's handler: stop now, or as soon as what is being done is whole."""
        self.asked = signal_number
        if not self.held:
            self.stop_if_asked()

    def agreed(self) -> None:
        """Stop: one of several processes was asked to, and now all know it."""
        self.asked = self.asked or signal.SIGTERM
        self.stop_if_asked()

    def stop_if_asked(self) -> None:
        """Raise `Terminated`, or `KeyboardInterrupt` for Ctrl-C, if a signal has come.

        From then on all is held: a second signal does not break off what the first one has kept.
        """
        if self.asked is not None:
            self.held = True
            raise Terminated if self.asked == signal.SIGTERM else KeyboardInterrupt

    @contextmanager
    def hold(self) -> Generator[None]:
        """Within the block nothing stops; what was asked meanwhile is done after it."""
        before, self.held = self.held, True
        try:
            yield
        finally:
            self.held = before or self.asked is not None
        if not before:
            self.stop_if_asked()

    @contextmanager
    def let_go(self) -> Generator[None]:
        """Within the block, which is part of one that is held, it stops at once: what is done there changes nothing.

        Also one of several processes, which must then tell the others.
        """
        self.held = False
        try:
            self.stop_if_asked()
            yield
        finally:
            self.held = True


@contextmanager
def stoppable(*, together: bool = False) -> Generator[Stopping]:
    """Take SIGTERM and Ctrl-C within the block. Outside the main thread, where Python allows no handlers, neither."""
    stopping = Stopping(together=together)
    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        # A shell's background jobs ignore Ctrl-C, and go on ignoring it.
        if handler is not signal.SIG_IGN:
            signal.signal(number, stopping.ask)
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    # One that came after the processes had last asked each other.
    stopping.stop_if_asked()
