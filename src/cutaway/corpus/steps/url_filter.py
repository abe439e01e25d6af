"""Pages from domains and addresses that are not wanted.

Penedo et al. 2023, "The RefinedWeb Dataset for Falcon LLM", section 3.1 and appendix G.1: block lists of domains and
URLs, then words in the URL itself: a banned word or part of a word, or several words of a milder kind. FineWeb does the
same. All lists are the user's own files; none comes with this package.
"""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import Field

from cutaway.corpus.page import Page, Removal
from cutaway.corpus.steps.block_list import blocked_by, compiled, mapped
from cutaway.runs.cache import cache_directory
from cutaway.runs.errors import BadInput
from cutaway.runs.recipe import Settings

_BETWEEN_WORDS = re.compile(r"[^a-zA-Z0-9]+")


class UrlFilterSettings(Settings):
    """Files that say which URLs are not wanted. Words have one a line, `#` before comments."""

    block_lists: tuple[str, ...] = ()
    """Lists of domains and URLs, hosts files, or ad blockers' lists; compressed or not."""
    banned_words: str | None = None
    """One of these as a word of the URL is enough."""
    soft_banned_words: str | None = None
    """Of these it takes `soft_words`."""
    banned_subwords: str | None = None
    """One of these anywhere in the URL's letters and digits is enough, even across its words."""
    soft_words: int = Field(2, ge=1)
    """How many different soft words a URL may not have."""


class UrlFilter:
    """Removes pages by their URL; a page without one passes.

    Equal to datatrove's filter with the same lists, except that a listed domain also covers what lies below it at any
    depth (there: only the registered domain and the host itself), that a host's case, `http` or `https`, a fragment
    and a last slash make no difference, and that a blank line is no word (there it is one that every URL with a last
    slash has). As there, words of the URL are compared as they are written, and the lists' words in lower case.
    """

    name = "url_filter"

    def __init__(self, settings: UrlFilterSettings, directory: Path | None = None) -> None:
        """Reads the lists.

        Args:
            settings: which lists.
            directory: where compiled block lists are kept, unless in the cache.

        Raises:
            BadInput: a list cannot be read or has nothing in it.
        """
        self.settings = settings
        lists = [Path(path) for path in settings.block_lists]
        # Only where it is: other processes get a copy of this filter, and map the file themselves.
        self._block_list = compiled(lists, directory or cache_directory() / "block-lists") if lists else None
        self._banned = frozenset(_words(settings.banned_words))
        self._soft = frozenset(_words(settings.soft_banned_words))
        self._subwords = sorted(_words(settings.banned_subwords))

    def __call__(self, page: Page) -> Removal | None:
        """None keeps the page."""
        url = page.url
        if not url:
            return None
        if self._block_list is not None and (found := blocked_by(url, mapped(self._block_list))):
            return Removal("blocked_url" if found == url else "blocked_domain", found, "block lists")
        words = set(_BETWEEN_WORDS.split(url))
        if banned := self._banned & words:
            return Removal("banned_word", min(banned), "banned words")
        if len(soft := self._soft & words) >= self.settings.soft_words:
            return Removal("soft_banned_words", len(soft), self.settings.soft_words)
        letters = _BETWEEN_WORDS.sub("", url).lower()
        if part := next((part for part in self._subwords if part in letters), None):
            return Removal("banned_subword", part, "banned subwords")
        return None


def _words(path: str | None) -> set[str]:
    """The words of a list, letters and digits only, in lower case."""
    if path is None:
        return set()
    try:
        lines = Path(path).read_text("utf-8", errors="replace").splitlines()
    except OSError as error:
        raise BadInput(f"the list of words {path} cannot be read ({error.strerror}): check its path") from None
    words = {_BETWEEN_WORDS.sub("", line).lower() for line in lines if not line.startswith("#")} - {""}
    if not words:
        raise BadInput(f"the list of words {path} has none: give one a line")
    return words
