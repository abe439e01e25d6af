"""Paragraphs that occur more than once, exactly or nearly, are kept only where they occur first.

Exact: the same words in the same order, whatever the case and punctuation. Near: Jaccard similarity of the sets of
5-word shingles at or above a threshold, 0.8 unless told. Candidates come from MinHash signatures in bands (Broder 1997;
Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", chapter 3) and each is then verified on the shingles
themselves, so that nothing is removed on an estimate.

Only real text comes here. The tellings of the generated world repeat their facts in like words on purpose: the build
adds them afterwards, and they are never deduplicated against one another.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cutaway.corpus.documents import Document

SHINGLE = 5
"""Words in a shingle."""

SHORT = 5
"""Paragraphs of fewer words (speakers, headings) rightly recur: of each, the first SHORT_KEPT are kept."""

SHORT_KEPT = 50

SAMPLES = 8
"""Examples of removed paragraphs kept for the statistics."""

LONG_BLOCK = 4_000
"""Characters. A block longer than this between blank lines is no paragraph but a list."""

# 128 values in 32 bands of 4: a pair at Jaccard 0.8 shares a band with probability 1 - (1 - 0.8**4)**32 > 0.9999,
# one at 0.5 with probability 0.87; the latter only costs a verification.
_VALUES = 128
_BANDS = 32

_WORD = re.compile(r"[^\W_]+")
_BLANK_LINE = re.compile(r"(\n[ \t]*\n\s*)")


def words(text: str) -> list[str]:
    """The words of a text in lower case, letters and digits only: what counts when two texts are compared."""
    return _WORD.findall(text.lower())


def paragraphs(text: str) -> list[tuple[str, str]]:
    """The paragraphs of a text, each with what separated it from the one before ("" for the first).

    A paragraph stands between blank lines; but in a block that is a list (longer than LONG_BLOCK, or half of its lines
    repeat others) each line is one.
    """
    parts = ["", *_BLANK_LINE.split(text.strip())]
    found: list[tuple[str, str]] = []
    for separator, block in zip(parts[::2], parts[1::2], strict=True):
        lines = [line for line in block.split("\n") if line.strip()]
        if len(lines) < 2 or (len(block) <= LONG_BLOCK and len(set(lines)) > len(lines) / 2):
            found.append(("\n\n" if separator else "", block))
        else:
            found += [("\n\n" if separator else "", lines[0])] + [("\n", line) for line in lines[1:]]
    return found


def without(document: Document, removed: Iterable[int]) -> Document | None:
    """The document less the paragraphs at these places; None when no text is left."""
    gone = set(removed)
    if not gone:
        return document
    kept = [pair for place, pair in enumerate(paragraphs(document.text)) if place not in gone]
    text = "".join(separator + paragraph for separator, paragraph in kept).strip()
    return replace(document, text=text) if text else None


@dataclass
class Removed:
    """What one step took out: counts, and a few examples as dictionaries fit for JSON."""

    paragraphs: int = 0
    bytes: int = 0
    samples: list[dict[str, Any]] = field(default_factory=list)

    def add(self, document: Document, paragraph: str, **why: Any) -> None:
        """Count one removed paragraph of `document`."""
        self.paragraphs += 1
        self.bytes += len(paragraph.encode())
        if len(self.samples) < SAMPLES:
            self.samples.append({"document": document.id, "paragraph": paragraph[:400], **why})


def remove_exact(documents: Sequence[Document]) -> tuple[list[Document], Removed]:
    """Keep each paragraph where it occurs first; documents that lose all their text go."""
    seen: defaultdict[bytes, int] = defaultdict(int)
    removed, kept = Removed(), list[Document]()
    for document in documents:
        gone: list[int] = []
        for place, (_, paragraph) in enumerate(paragraphs(document.text)):
            normal = words(paragraph)
            if not normal:
                continue
            digest = hashlib.blake2b(" ".join(normal).encode(), digest_size=16).digest()
            seen[digest] += 1
            if seen[digest] > (1 if len(normal) >= SHORT else SHORT_KEPT):
                gone.append(place)
                removed.add(document, paragraph)
        left = without(document, gone)
        if left:
            kept.append(left)
    return kept, removed


def remove_near(documents: Sequence[Document], threshold: float = 0.8) -> tuple[list[Document], Removed]:
    """Remove each paragraph whose shingles have Jaccard similarity >= threshold (0 to 1) with an earlier kept one's."""
    shingles, places = _shingle_sets(documents)
    removed = Removed()
    gone: defaultdict[int, list[int]] = defaultdict(list)
    for row, earlier, similarity in _near_duplicates(shingles, threshold):
        document, place = places[row]
        other, other_place = places[earlier]
        gone[document].append(place)
        kept = paragraphs(documents[other].text)[other_place][1][:400] if len(removed.samples) < SAMPLES else ""
        removed.add(
            documents[document],
            paragraphs(documents[document].text)[place][1],
            similar_to=documents[other].id,
            kept=kept,
            similarity=round(similarity, 3),
        )
    left = (without(document, gone.get(number, ())) for number, document in enumerate(documents))
    return [document for document in left if document], removed


