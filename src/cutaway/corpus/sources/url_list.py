"""Lists of URLs with the local files that they were saved to: tables with the columns url and path."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from cutaway.corpus.page import Page, Skipped
from cutaway.corpus.sources.bounds import Unreadable
from cutaway.corpus.sources.json_lines import lines
from cutaway.corpus.sources.local_file import local_pages
from cutaway.corpus.sources.opened import bare_suffix, opened

LONGEST_ROW = 1 << 16
"""Bytes. A quoted field may not go on over several lines."""


def read_url_list(path: Path, name: str) -> Iterator[Page | Skipped]:
    """The pages of a .csv or .tsv file with a line of column names, of which url and path are two.

    Paths are relative to the list's folder and may not leave it. A page's id has the number of its row, from 0.
    """
    delimiter = "\t" if bare_suffix(path) == ".tsv" else ","
    with opened(path) as stream:
        rows = lines(stream, LONGEST_ROW)
        columns = [column.strip().lower() for column in _fields(next(rows, b""), delimiter)]
        if "url" not in columns or "path" not in columns:
            raise Unreadable("it is no list of pages: its first line must name the columns url and path")
        for number, line in enumerate(rows):
            where = f"{name}/{number}"
            try:
                row = dict(zip(columns, _fields(line, delimiter), strict=False))
                if not row:
                    continue
                if not row.get("path"):
                    raise Unreadable("the row names no file")
                yield from local_pages(path.parent, row["path"], row.get("url"), where, name)
            except Unreadable as reason:
                yield Skipped(where, str(reason))


def _fields(line: bytes | None, delimiter: str) -> list[str]:
    if line is None:
        raise Unreadable(f"the row is longer than {LONGEST_ROW >> 10} KiB")
    text = line.decode("utf-8-sig", errors="replace").replace("\0", "").strip("\r\n")
    try:
        return next(csv.reader(io.StringIO(text), delimiter=delimiter), [])
    except csv.Error as error:
        raise Unreadable(f"the row cannot be read ({error})") from None
