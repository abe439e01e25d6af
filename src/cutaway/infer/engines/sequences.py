"""Which of another engine's sequences holds which of our pages.

Our scheduler names keys and values by pages; llama.cpp keeps them itself, by sequence and position, and a position may
belong to several sequences. Here a row's pages are found again: in the sequence that it wrote before, or in others,
which then share them with a new one. A page lies there once, however many have it, so that room for all pages is room
enough.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from cutaway.infer.pages import NOTHING, PAGE, Pages, pages_for
from cutaway.infer.runner import Row
from cutaway.runs import CutawayError


class Memory(Protocol):
    """The other engine's keys and values. Positions go from `start` to before `end`."""

    def share(self, source: int, target: int, start: int, end: int) -> None:
        """Have these positions of one sequence belong to another as well."""
        ...

    def drop(self, sequence: int, start: int, end: int) -> None:
        """Take these positions away from a sequence."""
        ...

    def read(self, sequence: int, start: int, tokens: Sequence[int]) -> None:
        """Compute more of a sequence, which ends at `start`."""
        ...


@dataclass(eq=False)
class Held:
    """What one of the other engine's sequences holds.

    Attributes:
        number: its number there.
        pages: the pages that it has, in order; `NOTHING` stands where it has none.
        length: the position after its last.
        used: the step that used it last.
    """

    number: int
    pages: list[int] = field(default_factory=list[int])
    length: int = 0
    used: int = 0


class Sequences:
    """Finds a sequence for each row of a step.

    Sequences that nobody writes any more keep what they have until its pages are written anew, or another sequence is
    needed. A page that is lost that way, though our own books still have it, is read again from its tokens.
    """

    def __init__(self, pages: Pages, memory: Memory, count: int) -> None:
        """`count` is how many sequences the other engine has: more than there are rows in any step."""
        self.pages, self.memory = pages, memory
        self.held = [Held(number) for number in range(count)]
        self.holders: dict[int, list[Held]] = {}
        self.tokens = np.zeros((1 + pages.count, PAGE), dtype=np.int32)
        self.step = 0

    def place(self, rows: Sequence[Row]) -> list[Held]:
        """A sequence for each row, which has everything before the row's start and will be given its tokens now.

        Raises:
            CutawayError: something had to be read again, and could not be.
        """
        self.step += 1
        # All that go on come first, so that none of their sequences is taken for another.
        going = [self.going_on(row) for row in rows]
        placed = [held or self.begun(row) for row, held in zip(rows, going, strict=True)]
        for row, held in zip(rows, placed, strict=True):
            self.extend(held, row)
        return placed

    def going_on(self, row: Row) -> Held | None:
        """The sequence that holds just what comes before a row, if there is one and no other row has it."""
        need = list(row.pages[: pages_for(row.start)])
        for held in self.holders.get(need[-1], ()) if need else ():
            if held.used < self.step and held.length == row.start and agree(held.pages, need):
                held.used = self.step
                for at, page in enumerate(need):
                    if page == NOTHING and held.pages[at] != NOTHING:
                        self.lose(held, at)
                return held
        return None

    def begun(self, row: Row) -> Held:
        """A sequence that is made to hold what comes before a row."""
        need = list(row.pages[: pages_for(row.start)])
        held = self.free(set(need))
        self.clear(held)
        held.used = self.step
        try:
            while len(held.pages) < len(need):
                self.bring(held, need, row.start)
        except BaseException:
            self.clear(held)
            raise
        held.length = row.start
        return held

    def bring(self, held: Held, need: Sequence[int], end: int) -> None:
        """Give a sequence its next page, and as many as come from the same place; it is to end at `end`."""
        first = last = len(held.pages)
        source = self.source(need, first, end)
        while last < len(need) and self.source(need, last, end) is source:
            last += 1
        start, end = first * PAGE, min(last * PAGE, end)
        if source:
            self.memory.share(source.number, held.number, start, end)
        elif NOTHING in need[:last]:
            raise CutawayError("the beginning of a text that waited for long is not held any more; ask again")
        else:
            tokens = self.tokens[list(need[first:last])].reshape(-1)[: end - start]
            self.memory.read(held.number, start, tokens.tolist())
        self.add(held, need[first:last])

    def source(self, need: Sequence[int], at: int, end: int) -> Held | None:
        """Who has the page that is needed as number `at`; None if nobody, or if it is not full."""
        full = (at + 1) * PAGE <= end
        holders = self.holders.get(need[at], ()) if full else ()
        return next((each for each in holders if each.pages[at : at + 1] == [need[at]]), None)

    def free(self, wanted: Collection[int]) -> Held:
        """A sequence to be used for something else: one that has nothing `wanted`, and has long not been used."""

        def worth(held: Held) -> tuple[bool, bool, int]:
            live = bool(held.pages) and self.pages.references[held.pages[-1]] > 0
            return not set(held.pages).isdisjoint(wanted), live, held.used

        return min((held for held in self.held if held.used < self.step), key=worth)

    def extend(self, held: Held, row: Row) -> None:
        """Note that a sequence is given a row's tokens; what was in the pages that they go to is gone."""
        new = row.pages[len(held.pages) : pages_for(row.end)]
        for page in new:
            for other in list(self.holders.get(page, ())):
                self.lose(other, other.pages.index(page))
        self.add(held, new)
        for position, token in enumerate(row.tokens, row.start):
            self.tokens[row.pages[position // PAGE], position % PAGE] = token
        held.length = row.end

    def add(self, held: Held, pages: Sequence[int]) -> None:
        """A sequence has these pages too."""
        held.pages += pages
        for page in pages:
            self.holders.setdefault(page, []).append(held)

    def lose(self, held: Held, at: int) -> None:
        """Take page number `at` away from a sequence."""
        self.memory.drop(held.number, at * PAGE, (at + 1) * PAGE)
        self.holders[held.pages[at]].remove(held)
        held.pages[at] = NOTHING
        while held.pages and held.pages[-1] == NOTHING:
            held.pages.pop()
        held.length = min(held.length, len(held.pages) * PAGE)

    def clear(self, held: Held) -> None:
        """Take everything away from a sequence."""
        self.memory.drop(held.number, 0, self.pages.count * PAGE)
        for page in held.pages:
            if page != NOTHING:
                self.holders[page].remove(held)
        held.pages, held.length = [], 0


def agree(pages: Sequence[int], need: Sequence[int]) -> bool:
    """Whether a sequence with these pages has those that are needed; `NOTHING` stands for what no row reads again."""
    return pages == need or (
        len(pages) == len(need) and all(page in (NOTHING, own) for page, own in zip(need, pages, strict=True))
    )
