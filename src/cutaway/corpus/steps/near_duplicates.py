"""From signatures to clusters of near duplicates, of which the first page in the corpus's order is kept.

Pages that share a bucket are candidates only: a pair counts if enough values of the whole signatures agree, so that two
pages which share half of their text, and one bucket in twenty by chance, both stay. Files have datatrove's formats: its
cluster step runs on the pairs, its filter on the removals. Memory grows with the number of pairs found, 8 bytes each
several times over, and not with the corpus.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cutaway.corpus.deduplicate import gram_hashes
from cutaway.corpus.steps.minhash import MinHashSettings, bucket_folder, record_dtype, whole_path
from cutaway.corpus.steps.sorted_records import SHARE, SortedRecords
from cutaway.runs import atomic

_CENTRES = 16
"""Pages of one bucket with which the others in it are compared, one after another, until each has found one like it."""
_BLOCK = 1 << 14
"""Pages whose signatures are compared at once."""
_OPEN = 64
"""Files of whole signatures that are mapped at once."""
CLUSTER = np.dtype([("kept", "<u8"), ("page", "<u8"), ("similarity", "<f4")])
"""A line of clusters.bin: the page that stays, one that is like it, and how like. A page is its segment's number,
shifted by 32 bits, and its place in that."""

Pages = npt.NDArray[np.uint64]
"""Pages as one number each: the segment's number, shifted by 32 bits, and the place in it."""


@dataclass(frozen=True, slots=True)
class Member:
    """A page of a cluster."""

    number: int
    """Its segment's."""
    document: int
    """Its place in the segment."""
    similarity: float
    """Estimated Jaccard similarity of its runs of words with those of the page that is kept."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Pages that are near duplicates of one another, directly or through others."""

    size: int
    members: list[Member]
    """In the corpus's order; the first is kept."""