def _shingle_sets(documents: Sequence[Document]) -> tuple[list[npt.NDArray[np.uint64]], list[tuple[int, int]]]:
    """Per paragraph long enough, its sorted shingle hashes and its (document, place). Hashes agree between calls."""
    numbers: dict[str, int] = {}
    shingles: list[npt.NDArray[np.uint64]] = []
    places: list[tuple[int, int]] = []
    for number, document in enumerate(documents):
        for place, (_, paragraph) in enumerate(paragraphs(document.text)):
            ids = word_numbers(words(paragraph), numbers)
            if len(ids) >= SHINGLE:
                shingles.append(np.unique(gram_hashes(ids, SHINGLE)))
                places.append((number, place))
    return shingles, places


def word_numbers(found: list[str], numbers: dict[str, int]) -> npt.NDArray[np.uint64]:
    """Words as numbers, by a dictionary that grows: shape [words]."""
    return np.array([numbers.setdefault(word, len(numbers) + 1) for word in found], dtype=np.uint64)


def gram_hashes(ids: npt.NDArray[np.uint64], size: int) -> npt.NDArray[np.uint64]:
    """64-bit hashes of all runs of `size` numbers: shape [len(ids) - size + 1], empty when there is no such run.

    Equal runs always get equal hashes, so a search by hash misses nothing; two different runs among ten million share
    one with probability below one in a hundred thousand.
    """
    count = len(ids) - size + 1
    hashes = np.zeros(max(count, 0), dtype=np.uint64)
    for offset in range(size if count > 0 else 0):
        hashes = (hashes + ids[offset : offset + count]) * np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(29)
    return hashes


def _near_duplicates(shingles: Sequence[npt.NDArray[np.uint64]], threshold: float) -> list[tuple[int, int, float]]:
    """Rows to remove as (row, an earlier kept row like it, their Jaccard similarity), in order."""
    if not shingles:
        return []
    # Here, because whoever only reads a corpus need not load it. It is a compiled module without type information.
    from rensa import RMinHash, RMinHashLSH  # pyright: ignore[reportAttributeAccessIssue]

    def signatures(rows: Sequence[int]) -> Any:
        offsets = np.concatenate([[0], np.cumsum([len(shingles[row]) for row in rows])]).astype(np.uint64)
        flat = np.concatenate([shingles[row] for row in rows])
        return RMinHash.digest_matrix_from_flat_token_hashes(flat, offsets, _VALUES, 1)

    # First all rows in one call, which only says who shares a band with anybody; then those few with their values.
    index = RMinHashLSH(threshold, _VALUES, _BANDS)
    flags = index.query_duplicate_flags_matrix_one_shot(signatures(range(len(shingles))))
    suspects = [row for row, flag in enumerate(flags) if flag]
    if not suspects:
        return []
    values = np.array(signatures(suspects).to_rows(), dtype=np.uint32).reshape(len(suspects), _BANDS, -1)
    kept: defaultdict[tuple[int, bytes], list[int]] = defaultdict(list)
    found: list[tuple[int, int, float]] = []
    for row, bands in zip(suspects, values, strict=True):
        keys = [(band, bands[band].tobytes()) for band in range(_BANDS)]
        best = (0.0, -1)
        for other in sorted({other for key in keys for other in kept[key]}):
            best = max(best, (_jaccard(shingles[row], shingles[other]), other), key=lambda pair: pair[0])
        if best[0] >= threshold:
            found.append((row, best[1], best[0]))
        else:
            for key in keys:
                kept[key].append(row)
    return found


def _jaccard(a: npt.NDArray[np.uint64], b: npt.NDArray[np.uint64]) -> float:
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / (len(a) + len(b) - shared)
