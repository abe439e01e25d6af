"""What an engine counts while it works."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

from cutaway.infer.request import Reason


@dataclass
class Figures:
    """Counts since the engine was made.

    Attributes:
        steps: passes through the scheduler that computed something.
        rows: completions in them, summed: divided by `steps`, the size of a batch.
        seconds: time that they took.
        read, written: tokens that the model read, and those that it chose.
        rejected: requests that were turned away because the line was full.
        ended: completions by the reason of their end.
        first_tokens: completions that came to a first token.
        first_token_seconds: the time that it took from their arrival, summed.
    """

    steps: int = 0
    rows: int = 0
    seconds: float = 0.0
    read: int = 0
    written: int = 0
    rejected: int = 0
    ended: dict[Reason, int] = field(default_factory=lambda: dict.fromkeys(get_args(Reason), 0))
    first_tokens: int = 0
    first_token_seconds: float = 0.0

    def stepped(self, rows: int, read: int, written: int, seconds: float) -> None:
        """Count a step."""
        self.steps += 1
        self.rows += rows
        self.read += read
        self.written += written
        self.seconds += seconds

    def first_token(self, seconds: float) -> None:
        """Count a completion's first token, that long after it arrived."""
        self.first_tokens += 1
        self.first_token_seconds += seconds


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
