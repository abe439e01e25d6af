"""The records of a WARC stream, with each record's length checked against what follows it.

ISO 28500:2017: a record is a version line, headers, an empty line, Content-Length bytes, and two line breaks. Where a
length lies, that record is given up and reading goes on at the next place that looks like a record's beginning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cutaway.corpus.sources.bounds import LARGEST_PAGE, Unreadable

OPENING = b"WARC/1."
"""What every record begins with."""

LONGEST_HEAD = 1 << 16
"""Bytes of a record's headers."""

LONGEST_RECORD = 2 * LARGEST_PAGE
"""Bytes of a record, which may be compressed or chunked yet. A longer one is passed over without being held."""

_BORDER = b"\r\n\r\n" + OPENING
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)


def records(chunks: Iterator[bytes]) -> Iterator[bytes | Unreadable]:
    """Each record whole, headers and body; in the place of one that cannot be read, why not."""
    window = _Window(chunks)
    reported = False  # whether what is being passed over was told of already
    while True:
        window.skip_line_breaks()
        if not window.ahead(1):
            return
        if window.ahead(len(OPENING)) != OPENING:
            lost = window.skip_to(OPENING)
            if not reported:
                yield Unreadable(f"{lost} bytes that are no WARC record")
            reported = True
            continue
        head = window.until(b"\r\n\r\n", LONGEST_HEAD)
        length = _LENGTH.search(head)
        if length is None:
            yield Unreadable("its headers have no end" if len(head) < 4 else "it does not say how long it is")
            reported = True
            continue
        reported = False
        size = int(length[1])
        if size > LONGEST_RECORD:
            window.skip_to(_BORDER, size)
            yield Unreadable(f"it says that it holds {size} bytes; {LONGEST_RECORD >> 20} MiB are read at most")
            reported = True  # if that was a lie, what is left of it is no news
            continue
        body = window.take(size)
        border = (body + window.ahead(len(_BORDER))).find(_BORDER)
        if 0 <= border < len(body):
            window.give_back(body[border:])
            yield Unreadable(f"it says that it holds {size} bytes, but another record begins after {border}")
        elif len(body) < size:
            yield Unreadable(f"it says that it holds {size} bytes, but the file ends after {len(body)}")
        elif window.ahead(1) not in (b"", b"\r", b"\n") and window.ahead(len(OPENING)) != OPENING:
            yield Unreadable(f"it says that it holds {size} bytes, but it goes on after them")
            reported = True
        else:
            yield head + body


class _Window:
    """A stream of chunks, of which as much is held as was asked for."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._held = b""
        self._at = 0

    def _more(self) -> bool:
        chunk = next(self._chunks, b"")
        self._held = self._held[self._at :] + chunk
        self._at = 0
        return bool(chunk)

    def ahead(self, count: int) -> bytes:
        """The next bytes, which stay where they are; fewer where the stream ends."""
        while len(self._held) - self._at < count and self._more():
            pass
        return self._held[self._at : self._at + count]

    def take(self, count: int) -> bytes:
        """The next bytes, taken out; fewer where the stream ends."""
        parts = [self._held[self._at : self._at + count]]
        self._at += len(parts[0])
        missing = count - len(parts[0])
        while missing > 0 and self._more():
            parts.append(self._held[:missing])
            self._at = len(parts[-1])
            missing -= self._at
        return b"".join(parts)

    def give_back(self, data: bytes) -> None:
        """Put bytes before what is to come."""
        self._held = data + self._held[self._at :]
        self._at = 0

    def skip_line_breaks(self) -> None:
        """Pass over empty lines."""
        while self.ahead(1) in (b"\r", b"\n"):
            self._at += 1

    def until(self, end: bytes, longest: int) -> bytes:
        """What comes up to and with `end`, taken out. Where it does not come within `longest` bytes: b"", and one byte
        is passed over.
        """
        while (place := self._held.find(end, self._at)) < 0 and len(self._held) - self._at < longest and self._more():
            pass
        if place < 0:
            self._at += 1
            return b""
        return self.take(place + len(end) - self._at)

    def skip_to(self, mark: bytes, most: int | None = None) -> int:
        """Pass over bytes, `most` at most, until `mark` is ahead or the stream ends; give how many they were."""
        passed = 0
        while most is None or passed < most:
            place = self._held.find(mark, self._at)
            # The end of what is held may be the beginning of the mark.
            stop = place if place >= 0 else max(len(self._held) - len(mark) + 1, self._at)
            if most is not None:
                stop = min(stop, self._at + most - passed)
            passed += stop - self._at
            self._at = stop
            if place == stop:
                return passed
            if (most is None or passed < most) and not self._more():
                passed += len(self._held)
                self._held = b""
                return passed
        return passed
