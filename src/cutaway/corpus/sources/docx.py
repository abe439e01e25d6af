"""DOCX files: the paragraphs of the document itself, without headers, footnotes, comments and what was deleted.

ECMA-376, part 1: the text is in the elements w:t of word/document.xml; w:p is a paragraph.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from cutaway.corpus.page import Page, Skipped
from cutaway.corpus.sources.bounds import LARGEST_FILE, LARGEST_PAGE, Unreadable
from cutaway.corpus.sources.decoding import printable
from cutaway.corpus.sources.hardened_xml import Handler, parsed

_DOCUMENT = "word/document.xml"


def read_docx(path: Path, name: str) -> Iterator[Page | Skipped]:
    """The text of a .docx file as one page, its paragraphs with an empty line between them.

    Raises:
        Unreadable: no DOCX file, a zip bomb, XML with entities, or no text at all.
    """
    paragraphs = _Paragraphs()
    try:
        with zipfile.ZipFile(path) as archive:
            # What the archive says of its size may be a lie: the stream below is counted.
            if archive.getinfo(_DOCUMENT).file_size > LARGEST_FILE:
                raise Unreadable(f"its text is larger than {LARGEST_FILE >> 20} MiB: too large, or a zip bomb")
            with archive.open(_DOCUMENT) as stream:
                for _ in parsed(cast("BinaryIO", stream), paragraphs):
                    if stream.tell() > LARGEST_FILE:
                        raise Unreadable(f"its text is larger than {LARGEST_FILE >> 20} MiB: a zip bomb")
    except KeyError:
        raise Unreadable(f"it is no DOCX file: it has no {_DOCUMENT}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise Unreadable(f"it is no readable DOCX file ({error})") from None
    text = printable("\n\n".join(paragraphs.found))
    if not text.strip():
        raise Unreadable("it holds no text")
    yield Page(name, name, text=text)


class _Paragraphs(Handler):
    """Collects the paragraphs that have any text."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._parts: list[str] = []
        self._in_text = False
        self._size = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "t":
            self._in_text = True
        elif name == "tab":
            self._parts.append("\t")
        elif name in ("br", "cr"):
            self._parts.append("\n")

    def end(self, name: str) -> None:
        if name == "t":
            self._in_text = False
        elif name == "p":
            text = "".join(self._parts).strip()
            self._parts.clear()
            if text:
                self.found.append(text)

    def text(self, data: str) -> None:
        if self._in_text:
            self._size += len(data)
            if self._size > LARGEST_PAGE:
                raise Unreadable(f"its text is longer than {LARGEST_PAGE >> 20} Mi characters")
            self._parts.append(data)
