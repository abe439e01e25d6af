"""MediaWiki's markup made plain text: prose with headings and lists, without templates, tables, files and notes."""

from __future__ import annotations

import re
from typing import Any

from cutaway.corpus.sources.decoding import missing_extra, printable

_LEFT_OUT = {
    "ref",
    "references",
    "table",
    "gallery",
    "timeline",
    "math",
    "chem",
    "score",
    "syntaxhighlight",
    "imagemap",
    "style",
}
"""Tags that go with all that they hold."""

# A namespace before the colon: files, categories and links to other languages are not part of the sentence.
_PLACED = re.compile(r"\s*(file|image|media|category|[a-z]{2,3}(-[a-z-]+)?)\s*:", re.IGNORECASE)
_END_MATTER = re.compile(
    r"^=+\s*(see also|references|external links|further reading|notes|notes and references|bibliography|sources|"
    r"footnotes)\s*=+\s*$",
    re.IGNORECASE | re.MULTILINE,
)
_NOTE = re.compile(r"<!--.*?-->|<ref\b[^<>]*/>|<ref\b[^<>]*>.*?</ref\s*>", re.IGNORECASE | re.DOTALL)
_HEADING = re.compile(r"^(=+)[ \t]*(.*?)[ \t]*\1[ \t]*$", re.MULTILINE)
_SWITCH = re.compile(r"__[A-Z]{3,}__")
_EMPTY_BRACKETS = re.compile(r"[ \t]*\((?:[\s,;:]|&nbsp;)*\)")
_EMPTY_LIST_ITEM = re.compile(r"^\*+[ \t]*$", re.MULTILINE)
_LIST_MARK = re.compile(r"^\*+[ \t]*", re.MULTILINE)
_SPACES = re.compile(r"[ \t\u00a0]{2,}")
_EDGES = re.compile(r"^[ \t]+|[ \t]+$", re.MULTILINE)
_BREAKS = re.compile(r"\n{2,}")


def plain_text(data: bytes) -> str:
    """The prose of an article's wikitext in UTF-8; to be called in the sandbox, for brackets nest without end."""
    try:
        import mwparserfromhell as parser
    except ImportError as error:
        raise missing_extra(error) from None
    text = data.decode("utf-8", errors="replace")
    # Notes are most of an article's templates, which take most of the time.
    text = _NOTE.sub("", text)
    # What follows the first of these headings is links and notes. Cut before parsing, they cost nothing.
    if match := _END_MATTER.search(text):
        text = text[: match.start()]
    wikicode = parser.parse(text, skip_style_tags=True)
    wikicode.nodes = [_with_mark(node, parser) for node in wikicode.nodes if not _is_left_out(node, parser)]
    return _tidied(str(wikicode.strip_code(normalize=True, collapse=False)))


def _is_left_out(node: Any, parser: Any) -> bool:
    if isinstance(node, parser.nodes.Tag):
        return str(node.tag).strip().lower() in _LEFT_OUT
    if isinstance(node, parser.nodes.Wikilink):
        return _PLACED.match(str(node.title)) is not None
    return isinstance(node, parser.nodes.Template | parser.nodes.Comment | parser.nodes.Argument)


def _with_mark(node: Any, parser: Any) -> Any:
    """An item's mark as text, for stripping takes away what is parsed as a tag."""
    return parser.nodes.Text("*") if isinstance(node, parser.nodes.Tag) and node.wiki_markup in ("*", "#") else node


def _tidied(text: str) -> str:
    text = _SWITCH.sub("", printable(text)).replace("'''", "").replace("''", "")
    text = _HEADING.sub(r"\2", text)
    text = _EMPTY_LIST_ITEM.sub("", _EMPTY_BRACKETS.sub("", text))
    text = _LIST_MARK.sub("- ", text)
    return _BREAKS.sub("\n\n", _EDGES.sub("", _SPACES.sub(" ", text))).strip()
