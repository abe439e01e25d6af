"""Text from a pipe."""

from __future__ import annotations

import io
from typing import TextIO


def utf8_of(stream: TextIO) -> TextIO:
    """`stream` read as UTF-8, whatever the locale says; bytes that are none become U+FFFD, and the rest is not lost."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="replace")
    return stream
