"""Clusters of near duplicates, to be read: how many there are, of which sizes, and the beginnings of some."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from cutaway.corpus.funnel import beginning
from cutaway.corpus.segments import read_segment, segment_path
from cutaway.corpus.steps.near_duplicates import CLUSTER, largest_clusters

SHOWN = 12
"""The largest clusters are shown."""
MEMBERS = 4
"""Pages of each."""


def _records(signatures: Path) -> Any:
    path = signatures / "clusters.bin"
    return np.memmap(path, dtype=CLUSTER, mode="r") if path.stat().st_size else np.zeros(0, dtype=CLUSTER)


def similarity_of_removed(signatures: Path, number: int) -> dict[int, float]:
    """By their places in a segment, the pages that an earlier page stands for, and how like that they are."""
    records = _records(signatures)
    mine = records[(records["page"] >> np.uint64(32)) == number]
    mine = mine[mine["page"] != mine["kept"]]
    places = (mine["page"] & np.uint64(0xFFFFFFFF)).tolist()
    return dict(zip(places, mine["similarity"].astype(float).round(4).tolist(), strict=True))


def clusters_to_read(signatures: Path, parts: Path) -> dict[str, Any]:
    """How many clusters there are, how many of each size, and the largest to read, as JSON can say it."""
    _, sizes = np.unique(_records(signatures)["kept"], return_counts=True)
    counts, how_many = np.unique(sizes, return_counts=True)
    found = largest_clusters(signatures, SHOWN, MEMBERS)
    texts = _pages(parts, [(member.number, member.document) for cluster in found for member in cluster.members])
    return {
        "count": len(sizes),
        "sizes": {str(size): int(count) for size, count in zip(counts.tolist(), how_many, strict=True)},
        "to_read": [
            {
                "size": cluster.size,
                "pages": [
                    texts[member.number, member.document] | {"similarity": round(member.similarity, 4)}
                    for member in cluster.members
                ],
            }
            for cluster in found
        ],
    }


def _pages(parts: Path, wanted: list[tuple[int, int]]) -> dict[tuple[int, int], dict[str, Any]]:
    """What is shown of some pages, each given by its segment's number and its place in that."""
    by_segment: defaultdict[int, set[int]] = defaultdict(set)
    for number, place in wanted:
        by_segment[number].add(place)
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for number, places in by_segment.items():
        for place, page in enumerate(read_segment(segment_path(parts, number))):
            if place in places:
                shown = {"id": page.id[:300], "url": page.url and page.url[:300], "text": beginning(page.text)}
                found[number, place] = shown
    return found
