"""The domains of a crawl, of which there may be millions: counted in sorted files, merged without holding them all."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from cutaway.runs import atomic

Row = tuple[str, int, int, int]
"""A domain in ASCII, its documents read, those in the corpus, and their bytes."""

TOP = 50
"""Domains that a report names."""
AT_ONCE = 200
"""Files that are merged at once."""


def write_domains(path: Path, domains: Mapping[str, Sequence[int]]) -> None:
    """Write counts by domain, sorted."""
    _write(path, ((name, *domains[name]) for name in sorted(domains)))


def _write(path: Path, rows: Iterable[Sequence[str | int]]) -> None:
    atomic.write_chunks(path, (("\t".join(map(str, row)) + "\n").encode("ascii") for row in rows))


def _read(path: Path) -> Iterator[Row]:
    with path.open(encoding="ascii") as lines:
        for line in lines:
            name, read, kept, size = line.rstrip("\n").split("\t")
            yield name, int(read), int(kept), int(size)


def _merged(paths: Sequence[Path]) -> Iterator[Row]:
    rows = heapq.merge(*map(_read, paths))
    for name, several in groupby(rows, key=lambda row: row[0]):
        read = kept = size = 0
        for row in several:
            read, kept, size = read + row[1], kept + row[2], size + row[3]
        yield name, read, kept, size


def merge_domains(paths: Sequence[Path], scratch: Path) -> tuple[int, list[Row]]:
    """How many domains the files name together, and the TOP of them with most documents in the corpus.

    `scratch` is a directory for intermediate files, where there are more files than can be open at once.
    """
    left, turn = list(paths), 0
    while len(left) > AT_ONCE:
        targets = [scratch / f"{turn}-{start}.tsv" for start in range(0, len(left), AT_ONCE)]
        for target, start in zip(targets, range(0, len(left), AT_ONCE), strict=True):
            _write(target, _merged(left[start : start + AT_ONCE]))
        left, turn = targets, turn + 1
    count, best = 0, list[Row]()
    for row in _merged(left):
        if row[0]:
            count += 1
            best.append(row)
        if len(best) > 20 * TOP:
            best = _first(best)
    return count, _first(best)


def _first(rows: list[Row]) -> list[Row]:
    """Those of most documents in the corpus; of equals those of which most were read, then by name."""
    return sorted(rows, key=lambda row: (-row[2], -row[1], row[0]))[:TOP]
