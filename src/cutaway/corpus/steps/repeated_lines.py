"""Lines and paragraphs that occur more than once in the whole corpus stay only where they occur first.

Wenzek et al., "CCNet: extracting high quality monolingual datasets from web crawl data" (2020), section 3.1, drops
every paragraph that a shard has seen; here the shard is the corpus, "first" is by the corpus's order, and short lines,
which rightly recur, have a minimum length below which they are left alone.

Pass 1 writes 64-bit hashes of each segment's lines, sorted; when near duplicates are known, shares of the range of
hashes are merged, each by itself, and leave the places of later occurrences; the last pass takes those lines out.
Neither memory nor the result depends on how many tasks did it. Two different ones among a thousand million lines have
the same hash with a probability of 3 in 100.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cutaway.corpus.page import Page, Removal
from cutaway.corpus.steps.sorted_records import SHARE, SortedRecords
from cutaway.runs import Settings, atomic

_RECORD = np.dtype([("hash", "<u8"), ("document", "<u4"), ("unit", "<u4")])
_PLACE = np.dtype([("document", "<u4"), ("unit", "<u4")])
_BLANK_LINES = re.compile(r"(\n[^\S\n]*\n\s*)")


class RepeatedLinesSettings(Settings):
    """Which lines and paragraphs are compared; neither white space at their ends nor its amount within counts."""

    line: int = Field(default=50, ge=0)
    """Fewest characters of a line that is taken out where it recurs; 0: lines stay."""
    paragraph: int = Field(default=50, ge=0)
    """Fewest characters of a paragraph, several lines between blank ones, that is taken out; 0: paragraphs stay."""


class LineHashes:
    """The lines and paragraphs of one segment's pages."""

    name = "repeated_lines"

    def __init__(self, settings: RepeatedLinesSettings) -> None:
        self._settings = settings
        self._hashes: list[bytes] = []
        self._places: list[tuple[int, int]] = []
        self._documents = 0

    def add(self, text: str) -> None:
        """Take in the next page of the segment."""
        for unit, normal in compared_units(text, self._settings):
            self._hashes.append(blake2b(normal.encode("utf-8", "replace"), digest_size=8).digest())
            self._places.append((self._documents, unit))
        self._documents += 1

    def write(self, folder: Path, number: int) -> None:
        """Write lines/NNNNN.bin, the hashes in order, atomically."""
        records = np.zeros(len(self._hashes), dtype=_RECORD)
        records["hash"] = np.frombuffer(b"".join(self._hashes), dtype="<u8")
        places = np.array(self._places, dtype=np.uint32).reshape(-1, 2)
        records["document"], records["unit"] = places[:, 0], places[:, 1]
        atomic.write_bytes(folder / "lines" / f"{number:05d}.bin", np.sort(records, kind="stable").tobytes())


def find_repeated(folder: Path, part: int, parts: int, removed: Callable[[int], npt.NDArray[np.uint32]]) -> None:
    """Write repeated/PPPPP/NNNNN.bin: later occurrences among the hashes of the `part`th of `parts` equal ranges.

    `removed` gives the places of a segment's pages that are no longer in the corpus, whose lines do not count.
    """
    paths = sorted((folder / "lines").glob("*.bin"), key=lambda path: int(path.stem))
    records = SortedRecords(paths, _RECORD, lambda record: int(record["hash"]))
    gone = {number: removed(number) for number in records.numbers}
    shares = max(records.size // parts // SHARE, 1)
    found: dict[int, list[npt.NDArray[np.void]]] = {number: [] for number in records.numbers}
    for share in range(part * shares, (part + 1) * shares):
        borders = [(place << 64) // (parts * shares) for place in (share, share + 1)]
        numbers, taken = records.share(borders[0], borders[1] if borders[1] < 1 << 64 else None)
        there = np.ones(len(taken), dtype=bool)
        for number in np.unique(numbers).tolist():
            there &= (numbers != number) | ~np.isin(taken["document"], gone[number])
        numbers, taken = numbers[there], taken[there]
        order = np.lexsort((taken["unit"], taken["document"], numbers, taken["hash"]))
        numbers, taken = numbers[order], taken[order]
        later = np.concatenate([[False], taken["hash"][1:] == taken["hash"][:-1]])[: len(taken)]
        for number in np.unique(numbers[later]).tolist():
            found[number].append(taken[later & (numbers == number)])
    for number, parts_of_it in found.items():
        places = np.zeros(sum(map(len, parts_of_it)), dtype=_PLACE)
        if len(places):
            places["document"] = np.concatenate([each["document"] for each in parts_of_it])
            places["unit"] = np.concatenate([each["unit"] for each in parts_of_it])
        atomic.write_bytes(folder / "repeated" / f"{part:05d}" / f"{number:05d}.bin", np.sort(places).tobytes())


class RepeatedLines:
    """Takes lines and paragraphs that occurred earlier in the corpus out of one segment's pages."""

    name = "repeated_lines"

    def __init__(self, settings: RepeatedLinesSettings, folder: Path, number: int) -> None:
        self._settings = settings
        files = sorted((folder / "repeated").glob(f"*/{number:05d}.bin"))
        read = [np.fromfile(path, dtype=_PLACE) for path in files]
        places = np.sort(np.concatenate(read)) if read else np.zeros(0, dtype=_PLACE)
        self._documents = np.ascontiguousarray(places["document"])
        self._units = np.ascontiguousarray(places["unit"])

    def clean(self, page: Page, document: int) -> Removal | None:
        """Take out what the page, at its place in the segment, repeats; a page of which nothing is left is removed."""
        first, end = np.searchsorted(self._documents, [document, document + 1]).tolist()
        if first == end:
            return None
        gone = set(self._units[first:end].tolist())
        before = len(page.text)
        page.text = without_units(page.text, gone, self._settings)
        return None if page.text else Removal("all_lines_repeated", before, 0)


def compared_units(text: str, settings: RepeatedLinesSettings) -> Iterator[tuple[int, str]]:
    """What of a text is compared: a number that stands for its place, and the text to compare.

    A line has twice its number in the text; a paragraph, that of its first line and one.
    """
    number = 0
    for _, paragraph in _paragraphs(text):
        lines = [" ".join(line.split()) for line in paragraph.split("\n")]
        if len(lines) > 1 and settings.paragraph:
            whole = "\n".join(lines)
            if len(whole) >= settings.paragraph:
                yield 2 * number + 1, whole
        for place, line in enumerate(lines):
            if settings.line and len(line) >= settings.line:
                yield 2 * (number + place), line
        number += len(lines)


def without_units(text: str, gone: set[int], settings: RepeatedLinesSettings) -> str:
    """The text without the lines and paragraphs of these numbers; what separates the others stays as it was."""
    kept: list[str] = []
    number = 0
    for separator, paragraph in _paragraphs(text):
        lines = paragraph.split("\n")
        whole_goes = 2 * number + 1 in gone
        left = [] if whole_goes else [line for place, line in enumerate(lines) if 2 * (number + place) not in gone]
        if left:
            kept += [separator if kept else "", "\n".join(left)]
        number += len(lines)
    return "".join(kept)


def _paragraphs(text: str) -> Iterator[tuple[str, str]]:
    """What stands between blank lines, each with what separated it from the one before."""
    parts = ["", *_BLANK_LINES.split(text.strip())]
    yield from zip(parts[::2], parts[1::2], strict=True)
