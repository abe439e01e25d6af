"""Wikipedia's dumps (pages-articles.xml.bz2) and those of any other MediaWiki, read as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from cutaway.corpus.page import Page, Skipped
from cutaway.corpus.sources.bounds import LARGEST_PAGE, Unreadable
from cutaway.corpus.sources.hardened_xml import Handler, parsed
from cutaway.corpus.sources.opened import opened
from cutaway.corpus.sources.sandbox import sandboxed
from cutaway.corpus.sources.wikitext import plain_text

SECONDS = 20.0
"""Of processor time for one article."""

LONGEST_ARTICLE = LARGEST_PAGE // 4
"""Characters of wikitext. MediaWiki itself takes 2 MiB."""


def read_wikipedia(path: Path, name: str) -> Iterator[Page | Skipped]:
    """The articles of a dump (.xml, .xml.gz, .xml.bz2, .xml.zst): namespace 0, without redirects, as plain text.

    A page's id has the number that MediaWiki gave it, and where it has none, or one that came before, its place.

    Raises:
        Unreadable: no MediaWiki dump; XML that is broken or declares entities, after the articles before that place.
    """
    articles = _Articles()
    seen = 0
    with opened(path) as stream:
        for _ in parsed(stream, articles):
            for article in articles.take():
                where = f"{name}/{seen}"
                seen += 1
                try:
                    yield _page(article, articles.base, where, name)
                except Unreadable as reason:
                    yield Skipped(where, str(reason))


def _page(article: dict[str, str], base: str, where: str, source: str) -> Page:
    if "too long" in article:
        raise Unreadable(f"its wikitext is longer than {LONGEST_ARTICLE >> 20} Mi characters")
    title = article.get("title", "").strip()
    text = sandboxed(plain_text, article.get("text", "").encode("utf-8", errors="replace"), SECONDS)
    if not text:
        raise Unreadable("it has no text")
    url = base.rpartition("/")[0] + "/" + quote(title.replace(" ", "_"), safe="/:(),") if base and title else None
    return Page(where, source, text=f"{title}\n\n{text}" if title else text, url=url)


class _Articles(Handler):
    """Collects a dump's articles: their title, number and wikitext."""

    def __init__(self) -> None:
        self.base = ""
        """The address of the wiki's main page."""
        self._done: list[dict[str, str]] = []
        self._article: dict[str, str] | None = None
        self._parts: list[str] | None = None
        self._size = 0
        self._begun = False

    def take(self) -> list[dict[str, str]]:
        """The articles found since the last time."""
        done, self._done = self._done, []
        return done

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._begun and name != "mediawiki":
            raise Unreadable("it is no MediaWiki dump")
        self._begun = True
        if name == "page":
            self._article = {}
        elif name == "redirect" and self._article is not None:
            self._article["redirect"] = ""
        elif name in ("title", "ns", "text", "base"):
            self._parts = []
            self._size = 0

    def text(self, data: str) -> None:
        if self._parts is None:
            return
        self._size += len(data)
        if self._size <= LONGEST_ARTICLE:
            self._parts.append(data)
        elif self._article is not None:
            self._article["too long"] = ""
            self._parts.clear()

    def end(self, name: str) -> None:
        if name in ("title", "ns", "text", "base") and self._parts is not None:
            value = "".join(self._parts)
            self._parts = None
            if name == "base":
                self.base = value.strip()
            elif self._article is not None:
                self._article[name] = value  # of several revisions the last, which is the newest
        elif name == "page" and self._article is not None:
            article, self._article = self._article, None
            if article.get("ns", "0").strip() == "0" and "redirect" not in article:
                self._done.append(article)
