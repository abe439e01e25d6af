"""What an engine counts while it works."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

from cutaway.infer.request import Reason


@dataclass
class Figures:
    """Counts since the engine was made. Whoever has been told of something finds it counted.

    Attributes:
        steps: passes through the scheduler that computed something.
        rows: completions in them, summed: divided by `steps`, the size of a batch.
        read, written: tokens that the model read, and those that it chose.
        ended: completions by the reason of their end.
    """

    steps: int = 0
    rows: int = 0
    read: int = 0
    written: int = 0
    ended: dict[Reason, int] = field(default_factory=lambda: dict.fromkeys(get_args(Reason), 0))

    def stepped(self, rows: int, read: int) -> None:
        """Count a step."""
        self.steps += 1
        self.rows += rows
        self.read += read


@dataclass(frozen=True)
class Load:
    """How things stand with an engine now.

    Attributes:
        waiting, running: completions in line, and those that have pages.
        pages, pages_used: pages in all, and those that completions use.
        tokens_asked, tokens_found: tokens that completions came with; and those of them that were computed already.
        set_back: completions that had to give up their pages to others.
        figures: counts since the engine was made.
    """

    waiting: int
    running: int
    pages: int
    pages_used: int
    tokens_asked: int
    tokens_found: int
    set_back: int
    figures: Figures
