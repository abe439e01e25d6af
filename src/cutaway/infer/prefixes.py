"""What was computed once is not computed again: pages are found by all the tokens up to their end.

A conversation's next turn begins with what was read and written before it, and many conversations with one system
prompt. A full page has a name, a hash of its tokens and of the name of the page before it; a sequence that begins with
tokens of known names takes their pages as they are. Pages that no sequence uses stay until their room is needed.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from hashlib import blake2b

from cutaway.infer.pages import NOTHING, PAGE, Pages

Name = bytes


class Prefixes:
    """Hands out pages, finds those whose content is known, and gives up the least recently used when room is short.

    Attributes:
        asked, found: tokens that sequences came with, and how many of them were known.
    """

    def __init__(self, pages: Pages) -> None:
        self.pages = pages
        self.page_of: dict[Name, int] = {}
        self.name_of: dict[int, Name] = {}
        # Pages that nobody uses and whose content is known, the one to be given up next first.
        self.idle: OrderedDict[int, None] = OrderedDict()
        self.asked = self.found = 0

    @property
    def room(self) -> int:
        """Pages that can be had: free ones, and idle ones that would be given up."""
        return len(self.pages.free) + len(self.idle)

    def find(self, names: Sequence[Name]) -> list[int]:
        """The pages of the longest beginning that is known; they are in use from now on."""
        found: list[int] = []
        for name in names:
            page = self.page_of.get(name)
            if page is None:
                break
            self.idle.pop(page, None)
            self.pages.share(page)
            found.append(page)
        return found

    def take(self) -> int | None:
        """An empty page, or None where all are in use."""
        if not self.pages.free and self.idle:
            self._forget(next(iter(self.idle)))
        return self.pages.take() if self.pages.free else None

    def keep(self, name: Name, page: int) -> None:
        """Remember what a full page holds. Of two with the same content the first is kept."""
        if name not in self.page_of and page not in self.name_of:
            self.page_of[name] = page
            self.name_of[page] = name

    def release(self, pages: Iterable[int]) -> None:
        """One sequence no longer uses these pages of its own."""
        # The last first: of a sequence that nobody uses, the end is given up before the beginning.
        for page in reversed(list(pages)):
            if page == NOTHING or not self.pages.leave(page):
                continue
            if page in self.name_of:
                self.idle[page] = None
            else:
                self.pages.give_up(page)

    def _forget(self, page: int) -> None:
        del self.idle[page]
        del self.page_of[self.name_of.pop(page)]
        self.pages.give_up(page)


def extend_names(names: list[Name], tokens: Sequence[int], among: str = "") -> None:
    """Bring a sequence's page names up to date: one for each of its full pages.

    Only sequences with the same `among` (an adapter, an owner) have names in common.
    """
    for at in range(len(names) * PAGE, len(tokens) - PAGE + 1, PAGE):
        before = names[-1] if names else blake2b(among.encode(), digest_size=16).digest()
        # Names have 16 bytes; whoever wanted two texts to share one would have to try 2^64 of them.
        names.append(blake2b(array("q", tokens[at : at + PAGE]).tobytes() + before, digest_size=16).digest())
