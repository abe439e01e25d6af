"""Segments: the Parquet files in which pages wait between the passes, and in which the finished corpus lies.

A segment holds at most DOCUMENTS pages, so that what is kept in memory for each (signatures, lines) has a bound however
large an input file is. Its number is its part's times a thousand and its place in that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cutaway.corpus.page import Page

DOCUMENTS = 50_000
"""Most pages of a segment."""
BYTES = 1 << 29
"""A segment ends when its text has grown beyond this."""
ROW_GROUP = 1_000
"""Most pages that are written, and read, at once."""
ROW_GROUP_BYTES = 1 << 24
OF_A_PART = 1_000
"""Numbers that each part has for its segments."""

COLUMNS = ("id", "source", "text", "url", "language", "language_score")


def segment_number(part: int, place: int) -> int:
    """The number of a part's segment."""
    return part * OF_A_PART + place


def file_name(number: int) -> str:
    """A kept segment's file."""
    return f"{number:08d}.parquet"


def segment_path(parts: Path, number: int) -> Path:
    """Where a kept segment lies below the directory of all parts."""
    return parts / f"{number // OF_A_PART:05d}" / file_name(number)


def segment_files(directory: Path) -> list[tuple[int, Path]]:
    """The segments in a directory by number."""
    found = (path for path in directory.glob("*.parquet") if not path.name.startswith("."))
    return sorted((int(path.stem), path) for path in found)


class SegmentWriter:
    """Writes pages one after another into a Parquet file; without a page there is none.

    It is for directories that appear whole or not at all (`atomic.directory`).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.documents = self.bytes = 0
        self._rows: list[Page] = []
        self._held = 0
        self._writer: Any = None

    def add(self, page: Page) -> None:
        """Add a page."""
        self._rows.append(page)
        self._held += len(page.text)
        self.documents += 1
        self.bytes += len(page.text)
        if len(self._rows) >= ROW_GROUP or self._held >= ROW_GROUP_BYTES:
            self._write()

    @property
    def full(self) -> bool:
        """Whether it should take no more."""
        return self.documents >= DOCUMENTS or self.bytes >= BYTES

    def _write(self) -> None:
        import pyarrow as pa  # here, because whoever only names a setting should not wait for it
        import pyarrow.parquet as pq

        if self._writer is None:
            self._writer = pq.ParquetWriter(self.path, _schema(), compression="zstd")
        columns = {name: [_fit(getattr(page, name)) for page in self._rows] for name in COLUMNS}
        self._writer.write_table(pa.table(columns, schema=_schema()))
        self._rows, self._held = [], 0

    def close(self) -> None:
        """Write what is left."""
        if self._rows:
            self._write()
        if self._writer is not None:
            self._writer.close()


def _fit(value: Any) -> Any:
    # Halves of surrogate pairs cannot be written as UTF-8.
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value


def _schema() -> Any:
    import pyarrow as pa

    kinds = {"language_score": pa.float32()}
    return pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])


def read_segment(path: Path, columns: Sequence[str] = COLUMNS) -> Iterator[Page]:
    """The pages of a segment, in order, a row group at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as table:
        for group in range(table.num_row_groups):
            for row in table.read_row_group(group, columns=list(columns)).to_pylist():
                yield Page(**row)
