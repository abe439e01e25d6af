"""JSONL files: an object a line with "text" or "html" and perhaps "url", or with "url" and a local file's "path"."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cutaway.corpus.page import Page, Skipped
from cutaway.corpus.sources.bounds import CHUNK, LARGEST_PAGE, Unreadable
from cutaway.corpus.sources.local_file import local_pages
from cutaway.corpus.sources.opened import opened
from cutaway.corpus.sources.rows import row_page

LONGEST_LINE = 2 * LARGEST_PAGE
"""Bytes. JSON has to be held whole to be read, and escapes make it longer than what it holds."""


def read_json_lines(path: Path, name: str) -> Iterator[Page | Skipped]:
    """The pages of a .jsonl file, compressed or not; a page's id has the number of its line, from 0."""
    with opened(path) as stream:
        for number, line in enumerate(lines(stream, LONGEST_LINE)):
            where = f"{name}/{number}"
            try:
                row = _row(line)
                if row is None:
                    continue
                if isinstance(row.get("path"), str) and "text" not in row and "html" not in row:
                    yield from local_pages(path.parent, row["path"], row.get("url"), where, name)
                else:
                    yield row_page(row, where, name)
            except Unreadable as reason:
                yield Skipped(where, str(reason))


def lines(stream: io.BufferedReader, longest: int) -> Iterator[bytes | None]:
    """The lines of a stream; None in the place of one that is longer than `longest` bytes, of which CHUNK is held."""
    while line := stream.readline(longest):
        if len(line) < longest or line.endswith(b"\n"):
            yield line
            continue
        while (rest := stream.readline(CHUNK)) and not rest.endswith(b"\n"):
            pass
        yield None


def _row(line: bytes | None) -> dict[str, Any] | None:
    if line is None:
        raise Unreadable(f"the line is longer than {LONGEST_LINE >> 20} MiB")
    if not line.strip():
        return None
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Unreadable(f"the line is not UTF-8 (byte {error.start})") from None
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"the line is not JSON ({str(error)[:100]})") from None
    if not isinstance(row, dict):
        raise Unreadable("the line is no JSON object")
    return row
