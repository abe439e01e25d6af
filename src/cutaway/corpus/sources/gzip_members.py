"""The members of a gzip file one by one: a WARC file has one a record, and a broken one need not end the file."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import BinaryIO

from cutaway.corpus.sources.bounds import CHUNK, Unreadable, check_expansion

_MAGIC = b"\x1f\x8b\x08"


class GzipMembers:
    """Reads a seekable gzip file member by member.

    Args:
        file: open at its beginning.
        opening: what the data of a member begin with; after a broken member the next one is recognised by it.
    """

    def __init__(self, file: BinaryIO, opening: bytes) -> None:
        self._file = file
        self._opening = opening
        self._ahead = b""  # compressed bytes that were read from the file and are still to be used

    def more(self) -> bool:
        """Whether there is another member. Zeros between members are padding."""
        while not self._ahead.lstrip(b"\0"):
            self._ahead = self._file.read(CHUNK)
            if not self._ahead:
                return False
        self._ahead = self._ahead.lstrip(b"\0")
        return True

    def member(self) -> Iterator[bytes]:
        """The next member's data, a chunk at a time; they have to be taken to their end.

        Raises:
            Unreadable: the member is broken, ends early or is a bomb. Reading can go on with the member after it.
        """
        begin = self._file.tell() - len(self._ahead)
        decoder = zlib.decompressobj(wbits=31)
        read = written = 0
        try:
            while not decoder.eof:
                self._ahead = self._ahead or self._file.read(CHUNK)
                data = decoder.decompress(self._ahead, CHUNK)
                if not data and not self._ahead:
                    raise Unreadable("the file ends inside it")
                left = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
                read += len(self._ahead) - len(left)
                written += len(data)
                self._ahead = left
                check_expansion(read, written)
                if data:
                    yield data
        except (zlib.error, Unreadable) as error:
            self._find_next(begin + 1)
            raise Unreadable(
                str(error) if isinstance(error, Unreadable) else f"its gzip data are broken ({error})"
            ) from None

    def _find_next(self, offset: int) -> None:
        """Go on at the next place from `offset` on where a member's data begin as they should."""
        self._file.seek(offset)
        window = b""
        while chunk := self._file.read(CHUNK):
            window += chunk
            at = window.find(_MAGIC)
            while at >= 0:
                place = self._file.tell() - len(window) + at
                if self._begins_well(place):
                    self._file.seek(place)
                    self._ahead = b""
                    return
                self._file.seek(place - at + len(window))
                at = window.find(_MAGIC, at + 1)
            window = window[-len(_MAGIC) + 1 :]
        self._ahead = b""

    def _begins_well(self, place: int) -> bool:
        self._file.seek(place)
        try:
            return zlib.decompressobj(wbits=31).decompress(self._file.read(4096), 64).startswith(self._opening)
        except zlib.error:
            return False
