"""Parquet files with columns text or html and perhaps url, read a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cutaway.corpus.page import Page, Skipped
from cutaway.corpus.sources.bounds import LARGEST_PAGE, SUSPICIOUS, Unreadable
from cutaway.corpus.sources.rows import URL_KEYS, row_page

if TYPE_CHECKING:
    import pyarrow.parquet as pq

MOST_ROWS = 256
"""Rows that are held at once; fewer where they are large."""


def read_parquet(path: Path, name: str) -> Iterator[Page | Skipped]:
    """The pages of a .parquet file; a page's id has the number of its row, from 0.

    Raises:
        Unreadable: no Parquet file, or one without such columns.
    """
    import pyarrow as pa  # here, because only those who bring such files should wait for it
    import pyarrow.parquet as pq

    number = 0
    try:
        # Neither mapped nor fetched ahead: then memory is that of the pages at work, not of the row group.
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as table:
            columns = [name for name in ("text", "html", "metadata", *URL_KEYS) if name in table.schema_arrow.names]
            if "text" not in columns and "html" not in columns:
                named = ", ".join(map(repr, table.schema_arrow.names[:10]))
                raise Unreadable(f"it has the columns {named}: it needs one named text or html")
            for batch in table.iter_batches(batch_size=_rows_at_once(table, columns), columns=columns):
                for row in batch.to_pylist():
                    where = f"{name}/{number}"
                    number += 1
                    try:
                        yield row_page(row, where, name)
                    except Unreadable as reason:
                        yield Skipped(where, str(reason))
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        raise Unreadable(f"it is no readable Parquet file ({str(error).splitlines()[0][:200]})") from None


def _rows_at_once(table: pq.ParquetFile, columns: list[str]) -> int:
    """As many rows as are some SUSPICIOUS bytes together, by the average of the row group where they are largest."""
    largest = 1
    for group in range(table.metadata.num_row_groups):
        rows = table.metadata.row_group(group)
        parts = [rows.column(place) for place in range(rows.num_columns)]
        size = sum(part.total_uncompressed_size for part in parts if part.path_in_schema.split(".")[0] in columns)
        largest = max(largest, size // max(rows.num_rows, 1))
    if largest > LARGEST_PAGE:
        raise Unreadable(f"its rows are larger than {LARGEST_PAGE >> 20} MiB")
    return max(1, min(MOST_ROWS, SUSPICIOUS // largest))
