"""The funnel: what went into each step of a crawl's pipeline, what came out, what each rule removed, and samples of it.

Counts add up and samples are those whose ids hash lowest (a bottom-k sample: Cohen and Kaplan, "Summarizing Data using
Bottom-k Sketches", PODC 2007), so funnels of any parts of a corpus merge, in any order, into that of the whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from cutaway.corpus.page import Page, Removal, Skipped, Step
from cutaway.runs.errors import CutawayError

SAMPLES = 8
"""Removed pages that are kept to be read, of each rule."""
BEGINNING = 400
"""Characters of a page in a sample."""
REASONS = 64
"""Different reasons for skipping that are told apart; hostile input could make up any number of them."""
OTHER = "other reasons"
READ = "read"
"""The name under which the funnel has what the inputs held."""
NO_LANGUAGE = "unknown"


@dataclass
class Flow:
    """Documents and bytes into a step and out of it. A page that is still HTML counts with the bytes of that."""

    documents_in: int = 0
    bytes_in: int = 0
    documents_out: int = 0
    bytes_out: int = 0
    changed: int = 0
    """Documents that came out with another text."""


@dataclass
class Removed:
    """What one rule removed, in documents and bytes, with a sample: `[rank, what is shown]`, lowest ranks first."""

    documents: int = 0
    bytes: int = 0
    sample: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def add(self, rank: str, size: int, show: Callable[[], dict[str, Any]]) -> None:
        """Count one; `show` is asked for what to show only where it belongs into the sample."""
        self.documents += 1
        self.bytes += size
        if len(self.sample) < SAMPLES or rank < self.sample[-1][0]:
            self.sample = lowest([*self.sample, (rank, show())])

    def merge(self, other: Removed) -> None:
        """Add another part's."""
        self.documents += other.documents
        self.bytes += other.bytes
        self.sample = lowest([*self.sample, *other.sample])


