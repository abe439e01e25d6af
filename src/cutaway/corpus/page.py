"""What flows through the web pipeline: a page, and the two ways in which one leaves it early."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(slots=True)
class Page:
    """One page of a crawl, a file or a row, on its way to becoming a document.

    `html` is what was fetched, until extraction turns it into `text` and lets go of it; a source that has text already
    leaves it None. `id` is unique in a corpus and the same in every run over the same inputs.
    """

    id: str
    source: str
    """The file it was read from, as a reader would name it."""
    text: str = ""
    html: bytes | None = None
    encoding: str | None = None
    """The character set that was declared for `html`, if any was."""
    url: str | None = None
    language: str | None = None
    """ISO 639-1 code, once it was identified."""
    language_score: float | None = None
    """The identifier's probability for it, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something in an input that could not be read as a page; the run goes on after it."""

    where: str
    """The file and the record in it."""
    reason: str
    """One line that a person understands."""


@dataclass(frozen=True, slots=True)
class Removal:
    """Why a step threw a page away."""

    rule: str
    """The name of the rule, such as top_2_gram."""
    value: float | str
    """What was measured."""
    threshold: float | str
    """What it was compared with."""


class Step(Protocol):
    """One step of the pipeline. It may change the page in place."""

    name: str
    """As settings and the report call it."""

    def __call__(self, page: Page) -> Removal | None:
        """None keeps the page."""
        ...
