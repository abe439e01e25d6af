"""Stop strings: end an answer where one appears, though it may be spread over several tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cutaway.serve.speech import Piece


class StopStrings:
    """Lets pieces through as soon as their text cannot be part of a stop string any more.

    `feed` returns the pieces that are now safe to send; once `found` is True the last of them was cut before the
    stop string, and nothing more may be fed. `flush` returns what is still held when the answer ends by itself.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = tuple(stops)
        self.found = False
        self._held: list[Piece] = []

    def feed(self, piece: Piece) -> list[Piece]:
        """The pieces that are safe to send now that `piece` is there."""
        if not self.stops:
            return [piece]
        self._held.append(piece)
        text = "".join(held.text for held in self._held)
        starts = [at for stop in self.stops if (at := text.find(stop)) >= 0]
        if starts:
            self.found = True
            return self._release(min(starts), cut=True)
        return self._release(len(text) - self._possible_start(text), cut=False)

    def flush(self) -> list[Piece]:
        """The pieces still held; the answer is over."""
        held, self._held = self._held, []
        return held

    def _possible_start(self, text: str) -> int:
        """Characters at the end of `text` that a stop string might begin with."""
        longest = max(len(stop) for stop in self.stops) - 1
        for length in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self.stops):
                return length
        return 0

    def _release(self, characters: int, *, cut: bool) -> list[Piece]:
        """Take from the held pieces those that end within the first `characters`, and the part of one if `cut`."""
        released: list[Piece] = []
        while self._held and len(self._held[0].text) <= characters and (characters or not cut):
            piece = self._held.pop(0)
            characters -= len(piece.text)
            released.append(piece)
        if cut:
            if characters:
                released.append(replace(self._held[0], text=self._held[0].text[:characters]))
            self._held = []
        return released