def find_pairs(folder: Path, bucket: int, settings: MinHashSettings) -> None:
    """Write pairs/BBBBB_00.dups: the verified pairs of one bucket over all segments in `folder`."""
    paths = sorted(bucket_folder(folder, bucket).glob("*.minhash.sig"), key=lambda path: path.name)
    records = SortedRecords(paths, record_dtype(settings.rows), lambda record: int(record["values"][0]))
    borders = [None, *records.borders(max(records.size // SHARE, 1)), None]
    whole = WholeSignatures(folder)
    found: list[npt.NDArray[np.uint32]] = []
    for first, end in pairwise(borders):
        numbers, share = records.share(first, end)
        if len(share):
            pages = (numbers.astype(np.uint64) << np.uint64(32)) | share["document"]
            found += [_as_tuples(pair) for pair in _pairs_of(whole, pages, share["values"], settings)]
    pairs = np.concatenate(found) if found else np.zeros((0, 4), dtype=np.uint32)
    atomic.write_bytes(folder / "pairs" / f"{bucket:05d}_00.dups", pairs.astype("<u4").tobytes())


def _pairs_of(
    whole: WholeSignatures, pages: Pages, values: npt.NDArray[np.uint64], settings: MinHashSettings
) -> list[Pages]:
    """Pairs [pairs, 2] of pages that have all of a bucket's values in common and are alike altogether."""
    # Rows of values as one hash each, of which equal ones are brought together: shape [pages].
    keys = gram_hashes(values.reshape(-1), settings.rows)[:: settings.rows]
    order = np.lexsort((pages, keys))
    keys, pages = keys[order], pages[order]
    found: list[Pages] = []
    for _ in range(_CENTRES):
        heads = np.concatenate([[True], keys[1:] != keys[:-1]])
        centres = pages[heads][np.cumsum(heads) - 1]
        keys, pages, centres = keys[~heads], pages[~heads], centres[~heads]
        alike = whole.similarities(centres, pages) >= settings.similarity
        found.append(np.stack([centres[alike], pages[alike]], axis=1))
        keys, pages = keys[~alike], pages[~alike]
        if not len(pages):
            break
    return found


class WholeSignatures:
    """The whole signatures of all segments in a folder, mapped from their files as they are needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[int, npt.NDArray[np.uint32]] = {}

    def similarities(self, pages: Pages, others: Pages) -> npt.NDArray[np.float64]:
        """Shares of agreeing values between the signatures of two pages each: shape [pages]."""
        shares = np.zeros(len(pages))
        for start in range(0, len(pages), _BLOCK):
            block = slice(start, start + _BLOCK)
            shares[block] = (self._rows(pages[block]) == self._rows(others[block])).mean(axis=1)
        return shares

    def _rows(self, pages: Pages) -> npt.NDArray[np.uint32]:
        """Their signatures: shape [pages, values]."""
        numbers, documents = pages >> np.uint64(32), pages & np.uint64(0xFFFFFFFF)
        different = np.unique(numbers).tolist()
        rows = np.empty((len(pages), self._file(different[0]).shape[1]), dtype=np.uint32)
        for number in different:
            mine = numbers == number
            rows[mine] = self._file(number)[documents[mine]]
        return rows

    def _file(self, number: int) -> npt.NDArray[np.uint32]:
        if number not in self._files:
            if len(self._files) >= _OPEN:
                self._files.clear()
            self._files[number] = np.load(whole_path(self._folder, number), mmap_mode="r", allow_pickle=False)
        return self._files[number]


def find_clusters(folder: Path) -> None:
    """From all pairs in `folder`, write clusters.bin and removed/NNNNNN.remove for each segment that loses pages."""
    paths = sorted((folder / "pairs").glob("*.dups"), key=lambda path: path.name)
    tuples = [np.fromfile(path, dtype="<u4").reshape(-1, 4).astype(np.uint64) for path in paths]
    pairs = np.concatenate(tuples) if tuples else np.zeros((0, 4), dtype=np.uint64)
    pages = (pairs[:, 0::2] << np.uint64(32)) | pairs[:, 1::2]
    members, places = np.unique(pages, return_inverse=True)
    kept = _first_of_each(len(members), places.reshape(-1, 2))
    clusters = np.zeros(len(members), dtype=CLUSTER)
    order = np.lexsort((members, kept))
    clusters["kept"], clusters["page"] = members[kept][order], members[order]
    clusters["similarity"] = WholeSignatures(folder).similarities(clusters["kept"], clusters["page"])
    gone = members[kept != np.arange(len(members))]
    for number in np.unique(gone >> np.uint64(32)).tolist():
        documents = (gone[gone >> np.uint64(32) == number] & np.uint64(0xFFFFFFFF)).astype("<u4")
        atomic.write_bytes(_removed_path(folder, number), documents.tobytes())
    atomic.write_bytes(folder / "clusters.bin", clusters.tobytes())


def _first_of_each(count: int, pairs: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Of `count` things, of which `pairs` belong together, the least one that each hangs together with: [count]."""
    least = np.arange(count)
    while True:
        ends = least[pairs]
        low, high = ends.min(axis=1), ends.max(axis=1)
        if np.array_equal(low, high):
            return least
        np.minimum.at(least, high, low)
        while not np.array_equal(least, least[least]):
            least = least[least]


def removed_documents(folder: Path, number: int) -> npt.NDArray[np.uint32]:
    """Places in a segment, in order, of the pages that are duplicates of earlier ones."""
    path = _removed_path(folder, number)
    return np.fromfile(path, dtype="<u4") if path.exists() else np.zeros(0, dtype=np.uint32)


def largest_clusters(folder: Path, most: int, members: int) -> list[Cluster]:
    """The `most` largest clusters, with at most so many `members` each; of equally large ones, earlier ones first."""
    clusters = np.fromfile(folder / "clusters.bin", dtype=CLUSTER)
    _, starts, sizes = np.unique(clusters["kept"], return_index=True, return_counts=True)
    found: list[Cluster] = []
    for place in np.argsort(-sizes, kind="stable")[:most].tolist():
        rows = clusters[starts[place] : starts[place] + min(members, int(sizes[place]))]
        pages = zip(rows["page"].tolist(), rows["similarity"].tolist(), strict=True)
        found.append(Cluster(int(sizes[place]), [Member(page >> 32, page & 0xFFFFFFFF, like) for page, like in pages]))
    return found


def _removed_path(folder: Path, number: int) -> Path:
    return folder / "removed" / f"{number:06d}.remove"


def _as_tuples(pairs: Pages) -> npt.NDArray[np.uint32]:
    """Pairs of pages as datatrove writes them: two numbers a page, shape [pairs, 4]."""
    halves = np.stack([pairs >> np.uint64(32), pairs & np.uint64(0xFFFFFFFF)], axis=2)
    return halves.reshape(-1, 4).astype(np.uint32)
