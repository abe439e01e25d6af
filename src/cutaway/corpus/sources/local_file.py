"""A file of one page, and lists that say where each page of a crawl was saved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cutaway.corpus.page import Page, Skipped
from cutaway.corpus.sources.bounds import LARGEST_PAGE, Unreadable
from cutaway.corpus.sources.docx import read_docx
from cutaway.corpus.sources.opened import bare_suffix, opened
from cutaway.corpus.sources.pdf import read_pdf
from cutaway.corpus.sources.plain_text import read_text


def read_html(path: Path, name: str) -> Iterator[Page | Skipped]:
    """The page of an .html, .htm or .xhtml file."""
    with opened(path) as stream:
        html = stream.read(LARGEST_PAGE + 1)
    if len(html) > LARGEST_PAGE:
        raise Unreadable(f"it is larger than {LARGEST_PAGE >> 20} MiB")
    if not html.strip(b"\0 \t\r\n"):
        raise Unreadable("it is empty")
    yield Page(name, name, html=html)


ONE_PAGE = {
    ".html": read_html,
    ".htm": read_html,
    ".xhtml": read_html,
    ".txt": read_text,
    ".text": read_text,
    ".md": read_text,
    ".markdown": read_text,
    ".pdf": read_pdf,
    ".docx": read_docx,
}
"""How a file is read that holds one page, by what its name ends in."""


def local_pages(folder: Path, place: str, url: object, where: str, source: str) -> Iterator[Page | Skipped]:
    """What a list's row names: the file at `place` below the list's folder, saved from `url`.

    Raises:
        Unreadable: it lies elsewhere, is not there, or is of a kind that is no single page.
    """
    try:
        file = (folder / place).resolve()
        if not file.is_relative_to(folder.resolve()):
            raise Unreadable(f"{place[:200]!r} is outside of the list's folder")
        if not file.is_file():
            raise FileNotFoundError
    except (OSError, ValueError):  # the latter for a name that no file can have
        raise Unreadable(f"there is no file {place[:200]!r}") from None
    reader = ONE_PAGE.get(bare_suffix(file), read_html if not file.suffix else None)
    if reader is None:
        raise Unreadable(f"{place[:200]!r} is no kind of file that holds one page")
    try:
        for item in reader(file, where):
            if isinstance(item, Page):
                item.source = source
                item.url = url if isinstance(url, str) else None
            yield item
    except OSError as error:
        raise Unreadable(f"{place[:200]!r} cannot be read ({error.strerror})") from None
