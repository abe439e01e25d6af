"""XML read as a stream, without document types and entities, by Python's own expat.

Entities are what billion-laughs bombs and readings of local files are made of; neither a MediaWiki dump nor a DOCX file
declares any.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO
from xml.parsers import expat

from cutaway.corpus.sources.bounds import CHUNK, Unreadable

DEEPEST = 1_000
"""Elements within one another."""


LONGEST_TAG = 2**20
"""Bytes in which nothing is recognised, as inside of a tag."""


class Handler:
    """What is done as elements begin and end; names come without their namespace."""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""

    def end(self, name: str) -> None:
        """An element ends."""

    def text(self, data: str) -> None:
        """Some of the text in the innermost element."""


def parsed(stream: BinaryIO, handler: Handler) -> Iterator[None]:
    """Read the stream through `handler`, stopping after each chunk, so that what was found so far can be taken out.

    Raises:
        Unreadable: no XML, XML that ends early, a document type, elements nested too deeply, one tag that is too long.
    """
    parser = expat.ParserCreate(namespace_separator=" ")
    depth = 0
    silent = 0  # bytes since anything was recognised

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, silent
        depth += 1
        silent = 0
        if depth > DEEPEST:
            raise Unreadable(f"its elements are nested more than {DEEPEST} deep")
        handler.start(name.rpartition(" ")[2], attributes)

    def end(name: str) -> None:
        nonlocal depth, silent
        depth -= 1
        silent = 0
        handler.end(name.rpartition(" ")[2])

    def text(data: str) -> None:
        nonlocal silent
        silent = 0
        handler.text(data)

    def refuse(*_: object) -> None:
        raise Unreadable("it declares a document type, as only attacks do here")

    settings = {
        "buffer_text": True,
        "StartElementHandler": start,
        "EndElementHandler": end,
        "CharacterDataHandler": text,
        "StartDoctypeDeclHandler": refuse,
        "EntityDeclHandler": refuse,
    }
    for setting, value in settings.items():
        setattr(parser, setting, value)
    try:
        while chunk := stream.read(CHUNK):
            silent += len(chunk)
            parser.Parse(chunk)
            if silent > LONGEST_TAG:
                raise Unreadable(f"one of its tags is longer than {LONGEST_TAG >> 20} MiB")
            yield
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise Unreadable(f"it is no well-formed XML ({error})") from None
    yield
