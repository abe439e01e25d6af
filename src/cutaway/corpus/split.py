"""The held-out split, by document, and the check that nothing held out is in the training text.

A share of the documents of each source is held out; versions of one work (the same chapter of both Bibles) go together.
Then every paragraph of the training text that shares a run of 13 words with a held-out document is removed from the
training text (the overlap measure of Brown et al. 2020, "Language Models are Few-Shot Learners", appendix C).
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from cutaway.corpus.deduplicate import Removed, gram_hashes, paragraphs, without, word_numbers, words
from cutaway.corpus.documents import Document
from cutaway.runs.errors import BadInput, CutawayError

GRAM = 13
"""Words in a run that counts as a leak."""


def hold_out(documents: Sequence[Document], fraction: float, seed: int) -> tuple[list[Document], list[Document]]:
    """Split into (training, held out): about `fraction` (between 0 and 1) of the bytes of each source, by whole works.

    The choice depends on ids, sizes and seed alone, not on the order. A source with a single work is not held out.

    Raises:
        BadInput: either side would be empty.
    """
    works: defaultdict[str, list[Document]] = defaultdict(list)
    for document in documents:
        works[_work(document)].append(document)
    sizes = {work: sum(len(document.text.encode()) for document in versions) for work, versions in works.items()}
    if len(works) < 2:
        total = sum(sizes.values())
        raise BadInput(
            f"the corpus is too small to hold out a part of it ({len(works)} document, {total} bytes): give more text"
        )
    sources: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for work in sorted(works):
        sources[tuple(sorted({document.source for document in works[work]}))].append(work)
    chosen: set[str] = set()
    for source in sorted(sources):
        members = sources[source]
        # Drawn for each source by itself, so that more text of one kind does not change what is held out of another.
        random.Random(f"{seed}:{source}").shuffle(members)
        wanted, taken = fraction * sum(sizes[work] for work in members), 0
        for work in members[: len(members) - 1]:
            # Half a work over the mark is as near to it as half a work under.
            if taken + sizes[work] / 2 <= wanted:
                chosen.add(work)
                taken += sizes[work]
    if not chosen:
        chosen.add(min(works, key=lambda work: (sizes[work], work)))
    training = [document for document in documents if _work(document) not in chosen]
    heldout = [document for document in documents if _work(document) in chosen]
    return training, heldout


def remove_leaks(training: Sequence[Document], heldout: Sequence[Document]) -> tuple[list[Document], Removed]:
    """The training documents without the paragraphs that share a run of GRAM words with a held-out document.

    A run may span paragraphs; then each paragraph it touches is removed.

    Raises:
        BadInput: no training text is left.
    """
    numbers, known = _held_out_runs(heldout)
    removed, kept = Removed(), list[Document]()
    for document in training:
        left: Document | None = document
        # Removing a paragraph makes its neighbours adjacent, which can make a new run: look again until there is none.
        while left and (places := _leaking(left, numbers, known)):
            pairs = paragraphs(left.text)
            for place in places:
                removed.add(left, pairs[place][1])
            left = without(left, places)
        if left:
            kept.append(left)
    if not kept:
        raise BadInput(
            "no training text is left without what is held out: the text repeats itself, give more varied text"
        )
    return kept, removed


def check_no_leaks(training: Iterable[Document], heldout: Sequence[Document]) -> None:
    """Make sure that no run of GRAM words of a held-out document is in the training text.

    Raises:
        CutawayError: one is; names the training document.
    """
    numbers, known = _held_out_runs(heldout)
    for document in training:
        if _leaking(document, numbers, known):
            raise CutawayError(f"training document {document.id} shares {GRAM} words in a row with a held-out document")


def _work(document: Document) -> str:
    return document.id.partition("/")[2] or document.id


def _held_out_runs(heldout: Sequence[Document]) -> tuple[dict[str, int], npt.NDArray[np.uint64]]:
    numbers: dict[str, int] = {}
    runs = [gram_hashes(word_numbers(words(document.text), numbers), GRAM) for document in heldout]
    return numbers, np.unique(np.concatenate(runs)) if runs else np.zeros(0, dtype=np.uint64)


def _leaking(document: Document, numbers: dict[str, int], known: npt.NDArray[np.uint64]) -> list[int]:
    """Places of the paragraphs that a leaking run touches."""
    split = [words(paragraph) for _, paragraph in paragraphs(document.text)]
    # A word that no held-out document has is 0 and cannot be part of a known run.
    ids = np.array([numbers.get(word, 0) for found in split for word in found], dtype=np.uint64)
    runs = gram_hashes(ids, GRAM)
    if not len(runs) or not len(known):
        return []
    at = np.minimum(np.searchsorted(known, runs), len(known) - 1)
    starts = np.flatnonzero(known[at] == runs)
    if not len(starts):
        return []
    touched = np.zeros(len(ids) + 1, dtype=np.int64)
    np.add.at(touched, starts, 1)
    np.add.at(touched, starts + GRAM, -1)
    owner = np.repeat(np.arange(len(split)), [len(found) for found in split])
    return np.unique(owner[np.cumsum(touched)[:-1] > 0]).tolist()
