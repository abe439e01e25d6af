"""Text and Markdown files, of any size and any encoding that can be told from the others."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from pathlib import Path

from cutaway.corpus.documents import pieces
from cutaway.corpus.page import Page, Skipped
from cutaway.corpus.sources.bounds import CHUNK, Unreadable
from cutaway.corpus.sources.decoding import MOST_BROKEN, SAMPLE, broken_share, encoding_of, printable
from cutaway.corpus.sources.opened import opened


def read_text(path: Path, name: str) -> Iterator[Page | Skipped]:
    """The pages of a text file: itself, or its pieces where it is longer than `documents.LONGEST_DOCUMENT`.

    Raises:
        Unreadable: its beginning is no text in any encoding.
    """
    with opened(path) as stream:
        first = stream.read(SAMPLE)
        encoding = encoding_of(first)
        if broken_share(first.decode(encoding, errors="replace")) > MOST_BROKEN:
            raise Unreadable("it is no text in any encoding")
        for number, text in enumerate(pieces(_decoded(stream, first, encoding))):
            where = f"{name}/{number}"
            if broken_share(text) > MOST_BROKEN:
                yield Skipped(where, f"it is no text in {encoding}, as the file's beginning is")
            else:
                yield Page(where, name, text=text)


def _decoded(stream: io.BufferedReader, first: bytes, encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    chunk = first
    while chunk:
        yield printable(newlines.decode(decoder.decode(chunk)))
        chunk = stream.read(CHUNK)
    yield printable(newlines.decode(decoder.decode(b"", final=True), final=True))
