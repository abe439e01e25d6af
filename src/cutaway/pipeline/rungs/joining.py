"""A rung's report of several parts."""

from __future__ import annotations

from collections.abc import Sequence

from cutaway.pipeline.rungs.rung import Found


def joined(parts: Sequence[Found]) -> Found:
    """The parts one after another, as one; no two have a picture or data of the same name."""
    return Found(
        results=[result for part in parts for result in part.results],
        said=[line for part in parts for line in part.said],
        report="\n\n".join(part.report.strip() for part in parts),
        pictures={name: drawn for part in parts for name, drawn in part.pictures.items()},
        data={name: value for part in parts for name, value in part.data.items()},
    )
