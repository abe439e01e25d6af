"""PDF files: their text, page by page, as pypdf finds it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from cutaway.corpus.page import Page, Skipped
from cutaway.corpus.sources.bounds import LARGEST_FILE, LARGEST_PAGE, Unreadable
from cutaway.corpus.sources.decoding import missing_extra, printable
from cutaway.corpus.sources.sandbox import sandboxed

SECONDS = 60.0
"""Of processor time for one file. pypdf reads some 20 pages of a paper in a second."""

MOST_PAGES = 5_000


def read_pdf(path: Path, name: str) -> Iterator[Page | Skipped]:
    """The text of a .pdf file as one page, its sheets with an empty line between them.

    Raises:
        Unreadable: no PDF, one that is locked, holds only pictures, is too large, or takes too long.
    """
    with path.open("rb") as stream:
        data = stream.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise Unreadable(f"it is larger than {LARGEST_FILE >> 20} MiB")
    yield Page(name, name, text=sandboxed(pdf_text, data, SECONDS))


def pdf_text(data: bytes) -> str:
    """The text of a PDF; to be called in the sandbox, for its objects may refer to one another without end."""
    try:
        from pypdf import PdfReader
    except ImportError as error:
        raise missing_extra(error) from None
    reader = PdfReader(io.BytesIO(data))
    if reader.is_encrypted and not reader.decrypt(""):
        raise Unreadable("it is locked with a password")
    sheets: list[str] = []
    size = 0
    for number, sheet in enumerate(reader.pages):
        if number == MOST_PAGES:
            raise Unreadable(f"it has more than {MOST_PAGES} pages")
        text = printable(sheet.extract_text()).strip()
        size += len(text)
        if size > LARGEST_PAGE:
            raise Unreadable(f"its text is longer than {LARGEST_PAGE >> 20} Mi characters")
        if text:
            sheets.append(text)
    if not sheets:
        raise Unreadable("it holds no text, only pictures perhaps")
    return "\n\n".join(sheets)
