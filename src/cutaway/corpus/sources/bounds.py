"""How much of anything is taken in, and what is raised where an input goes beyond it or is broken.

Whatever is read may have been made to harm: each bound keeps one record from costing the run its memory or its time.
"""

from __future__ import annotations

LARGEST_PAGE = 16 * 2**20
"""Bytes of one page, decompressed. Common Crawl cuts its pages at 5 MiB."""

LARGEST_FILE = 64 * 2**20
"""Bytes of one PDF or DOCX file, and of the XML inside the latter: these are read whole."""

LARGEST_EXPANSION = 200
"""How many times its compressed size data may grow to, once they are larger than SUSPICIOUS. Text compresses 3 to 10
times; gzip can reach 1,032 and bzip2 millions."""

SUSPICIOUS = 64 * 2**20
"""Bytes. Nothing smaller is taken for a bomb."""

CHUNK = 1 << 16
"""Bytes read at once."""


class Unreadable(Exception):
    """An input, or what is left of it, cannot be read; the message is the reason in one line."""


def check_expansion(read: int, written: int) -> None:
    """Refuse compressed data of which `read` bytes became `written` bytes, where that is a bomb.

    Raises:
        Unreadable: it is.
    """
    if written > SUSPICIOUS and written > LARGEST_EXPANSION * max(read, 1):
        raise Unreadable(f"its compressed data grow more than {LARGEST_EXPANSION} times: a decompression bomb")
