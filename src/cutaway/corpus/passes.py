"""The passes of a crawl, as steps of a datatrove pipeline: any of its executors can run them.

    pages       inputs → parts/NNNNN: segments, signatures, lines, funnel, domains
    gathering   the parts' signatures and lines, side by side
    pairs       a bucket's near duplicates, over all segments
    clusters    which pages are an earlier one's
    repeated    lines of the pages that are left which occurred earlier
    documents   parts/NNNNN → finished/NNNNN: segments, funnel, domains

A part appears in one rename when all of it is done; that is its mark, too. Nothing in it depends on when, by whom or
beside what it was made.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from datatrove.pipeline.base import PipelineStep

from cutaway.corpus.clusters import similarity_of_removed
from cutaway.corpus.crawl_settings import DOCUMENT_STEPS, PAGE_STEPS, CrawlSettings, made
from cutaway.corpus.domains import write_domains
from cutaway.corpus.funnel import Funnel
from cutaway.corpus.marks import Teller, fail
from cutaway.corpus.page import Page, Removal, Skipped, Step
from cutaway.corpus.parts import PLAN, Input, parts_of
from cutaway.corpus.segments import SegmentWriter, file_name, read_segment, segment_files, segment_number
from cutaway.corpus.sources import read_pages
from cutaway.corpus.steps.minhash import Signatures
from cutaway.corpus.steps.near_duplicates import find_clusters, find_pairs, removed_documents
from cutaway.corpus.steps.repeated_lines import LineHashes, RepeatedLines, find_repeated
from cutaway.runs import atomic
from cutaway.runs.errors import CutawayError

PARTS, GATHERED, FINISHED = "parts", "gathered", "finished"
SIGNATURES, LINES = "signatures", "lines"
"""Below a part, and with those of all parts below GATHERED."""
SHARES = 8
"""Into so many the hashes of all lines are divided, to be compared one after another or at once."""
SWEPT = 3
"""Times that a part is begun, if it is swept away."""
FUNNEL, DOMAINS = "funnel.json", "domains.tsv"


class CrawlPass(PipelineStep):
    """What the passes have in common. Work is below one directory, which every task sees."""

    type = "cutaway"
    name: str

    def __init__(self, settings: CrawlSettings, directory: str) -> None:
        super().__init__()
        self.settings, self.directory = settings, directory

    @property
    def place(self) -> Path:
        """The directory."""
        return Path(self.directory)

    @contextmanager
    def told(self, rank: int) -> Generator[Teller]:
        """Tell how far a task is, and what stopped it."""
        try:
            with atomic.told_plainly(self.place):
                yield Teller(self.place, self.name, rank)
        except Exception as error:
            fail(self.place, self.name, rank, error)
            raise

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Any:
        """One task's share. `data` is nothing: a pass reads files."""
        with self.told(rank) as teller:
            self.work(teller, rank, world_size)

    def work(self, teller: Teller, rank: int, tasks: int) -> None:
        """Do one task's share."""
        raise NotImplementedError

    def each(self, units: Iterable[int], teller: Teller, do: Callable[[int], None]) -> None:
        """Do those units of a pass that are not marked as done yet, and mark them."""
        for unit in units:
            mark = marked(self.place, self.name, unit)
            if not mark.exists():
                do(unit)
                atomic.write_bytes(mark, b"")
            teller.add(1)

    def whole(self, target: Path, fill: Callable[[Path], None]) -> None:
        """Fill a directory that appears in one step.

        Begins again where that was swept away meanwhile: by the process that watches a cluster's work, when it was
        started anew.
        """
        for _ in range(SWEPT):
            try:
                with atomic.directory(target) as place:
                    fill(place)
                return
            except FileNotFoundError:
                continue
        raise CutawayError(f"{target} cannot be made: something removes it all the time")


