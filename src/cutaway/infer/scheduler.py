"""Who reads what in the next step: the line, the pages, and who makes way when they run out."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterator

from cutaway.infer.pages import NOTHING, PAGE, pages_for
from cutaway.infer.prefixes import Name, Prefixes
from cutaway.infer.runner import first_page
from cutaway.infer.unfinished import Unfinished

Plan = list[tuple[Unfinished, int]]
"""Completions, each with the number of tokens that it reads."""


class Scheduler:
    """Completions that run have pages; those that wait have none.

    One that writes reads one token in every step; those that still read their prompt share `chunk` tokens a step, so
    that no prompt holds up the others for longer. Whoever is first by priority, then by arrival, gets what he needs:
    when pages run out, the last who has some is set back. He loses them and waits, and later reads anew what was not
    kept.
    """

    def __init__(self, prefixes: Prefixes, *, most_rows: int, chunk: int, window: int | None) -> None:
        """`window` is how far back the model looks, in positions; None for all the way."""
        self.prefixes = prefixes
        self.most_rows, self.chunk, self.window = most_rows, chunk, window
        self.waiting: list[Unfinished] = []
        self.running: list[Unfinished] = []
        self.set_back_ever = 0

    def add(self, completion: Unfinished) -> None:
        """Put a completion in line, at its place."""
        insort(self.waiting, completion, key=lambda other: other.rank)

    def remove(self, completion: Unfinished) -> None:
        """Let go of a completion that has ended, and of its pages."""
        if completion in self.running:
            self.running.remove(completion)
            self.prefixes.release(completion.pages)
            completion.pages = []
        else:
            self.waiting.remove(completion)

    def plan(self) -> Plan:
        """What the next step reads. Its pages are there; nobody else's are written."""
        self.admit()
        shares = dict(self.writing()) | dict(self.reading())
        plan: Plan = []
        for completion in sorted(self.running, key=lambda other: other.rank):
            # A better one may have set this one back on the way.
            if completion in self.running and completion in shares:
                n = shares[completion]
                if self.cover(completion, completion.read + n):
                    plan.append((completion, n))
        return plan

    def writing(self) -> Iterator[tuple[Unfinished, int]]:
        """Those with one token to read."""
        return ((completion, 1) for completion in self.running if completion.pending == 1 and not completion.away)

    def reading(self) -> Iterator[tuple[Unfinished, int]]:
        """Those with more, and how much of it fits into this step.

        Half of the room is the first one's, so that none waits for ever; the rest goes to those who need least of it,
        so that short prompts need not wait for long ones.
        """
        readers = [completion for completion in self.running if completion.pending > 1 and not completion.away]
        if not readers:
            return
        first = min(readers, key=lambda other: other.rank)
        left = self.chunk - (half := min(first.pending, (self.chunk + 1) // 2))
        shares = {first: half}
        for completion in sorted(readers, key=lambda other: (-other.request.priority, other.pending, other.order)):
            more = min(left, completion.pending - shares.get(completion, 0))
            shares[completion] = shares.get(completion, 0) + more
            left -= more
        yield from ((completion, n) for completion, n in shares.items() if n)

    def admit(self) -> None:
        """Let those in line run for whom there is room, in order."""
        coming: dict[Name, int] = {}
        for completion in self.running:
            if not completion.away:
                coming |= dict.fromkeys(completion.names[completion.kept :], completion.request.priority)
        for completion in list(self.waiting):
            if len(self.running) >= self.most_rows and not self.below(completion):
                return
            names = completion.named()[: (completion.told - 1) // PAGE]
            found = self.prefixes.find(names)
            # One that is no less urgent is just computing what this one would have to: others may pass meanwhile.
            if len(found) < len(names) and coming.get(names[len(found)], -math.inf) >= completion.request.priority:
                self.prefixes.release(found)
                continue
            completion.pages = found
            if not self.make_way(completion):
                completion.pages = []
                self.prefixes.release(found)
                return
            self.start(completion)
            coming |= dict.fromkeys(completion.names[completion.kept :], completion.request.priority)

    def start(self, completion: Unfinished) -> None:
        """Take a completion out of the line; its pages are those that were found."""
        self.waiting.remove(completion)
        self.running.append(completion)
        found = len(completion.pages)
        completion.read, completion.kept, completion.passed = found * PAGE, found, 0
        self.prefixes.asked += len(completion.ids)
        self.prefixes.found += found * PAGE
        if not completion.began:
            completion.began, completion.known = True, found * PAGE

    def below(self, completion: Unfinished) -> list[Unfinished]:
        """Who runs and has a lower priority, the last first."""
        lower = [other for other in self.running if other.request.priority < completion.request.priority]
        return sorted(lower, key=lambda other: other.rank, reverse=True)

    def make_way(self, completion: Unfinished) -> bool:
        """Whether there is room, after setting back those of lower priority that take it; none if that is too little.

        There is room if all that run can still read what they have, and each grow by a page.
        """
        rows = self.most_rows - len(self.running)
        room = self.prefixes.room - sum(other.lacking + 1 for other in self.running)
        needed = max(1, completion.lacking)
        victims: list[Unfinished] = []
        for victim in self.below(completion):
            if rows > 0 and room >= needed:
                break
            rows += 1
            room += victim.lacking + 1 + sum(self.prefixes.pages.references[page] == 1 for page in victim.pages)
            victims.append(victim)
        if rows <= 0 or room < needed:
            return False
        for victim in victims:
            self.set_back(victim)
        return True

    def cover(self, completion: Unfinished, end: int) -> bool:
        """Give a completion the pages for its first `end` tokens; whether it still runs after that."""
        while len(completion.pages) < pages_for(end):
            page = self.prefixes.take()
            if page is not None:
                completion.pages.append(page)
                continue
            last = max(self.running, key=lambda other: other.rank)
            self.set_back(last)
            if last is completion:
                return False
        return True

    def set_back(self, completion: Unfinished) -> None:
        """Take a running completion's pages and put it in line again."""
        self.remove(completion)
        completion.read = 0
        self.add(completion)
        self.set_back_ever += 1

    def has_read(self, completion: Unfinished, n: int) -> None:
        """Count `n` more tokens as read: full pages can now be found, those behind the window are given back."""
        completion.read += n
        if completion.read // PAGE > completion.kept:
            names = completion.named()
            for at in range(completion.kept, min(completion.read // PAGE, len(names))):
                self.prefixes.keep(names[at], completion.pages[at])
                completion.kept = at + 1
        passed = first_page(completion.read, self.window)
        if passed > completion.passed:
            behind = slice(completion.passed, passed)
            self.prefixes.release(completion.pages[behind])
            completion.pages[behind] = [NOTHING] * (passed - completion.passed)
            completion.passed = passed
