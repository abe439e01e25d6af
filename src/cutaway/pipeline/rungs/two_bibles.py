"""Pieces of two English Bibles, to be told apart: real text of two kinds that comes with the package.

The King James Version (1611, text of 1769) and the Bible in Basic English (1965), which does with about a thousand
different words, tell the same stories verse by verse. So what gives a piece away is how it is said, and not of what.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from cutaway.corpus.built_in import built_in_documents

KING_JAMES_LABEL, BASIC_ENGLISH_LABEL = "King James", "Basic English"
SHORTEST = 20
"""Characters of the shortest piece."""
_BORDERS = {"paragraph": re.compile(r"\n\n"), "clause": re.compile(r"(?<=[.?!:;])\s+|\n\n")}
_LABELS = {"kjv": KING_JAMES_LABEL, "bbe": BASIC_ENGLISH_LABEL}


@dataclass(frozen=True)
class Piece:
    """A text, which of the two Bibles it is from, and its chapter there, such as "genesis/1"."""

    text: str
    label: str
    chapter: str


def pieces(kind: Literal["paragraph", "clause"]) -> Iterator[Piece]:
    """All pieces of both: paragraphs of three or four verses, or clauses that end with a stop, colon or semicolon."""
    for document in built_in_documents(tuple(_LABELS)):
        chapter = document.id.partition("/")[2]
        for text in _BORDERS[kind].split(document.text):
            clean = " ".join(text.split())
            if len(clean) >= SHORTEST:
                yield Piece(clean, _LABELS[document.source], chapter)
