"""MinHash signatures of pages, by which near duplicates are found: 14 buckets of 8 values over runs of 5 words.

Broder, "On the resemblance and containment of documents" (1997); Lee et al., "Deduplicating training data makes
language models better" (2022); with FineWeb's numbers, by which two pages whose 5-grams have Jaccard similarity s
share a bucket with probability 1 - (1 - s**8)**14: 0.92 at 0.8, 0.05 at 0.5.

Words are those of datatrove's simplified text, and the files have datatrove's format, so that its bucket and cluster
steps run on them. The values are other ones: hashes of runs are put together from hashes of words instead of hashing
strings, and rensa's compiled permutations of 32 bits take the place of 64-bit arithmetic in numpy.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cutaway.corpus.deduplicate import gram_hashes
from cutaway.corpus.steps.simplified import simplified_words
from cutaway.corpus.steps.words import WordSettings, shared_words
from cutaway.runs import atomic


class MinHashSettings(WordSettings):
    """The signature, and how like two pages must be."""

    gram: int = Field(default=5, ge=1)
    """Words in a run. Pages of fewer words have no signature, and are no duplicates."""
    buckets: int = Field(default=14, ge=1)
    rows: int = Field(default=8, ge=1)
    """Values a bucket; two pages are compared if all of one bucket's agree."""
    similarity: float = Field(default=0.5, ge=0, le=1)
    """Share of all values that must agree for two compared pages to be duplicates; it estimates their runs' Jaccard
    similarity with a standard deviation of at most 0.05. 0 trusts the bucket alone, as datatrove does."""
    seed: int = Field(default=1, ge=0)


class Signatures:
    """The signatures of one segment's pages."""

    name = "minhash"

    def __init__(self, settings: MinHashSettings) -> None:
        self._settings = settings
        self._words = shared_words(settings)
        self._rows: list[npt.NDArray[np.uint32] | None] = []

    def add(self, text: str) -> None:
        """Sign the next page of the segment."""
        self._rows.append(signature(simplified_words(text, self._words).hashes, self._settings))

    def write(self, folder: Path, number: int) -> None:
        """Write bucket_BBB/NNNNN.minhash.sig, sorted, and whole/NNNNN.npy (uint32, [pages, values]; zeros for a page
        without a signature), each atomically.
        """
        settings = self._settings
        whole = np.zeros((len(self._rows), settings.buckets * settings.rows), dtype=np.uint32)
        for document, row in enumerate(self._rows):
            if row is not None:
                whole[document] = row
        signed = np.flatnonzero([row is not None for row in self._rows]).astype(np.uint32)
        for bucket in range(settings.buckets):
            records = np.zeros(len(signed), dtype=record_dtype(settings.rows))
            values = whole[signed, bucket * settings.rows : (bucket + 1) * settings.rows]
            records["values"], records["document"] = values, signed
            records = records[np.lexsort((signed, *values.T[::-1]))]
            atomic.write_bytes(bucket_folder(folder, bucket) / f"{number:05d}.minhash.sig", records.tobytes())
        atomic.write_bytes(whole_path(folder, number), _npy(whole))


def signature(words: npt.NDArray[np.uint64], settings: MinHashSettings) -> npt.NDArray[np.uint32] | None:
    """The values of a page with these word hashes, shape [buckets * rows]; None if there is no run of words."""
    from rensa import RMinHash  # pyright: ignore[reportAttributeAccessIssue]

    runs = gram_hashes(words, settings.gram)
    if not len(runs):
        return None
    offsets = np.array([0, len(runs)], dtype=np.uint64)
    count = settings.buckets * settings.rows
    matrix: Any = RMinHash.digest_matrix_from_flat_token_hashes(runs, offsets, count, settings.seed)
    return np.array(matrix.to_rows()[0], dtype=np.uint32)


def record_dtype(rows: int) -> np.dtype[Any]:
    """A record of datatrove's signature files: the bucket's values and the page's place in the segment."""
    return np.dtype([("values", "<u8", (rows,)), ("document", "<u4")])


def bucket_folder(folder: Path, bucket: int) -> Path:
    """Where all segments' signatures for a bucket lie."""
    return folder / f"bucket_{bucket:03d}"


def whole_path(folder: Path, number: int) -> Path:
    """Where a segment's whole signatures lie."""
    return folder / "whole" / f"{number:05d}.npy"


def _npy(array: npt.NDArray[Any]) -> bytes:
    buffer = BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