class PagesPass(CrawlPass):
    """Reads the inputs, sends their pages through the steps that look at one page alone, and keeps what is left."""

    name = "pages"

    def work(self, teller: Teller, rank: int, tasks: int) -> None:
        """Every part of this task that is not there yet."""
        chain = made(self.settings, PAGE_STEPS)
        for part, inputs in parts_of(self.place / PLAN, rank, tasks):
            target = self.place / PARTS / f"{part:05d}"
            if target.is_dir():
                teller.add(sum(one.size for one in inputs))
                continue
            self.whole(target, partial(self._part, part, inputs, chain, teller))

    def _part(self, part: int, inputs: Sequence[Input], chain: Sequence[Step], teller: Teller, place: Path) -> None:
        funnel, kept = Funnel(), _Kept(place, part, self.settings)
        for one in inputs:
            one.check()
            teller.reading(Path(one.path), one.size)
            for page in _pages(one, funnel):
                funnel.read(page)
                if funnel.apply(chain, page):
                    kept.add(page)
                teller.document()
            teller.add(one.size)
        kept.close()
        _write_funnel(place, funnel)


def _pages(one: Input, funnel: Funnel) -> Iterator[Page]:
    """The pages of an input. Whatever a file does to its reader, the run goes on with the next one."""
    try:
        for page in read_pages(Path(one.path), one.name):
            if isinstance(page, Skipped):
                funnel.skip(page)
            else:
                yield page
    except CutawayError:
        raise
    except Exception as error:
        funnel.skip(Skipped(one.name, f"reading stopped: {type(error).__name__}"))


class _Kept:
    """The segments of a part, and what is known of their pages for comparing them with all others."""

    def __init__(self, place: Path, part: int, settings: CrawlSettings) -> None:
        self.place, self.part, self.settings = place, part, settings
        self.segments = 0
        self.writer: SegmentWriter | None = None
        self.compared: list[tuple[str, Signatures | LineHashes]] = []

    def add(self, page: Page) -> None:
        """Keep a page."""
        if self.writer is None:
            self.writer = SegmentWriter(self.place / file_name(segment_number(self.part, self.segments)))
            settings = self.settings
            self.compared = [(SIGNATURES, Signatures(settings.minhash))] if settings.minhash else []
            self.compared += [(LINES, LineHashes(settings.repeated_lines))] if settings.repeated_lines else []
        self.writer.add(page)
        for _, one in self.compared:
            one.add(page.text)
        if self.writer.full:
            self.close()

    def close(self) -> None:
        """Close the segment that is open."""
        if self.writer is None:
            return
        self.writer.close()
        for folder, one in self.compared:
            one.write(self.place / folder, segment_number(self.part, self.segments))
        self.segments, self.writer = self.segments + 1, None


class GatheringPass(CrawlPass):
    """Puts all parts' signatures and lines side by side, where the passes after it look for them."""

    name = "gathering"

    def work(self, teller: Teller, rank: int, tasks: int) -> None:
        """All of it, in one task."""
        self.whole(self.place / GATHERED, self._gather)
        teller.add(1)

    def _gather(self, place: Path) -> None:
        for part in part_folders(self.place):
            for file in (*(part / SIGNATURES).rglob("*"), *(part / LINES).rglob("*")):
                if file.is_file():
                    link(file, place / file.relative_to(part))


class PairsPass(CrawlPass):
    """Finds the pages of all segments that are alike, a bucket of the signatures a task."""

    name = "pairs"

    def work(self, teller: Teller, rank: int, tasks: int) -> None:
        """The buckets of this task."""
        settings, folder = self.settings.minhash, self.place / GATHERED / SIGNATURES
        assert settings
        self.each(range(rank, settings.buckets, tasks), teller, lambda bucket: find_pairs(folder, bucket, settings))


class ClustersPass(CrawlPass):
    """Decides which pages go, as near duplicates of earlier ones."""

    name = "clusters"

    def work(self, teller: Teller, rank: int, tasks: int) -> None:
        """All of it, in one task."""
        self.each((0,), teller, lambda _: find_clusters(self.place / GATHERED / SIGNATURES))


