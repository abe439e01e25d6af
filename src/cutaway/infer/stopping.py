"""Stop strings: a text ends where one appears, though it may be spread over several tokens."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from cutaway.infer.generate import Step


class StopStrings:
    """Lets steps through as soon as their text cannot be part of a stop string any more."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = tuple(stops)
        self.held: list[Step] = []
        self.found = False

    def feed(self, step: Step) -> list[Step]:
        """The steps that may be shown now; once `found`, the last of them is cut where the stop string began."""
        self.held.append(step)
        text = "".join(held.text for held in self.held)
        starts = [at for stop in self.stops if (at := text.find(stop)) >= 0]
        self.found = bool(starts)
        return self._before(min(starts)) if starts else self._whole(len(text) - begun(text, self.stops))

    def flush(self) -> list[Step]:
        """The steps still held back, when the text has ended without a stop string."""
        held, self.held = self.held, []
        return held

    def _whole(self, characters: int) -> list[Step]:
        """Let go of the steps that end within the first `characters`."""
        free: list[Step] = []
        while self.held and len(self.held[0].text) <= characters:
            characters -= len(self.held[0].text)
            free.append(self.held.pop(0))
        return free

    def _before(self, characters: int) -> list[Step]:
        """The steps that make the first `characters`, the last of them cut."""
        free: list[Step] = []
        for step in self.held:
            if characters <= 0:
                break
            free.append(replace(step, text=step.text[:characters]))
            characters -= len(step.text)
        self.held = []
        return free


def begun(text: str, marks: Collection[str]) -> int:
    """Characters at the end of `text` that one of the marks begins with and goes on after."""
    longest = max(map(len, marks), default=0)
    lengths = range(min(longest - 1, len(text)), 0, -1)
    return next((n for n in lengths if any(mark.startswith(text[-n:]) for mark in marks)), 0)
