"""Benchmark questions and answers that got into the corpus are found by runs of 13 words and taken out.

Brown et al., "Language models are few-shot learners" (2020), appendix C: words in lower case and without marks, runs
of 13. Words are those of datatrove's simplified text, so that numbers and accents do not hide a copy. The benchmarks'
runs are kept as sorted 64-bit hashes; a page is looked up without any text of the benchmarks.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cutaway.corpus.deduplicate import gram_hashes
from cutaway.corpus.page import Page, Removal
from cutaway.corpus.steps.simplified import simplified_text, simplified_words
from cutaway.corpus.steps.words import Words, WordSettings, shared_words
from cutaway.runs.errors import BadInput

_FILTER = 1 << 22
"""Entries of the table that says for most runs, by their lowest bits, that no benchmark has them."""


class DecontaminationSettings(WordSettings):
    """Which benchmarks, and what happens to what is found."""

    benchmarks: tuple[str, ...] = ()
    """Files: .jsonl and .jsonl.gz, an object a line; .txt, a text a line. Folders: all such files in them."""
    fields: tuple[str, ...] = ()
    """Keys of the objects whose strings count; none: all strings in them, however deep."""
    gram: int = Field(default=13, ge=1)
    """Words in a run; shorter benchmark texts are not looked for."""
    found: Literal["remove", "excise"] = "remove"
    """remove: the page goes. excise: only the runs go, with `around` characters on either side."""
    around: int = Field(default=200, ge=0)
    """Characters that go with a run on either side, to the next border of a word."""
    shortest: int = Field(default=200, ge=0)
    """Pieces between runs of fewer characters go too."""
    most_cuts: int = Field(default=10, ge=1)
    """A page with more stretches to cut out than this goes altogether."""


class Decontamination:
    """Removes pages that have runs of words in common with a benchmark, or cuts the runs out of them."""

    name = "decontamination"

    def __init__(self, settings: DecontaminationSettings) -> None:
        """Raises `BadInput` where a benchmark cannot be read or none of its texts is long enough."""
        self._settings = settings
        self._words = shared_words(settings)
        self._known = self._read()
        self._table = np.zeros(_FILTER, dtype=bool)
        self._table[self._known & np.uint64(_FILTER - 1)] = True

    def __call__(self, page: Page) -> Removal | None:
        """See `Step`. The value is the number of runs that a benchmark has too."""
        settings = self._settings
        places = self._find(gram_hashes(simplified_words(page.text, self._words).hashes, settings.gram))
        if not len(places):
            return None
        if settings.found == "excise":
            stretches = self._stretches(page.text)
            left = cut_out(page.text, stretches, settings.shortest)
            if left and 0 < len(stretches) <= settings.most_cuts:
                page.text = left
                return None
        return Removal("contaminated", len(places), 0)

    def _find(self, grams: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """Places of runs that a benchmark has."""
        likely = np.flatnonzero(self._table[grams & np.uint64(_FILTER - 1)])
        slots = np.minimum(np.searchsorted(self._known, grams[likely]), len(self._known) - 1)
        return likely[self._known[slots] == grams[likely]] if len(self._known) else likely[:0]

    def _stretches(self, text: str) -> list[tuple[int, int]]:
        """Stretches of characters to cut out, in order and apart."""
        settings = self._settings
        chunks = list(_chunks(text))
        owner: list[int] = []
        words: list[str] = []
        for number, (start, end) in enumerate(chunks):
            found = self._words.splitter.split(simplified_text(text[start:end]))
            words += found
            owner += [number] * len(found)
        stretches: list[tuple[int, int]] = []
        for place in self._find(gram_hashes(Words(words).hashes, settings.gram)).tolist():
            start = chunks[owner[place]][0] - settings.around
            end = chunks[owner[place + settings.gram - 1]][1] + settings.around
            start, end = _to_white_space(text, max(start, 0), min(end, len(text)))
            if stretches and start <= stretches[-1][1]:
                stretches[-1] = (stretches[-1][0], max(end, stretches[-1][1]))
            else:
                stretches.append((start, end))
        return stretches

    def _read(self) -> npt.NDArray[np.uint64]:
        settings = self._settings
        found: list[npt.NDArray[np.uint64]] = []
        for path in benchmark_files(settings.benchmarks):
            hashes = [
                gram_hashes(simplified_words(text, self._words).hashes, settings.gram)
                for text in benchmark_texts(path, settings.fields)
            ]
            if not any(map(len, hashes)):
                of = f" in the fields {', '.join(settings.fields)}" if settings.fields else ""
                raise BadInput(f"{path} has no text of {settings.gram} words{of}; take it out of the benchmarks")
            found.append(np.unique(np.concatenate(hashes)))
        return np.unique(np.concatenate(found)) if found else np.zeros(0, dtype=np.uint64)


def cut_out(text: str, stretches: Sequence[tuple[int, int]], shortest: int) -> str:
    """The pieces of a text between stretches, each a paragraph; those below `shortest` characters go."""
    ends = [0, *(border for stretch in stretches for border in stretch), len(text)]
    pieces = (text[start:end].strip() for start, end in zip(ends[::2], ends[1::2], strict=True))
    return "\n\n".join(piece for piece in pieces if piece and len(piece) >= shortest)


def benchmark_files(given: Sequence[str]) -> list[Path]:
    """The files that are meant, in order. Raises `BadInput` where there is none."""
    files: list[Path] = []
    for each in given:
        path = Path(each)
        inside = sorted(file for file in path.rglob("*") if _kind(file)) if path.is_dir() else [path]
        if not inside or not inside[0].is_file():
            raise BadInput(f"there is no benchmark at {path}; give .jsonl, .jsonl.gz or .txt files, or folders of them")
        files += inside
    return files


def benchmark_texts(path: Path, fields: Sequence[str]) -> Iterator[str]:
    """The texts of a benchmark's file. Raises `BadInput` where it is not what its name says."""
    kind = _kind(path)
    if not kind:
        raise BadInput(f"{path} is no benchmark: its name should end in .jsonl, .jsonl.gz or .txt")
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if kind == "txt":
                    yield line
                elif line.strip():
                    yield from _strings(_parse(path, number, line), frozenset(fields))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"the benchmark {path} cannot be read: {error}") from None


def _kind(path: Path) -> str:
    name = path.name.removesuffix(".gz")
    return next((kind for kind in ("jsonl", "txt") if name.endswith(f".{kind}")), "")


def _parse(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        raise BadInput(f"line {number} of the benchmark {path} is not JSON") from None


def _strings(value: Any, fields: frozenset[str], wanted: bool = False) -> Iterator[str]:
    """All strings in a value; only those below one of the fields, if there are any."""
    if isinstance(value, str):
        if wanted or not fields:
            yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _strings(inner, fields, wanted or key in fields)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner, fields, wanted)


def _chunks(text: str) -> Iterator[tuple[int, int]]:
    """Where each stretch without white space begins and ends."""
    end = 0
    for chunk in text.split():
        start = text.index(chunk, end)
        end = start + len(chunk)
        yield start, end


def _to_white_space(text: str, start: int, end: int) -> tuple[int, int]:
    """The stretch made longer until no word is cut."""
    while start > 0 and not text[start - 1].isspace():
        start -= 1
    while end < len(text) and not text[end].isspace():
        end += 1
    return start, end