def lowest(sample: Iterable[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    """The first of a sample, in the order of their ranks."""
    return sorted(sample, key=lambda one: (one[0], str(one[1])))[:SAMPLES]


def rank(identity: str) -> str:
    """Where a page comes in the order of sampling: the same in every run, and unlike the order of the crawl."""
    return hashlib.blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def size_of(page: Page) -> int:
    """A page's bytes: of its HTML while it has some, else of its text in UTF-8."""
    return len(page.html) if page.html is not None else len(page.text.encode("utf-8", "surrogatepass"))


def domain_of(url: str | None) -> str:
    """The host of a URL without `www.`, in ASCII; empty where there is none that can be read."""
    try:
        host = urlsplit(url or "").hostname or ""
    except ValueError:
        return ""
    return host.removeprefix("www.")[:253].encode("unicode_escape").decode("ascii")


@dataclass
class Funnel:
    """The counts and samples of one part of a corpus, or of several merged."""

    steps: dict[str, Flow] = field(default_factory=dict)
    """By step, in the order in which pages meet them."""
    removed: dict[str, dict[str, Removed]] = field(default_factory=dict)
    """By step and rule."""
    skipped: dict[str, Removed] = field(default_factory=dict)
    """By reason: what could not be read at all, or broke a step."""
    languages: dict[str, list[int]] = field(default_factory=dict)
    """By language: documents identified, documents in the corpus, and their bytes."""
    domains: dict[str, list[int]] = field(default_factory=dict)
    """By domain: documents read, documents in the corpus, and their bytes."""
    lengths: dict[int, int] = field(default_factory=dict)
    """Documents in the corpus, by the power of two below their characters."""

    def expect(self, names: Iterable[str]) -> None:
        """Give steps their places in the order, also those that no page reaches."""
        for name in names:
            self.steps.setdefault(name, Flow())

    def read(self, page: Page) -> None:
        """Count a page that was read."""
        flow, size = self.steps.setdefault(READ, Flow()), size_of(page)
        flow.documents_in += 1
        flow.bytes_in += size
        flow.documents_out += 1
        flow.bytes_out += size
        _count(self.domains, domain_of(page.url), (1, 0, 0))

    def skip(self, skipped: Skipped) -> None:
        """Count a record that could not be read."""
        self.steps.setdefault(READ, Flow()).documents_in += 1
        self._not_read(skipped)

    def _not_read(self, skipped: Skipped) -> None:
        known = skipped.reason in self.skipped or len(self.skipped) < REASONS
        reason = skipped.reason[:200] if known else OTHER
        shown = {"where": skipped.where[:300], "reason": skipped.reason[:300]}
        self.skipped.setdefault(reason, Removed()).add(rank(skipped.where), 0, lambda: shown)

    def apply(self, steps: Sequence[Step], page: Page) -> bool:
        """Send a page through the steps, counting; whether it came out.

        A step that a hostile page breaks costs only that page: it is counted among the skipped.

        Raises:
            CutawayError: whatever a step has to say to the person: of a missing library, a wrong setting.
        """
        size = size_of(page)
        for step in steps:
            name = step.name
            flow = self.steps.setdefault(name, Flow())
            flow.documents_in += 1
            flow.bytes_in += size
            html, text = page.html, page.text
            try:
                removal = step(page)
            except CutawayError:
                raise
            except Exception as error:  # whatever a library makes of what was fetched
                removal = Removal("failed", type(error).__name__, "")
                reason = f"the step {name} broke: {type(error).__name__}"
                self._not_read(Skipped(f"{page.source} {page.id}", reason))
            if page.html is not html or page.text is not text:
                size = size_of(page)
            if name == "language":
                _count(self.languages, page.language or NO_LANGUAGE, (1, 0, 0))
            if removal is not None:
                self._remove(name, removal, page, size, text)
                return False
            flow.documents_out += 1
            flow.bytes_out += size
            flow.changed += page.text is not text and page.text != text
        return True

    def keep(self, page: Page) -> None:
        """Count a document of the finished corpus."""
        size = size_of(page)
        _count(self.languages, page.language or NO_LANGUAGE, (0, 1, size))
        _count(self.domains, domain_of(page.url), (0, 1, size))
        power = max(0, len(page.text).bit_length() - 1)
        self.lengths[power] = self.lengths.get(power, 0) + 1

    def _remove(self, step: str, removal: Removal, page: Page, size: int, text: str) -> None:
        def show() -> dict[str, Any]:
            return {
                "id": page.id[:300],
                "url": page.url and page.url[:300],
                "value": _shown(removal.value),
                "threshold": _shown(removal.threshold),
                "text": beginning(page.text or text, page.html),
            }

        rules = self.removed.setdefault(step, {})
        rules.setdefault(removal.rule, Removed()).add(rank(page.id), size, show)

    def merge(self, other: Funnel) -> None:
        """Add another part's counts and samples; its domains stay where they are (see `cutaway.corpus.domains`)."""
        for name, flow in other.steps.items():
            mine = self.steps.setdefault(name, Flow())
            mine.documents_in += flow.documents_in
            mine.bytes_in += flow.bytes_in
            mine.documents_out += flow.documents_out
            mine.bytes_out += flow.bytes_out
            mine.changed += flow.changed
        for step, rules in other.removed.items():
            for rule, removed in rules.items():
                self.removed.setdefault(step, {}).setdefault(rule, Removed()).merge(removed)
        for reason, removed in other.skipped.items():
            known = reason in self.skipped or len(self.skipped) < REASONS
            self.skipped.setdefault(reason if known else OTHER, Removed()).merge(removed)
        for language, counts in other.languages.items():
            _count(self.languages, language, counts)
        for power, count in other.lengths.items():
            self.lengths[power] = self.lengths.get(power, 0) + count

    def to_json(self) -> dict[str, Any]:
        """As JSON can say it; without the domains, of which there may be many."""
        return {
            "steps": {name: vars(flow) for name, flow in self.steps.items()},
            "removed": {
                step: {rule: vars(rules[rule]) for rule in sorted(rules)} for step, rules in self.removed.items()
            },
            "skipped": {reason: vars(self.skipped[reason]) for reason in sorted(self.skipped)},
            "languages": dict(sorted(self.languages.items())),
            "lengths": {str(power): self.lengths[power] for power in sorted(self.lengths)},
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Funnel:
        """What `to_json` gave."""
        return cls(
            steps={name: Flow(**flow) for name, flow in found["steps"].items()},
            removed={
                step: {rule: _removed(one) for rule, one in rules.items()} for step, rules in found["removed"].items()
            },
            skipped={reason: _removed(one) for reason, one in found["skipped"].items()},
            languages={name: list(counts) for name, counts in found["languages"].items()},
            lengths={int(power): count for power, count in found["lengths"].items()},
        )


def beginning(text: str, html: bytes | None = None) -> str:
    """The beginning of a page, of its markup where that is all there is yet, fit for JSON and a terminal."""
    start = text[:BEGINNING] or (html or b"")[: 4 * BEGINNING].decode("utf-8", "replace")
    folded = " ".join(start.split())[:BEGINNING]
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in folded)


def _removed(found: Mapping[str, Any]) -> Removed:
    return Removed(found["documents"], found["bytes"], [(rank, shown) for rank, shown in found["sample"]])


def _shown(value: float | str) -> float | str:
    if isinstance(value, str):
        return beginning(value)[:120]
    # JSON has no word for what is not finite.
    return float(f"{value:.6g}") if abs(value) < float("inf") else str(value)


def _count(table: dict[str, list[int]], key: str, counts: Sequence[int]) -> None:
    row = table.setdefault(key, [0] * len(counts))
    for i, count in enumerate(counts):
        row[i] += count
