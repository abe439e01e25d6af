"""A row of JSONL or Parquet as a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cutaway.corpus.page import Page
from cutaway.corpus.sources.bounds import LARGEST_PAGE, Unreadable
from cutaway.corpus.sources.decoding import printable

URL_KEYS = ("url", "source_url", "uri")
"""Where a row may have its page's address, itself or in its "metadata"."""


def row_page(row: Mapping[str, Any], where: str, source: str) -> Page:
    """The page of a row with a "text", or "html" as a string or bytes.

    Raises:
        Unreadable: it has neither, or is too large.
    """
    metadata = row.get("metadata")
    places = (row, metadata) if isinstance(metadata, Mapping) else (row,)
    url = next((place[key] for place in places for key in URL_KEYS if isinstance(place.get(key), str)), None)
    text, html = row.get("text"), row.get("html")
    if isinstance(text, str) and (text.strip() or not html):
        if len(text) > LARGEST_PAGE:
            raise Unreadable(f"its text is longer than {LARGEST_PAGE >> 20} Mi characters")
        if not text.strip():
            raise Unreadable("it is empty")
        return Page(where, source, text=printable(text), url=url)
    for key, value, kinds in (("text", text, str), ("html", html, (str, bytes))):
        if value is not None and not isinstance(value, kinds) and not (key == "text" and html):
            raise Unreadable(f'its "{key}" is no string but of the kind {type(value).__name__}')
    encoding = None
    if isinstance(html, str):
        html, encoding = html.encode("utf-8", errors="replace"), "utf-8"
    if not isinstance(html, bytes) or not html:
        keys = ", ".join(map(repr, list(row)[:10]))
        raise Unreadable(f'it has neither "text" nor "html" (its keys are: {keys or "none"})')
    if len(html) > LARGEST_PAGE:
        raise Unreadable(f"its page is larger than {LARGEST_PAGE >> 20} MiB")
    return Page(where, source, html=html, encoding=encoding, url=url)
