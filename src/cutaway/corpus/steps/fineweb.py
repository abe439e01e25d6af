"""Pages that are lists: lines without full stops, short or repeated lines, many line breaks for their words.

Penedo et al., "The FineWeb datasets: decanting the web for the finest text data at scale" (2024), section 3.5; in the
order and with the words of datatrove's filter of the same name, with which every decision agrees.
"""

from __future__ import annotations

from cutaway.corpus.page import Page, Removal
from cutaway.corpus.steps.gopher_repetition import duplicates
from cutaway.corpus.steps.simplified import TERMINAL_MARKS
from cutaway.corpus.steps.words import WordSettings, shared_words


class FineWebSettings(WordSettings):
    """Shares that a page must reach or must not pass."""

    min_ended_lines: float = 0.12
    """Of the lines that are not blank, those that end with a mark that ends sentences."""
    max_short_lines: float = 0.67
    """Of those lines, the ones of at most `short_line` characters."""
    short_line: int = 30
    max_duplicate_characters: float = 0.01
    """Of the characters, those in lines that occurred before."""
    max_breaks: float = 0.3
    """Line breaks per word."""


class FineWebFilter:
    """Removes a page by the first rule that it breaks."""

    name = "fineweb"

    def __init__(self, settings: FineWebSettings) -> None:
        self._settings = settings
        self._words = shared_words(settings)

    def __call__(self, page: Page) -> Removal | None:
        """See `Step`. The rules' names are datatrove's."""
        settings = self._settings
        breaks = page.text.count("\n")
        lines = [line for line in page.text.split("\n") if line and not line.isspace()]
        if not lines:
            return Removal("empty", 0, 1)
        ended = sum(line[-1] in TERMINAL_MARKS for line in lines) / len(lines)
        if ended < settings.min_ended_lines:
            return Removal("line_punct_ratio", ended, settings.min_ended_lines)
        short = sum(len(line) <= settings.short_line for line in lines) / len(lines)
        if short > settings.max_short_lines:
            return Removal("short_line_ratio", short, settings.max_short_lines)
        repeated = duplicates(lines)[1] / (len(page.text) - breaks)
        if repeated > settings.max_duplicate_characters:
            return Removal("char_dup_ratio", repeated, settings.max_duplicate_characters)
        share = breaks / max(len(self._words(page.text)), 1)
        return Removal("list_ratio", share, settings.max_breaks) if share > settings.max_breaks else None
