"""Where the words of a text stand in a corpus: its longest stretches that occur there, and in which documents.

After OLMoTrace (Liu et al., 2025, arXiv 2504.07096): a span is maximal if it occurs and no longer stretch around it
does. Long spans are told before short ones, and of equally long ones the rarest first; one that shares a token with a
span told already is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cutaway.corpus.suffix_array import Index, Ints

MOST_TOKENS = 20_000
"""Tokens of a text that is traced at most: the work may grow with its square where all of it occurs."""


@dataclass(frozen=True)
class Found:
    """One place of a span: its document, the number of its first token there, and token ids before and after it."""

    document: str
    start: int
    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True)
class Span:
    """Tokens `start` to `end` of a text, how often they occur in the corpus, and some places where."""

    start: int
    end: int
    count: int
    places: tuple[Found, ...]


def maximal_spans(index: Index, sequence: npt.ArrayLike) -> list[tuple[int, int]]:
    """Stretches `(start, end)` of `sequence` that occur and can be lengthened on neither side, from left to right."""
    matches = index.longest_matches(sequence)
    ends = np.arange(len(matches)) + matches
    # What begins further left reaches at least as far less one: a span is new only where it reaches further right.
    return [
        (start, int(end)) for start, end in enumerate(ends) if end > start and (start == 0 or end > ends[start - 1])
    ]


def trace(
    index: Index, sequence: npt.ArrayLike, *, shortest: int = 4, most: int = 10, places: int = 3, margin: int = 12
) -> list[Span]:
    """The spans of a text worth telling, longest and then rarest first, none sharing a token with another.

    `shortest` is in tokens, `most` limits the spans, `places` the documents of each, and `margin` the tokens that are
    given around each place. A document is named once a span.
    """
    tokens = np.asarray(sequence, np.int64)
    spans = [(start, end) for start, end in maximal_spans(index, tokens) if end - start >= shortest]
    starts = np.array([start for start, _ in spans], np.int64)
    lengths = np.array([end - start for start, end in spans], np.int64)
    counts = index.counts_of(tokens, starts, lengths)
    order = sorted(range(len(spans)), key=lambda i: (-lengths[i], counts[i], starts[i]))
    taken = np.zeros(len(tokens), bool)
    told: list[Span] = []
    for i in order:
        start, end = spans[i]
        if len(told) < most and not taken[start:end].any():
            taken[start:end] = True
            told.append(Span(start, end, int(counts[i]), _places(index, tokens[start:end], places, margin)))
    return told


def _places(index: Index, span: Ints, most: int, margin: int) -> tuple[Found, ...]:
    """Places of a span in different documents."""
    found: dict[str, Found] = {}
    for part, position in index.occurrences(span, 20 * most):
        place = part.place(position)
        if place.document not in found and len(found) < most:
            before, after = part.around(position, len(span), margin)
            found[place.document] = Found(place.document, place.start, tuple(before.tolist()), tuple(after.tolist()))
    return tuple(found.values())