class RepeatedPass(CrawlPass):
    """Finds the lines that occurred in earlier pages, of those pages that are no near duplicates; a share a task."""

    name = "repeated"

    def work(self, teller: Teller, rank: int, tasks: int) -> None:
        """The shares of this task."""
        gathered = self.place / GATHERED
        near = self.settings.minhash

        def removed(number: int) -> npt.NDArray[np.uint32]:
            return removed_documents(gathered / SIGNATURES, number) if near else np.zeros(0, dtype=np.uint32)

        def find(share: int) -> None:
            if (gathered / LINES).is_dir():
                find_repeated(gathered / LINES, share, SHARES, removed)

        self.each(range(rank, SHARES, tasks), teller, find)


def part_folders(place: Path) -> list[Path]:
    """The parts that the first pass has left, in order."""
    return sorted(path for path in (place / PARTS).iterdir() if path.name.isdigit())


class DocumentsPass(CrawlPass):
    """Drops near duplicates and repeated lines, sends the rest through the last steps, and writes the corpus."""

    name = "documents"

    def work(self, teller: Teller, rank: int, tasks: int) -> None:
        """Every part of this task that is not there yet."""
        chain = made(self.settings, DOCUMENT_STEPS)
        for path in part_folders(self.place):
            if int(path.name) % tasks != rank:
                continue
            target = self.place / FINISHED / path.name
            if not target.is_dir():
                self.whole(target, partial(self._part, path, chain, teller))
            teller.add(1)

    def _part(self, part: Path, chain: Sequence[Step], teller: Teller, place: Path) -> None:
        funnel = Funnel()
        for number, file in segment_files(part):
            writer = SegmentWriter(place / file.name)
            for page in self._left(number, file, funnel, chain):
                funnel.keep(page)
                writer.add(page)
                teller.document()
            writer.close()
        _write_funnel(place, funnel)

    def _left(self, number: int, file: Path, funnel: Funnel, chain: Sequence[Step]) -> Iterator[Page]:
        """The pages of a segment that come out of all steps."""
        comparisons = self._comparisons(number)
        for place, page in enumerate(read_segment(file)):
            for one in comparisons:
                one.place = place
            if funnel.apply([*comparisons, *chain], page):
                yield page

    def _comparisons(self, number: int) -> list[_Compared]:
        """What has come of comparing the pages of a segment with all others, as steps."""
        settings, gathered = self.settings, self.place / GATHERED
        found: list[_Compared] = []
        if settings.minhash:
            gone = similarity_of_removed(gathered / SIGNATURES, number)
            least = settings.minhash.similarity
            found.append(
                _Compared(
                    Signatures.name,
                    lambda page, place: Removal("near_duplicate", gone[place], least) if place in gone else None,
                )
            )
        if settings.repeated_lines:
            lines = RepeatedLines(settings.repeated_lines, gathered / LINES, number)
            found.append(_Compared(RepeatedLines.name, lines.clean))
        return found


class _Compared:
    """A step that must know at which place in its segment a page is."""

    def __init__(self, name: str, step: Callable[[Page, int], Removal | None]) -> None:
        self.name, self.step = name, step
        self.place = 0

    def __call__(self, page: Page) -> Removal | None:
        return self.step(page, self.place)


def marked(place: Path, name: str, unit: int) -> Path:
    """Where the mark of a unit of work is."""
    return place / "marks" / f"{name}-{unit:05d}"


def _write_funnel(place: Path, funnel: Funnel) -> None:
    atomic.write_json(place / FUNNEL, funnel.to_json())
    write_domains(place / DOMAINS, funnel.domains)


def link(source: Path, target: Path) -> None:
    """A second name for a file, or a copy where the file system knows no such thing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        target.unlink()
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
