from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from cutaway.corpus.page import Page
from cutaway.corpus.steps.repeated_lines import (
    LineHashes,
    RepeatedLines,
    RepeatedLinesSettings,
    compared_units,
    find_repeated,
    without_units,
)

SETTINGS = RepeatedLinesSettings(line=10, paragraph=10)
NONE = np.zeros(0, dtype=np.uint32)


def nothing_removed(_: int) -> npt.NDArray[np.uint32]:
    return NONE


def cleaned(
    folder: Path, texts: list[str], size: int, parts: int = 1, gone: frozenset[int] = frozenset(), settings=SETTINGS
) -> list[str]:
    """The texts after all passes, in segments of `size`; "" for those of which nothing is left."""

    def removed(number: int) -> npt.NDArray[np.uint32]:
        return np.array([text - number * size for text in sorted(gone) if text // size == number], dtype=np.uint32)

    for number, start in enumerate(range(0, len(texts), size)):
        hashes = LineHashes(settings)
        for text in texts[start : start + size]:
            hashes.add(text)
        hashes.write(folder, number)
    for part in range(parts):
        find_repeated(folder, part, parts, removed)
    out: list[str] = []
    for number, start in enumerate(range(0, len(texts), size)):
        step = RepeatedLines(settings, folder, number)
        for document, text in enumerate(texts[start : start + size]):
            page = Page("id", "source", text=text)
            removal = step.clean(page, document)
            assert (removal is None) == bool(page.text or not text.strip())
            out.append(page.text)
    return out


def by_hand(texts: list[str]) -> list[str]:
    """The rule for lines alone, in the plainest way."""
    seen: set[str] = set()
    out: list[str] = []
    for text in texts:
        lines = []
        for line in text.split("\n"):
            normal = " ".join(line.split())
            if len(normal) < 10 or normal not in seen:
                lines.append(line)
            seen.add(normal)
        out.append("\n".join(lines))
    return out


def corpus(seed: int) -> list[str]:
    rng = random.Random(seed)
    lines = [f"this is line {number} of the site" for number in range(60)] + ["short", "Read more"]
    return ["\n".join(rng.choices(lines, k=rng.randint(1, 12))) for _ in range(80)]


@pytest.mark.parametrize(("size", "parts"), [(100, 1), (7, 1), (1, 5), (30, 16)])
def test_first_occurrences_stay_however_the_work_is_cut(tmp_path: Path, size: int, parts: int):
    texts = corpus(1)
    only_lines = RepeatedLinesSettings(line=10, paragraph=0)
    assert cleaned(tmp_path, texts, size, parts, settings=only_lines) == by_hand(texts)


def test_lines_of_pages_that_have_gone_do_not_count(tmp_path: Path):
    texts = ["the same line in both", "the same line in both", "the same line in both"]
    assert cleaned(tmp_path, texts, 2, gone=frozenset({0}))[1:] == ["the same line in both", ""]


def test_a_repeated_paragraph_goes_with_its_short_lines(tmp_path: Path):
    menu = "Home\nAbout\nNews\nContact"
    texts = [f"First page's words.\n\n{menu}", f"Second page's words.\n \n{menu}\n\nIts end, which differs."]
    assert cleaned(tmp_path, texts, 1) == [texts[0], "Second page's words.\n\nIts end, which differs."]
    alone = cleaned(tmp_path / "lines", texts, 1, settings=RepeatedLinesSettings(line=10, paragraph=0))
    assert alone == texts


def test_white_space_does_not_count_and_short_lines_stay(tmp_path: Path):
    texts = ["a  line  of words\nshort", "a line of\twords \nshort\nother line of words"]
    assert cleaned(tmp_path, texts, 1) == [texts[0], "short\nother line of words"]


def test_a_page_that_repeats_itself_keeps_its_first_line(tmp_path: Path):
    assert cleaned(tmp_path, ["again and again\n" * 5 + "end"], 1) == ["again and again\nend"]


def test_nothing_changes_where_nothing_repeats(tmp_path: Path):
    texts = ["  one line of words \n\n\n another line of words\n", "", "\n", "x" * 1000, "half a pair \ud800 of it"]
    assert cleaned(tmp_path, texts, 2) == texts


def test_units_are_numbered_the_same_for_reading_and_removing():
    text = "one line here\ntwo lines here\n\n\nthree lines here\n \nfour lines here\nfive lines here"
    units = dict(compared_units(text, SETTINGS))
    for unit, normal in units.items():
        left = without_units(text, {unit}, SETTINGS)
        assert normal not in left
        assert len(list(compared_units(left, SETTINGS))) >= len(units) - 4


def test_small_shares_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    texts = corpus(2)
    whole = cleaned(tmp_path / "whole", texts, 9)
    monkeypatch.setattr("cutaway.corpus.steps.repeated_lines.SHARE", 64)
    assert cleaned(tmp_path / "small", texts, 9) == whole
    files = [sorted((tmp_path / name / "repeated").rglob("*.bin")) for name in ("whole", "small")]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]


def test_an_empty_corpus(tmp_path: Path):
    find_repeated(tmp_path, 0, 1, nothing_removed)
    LineHashes(SETTINGS).write(tmp_path, 3)
    find_repeated(tmp_path, 0, 1, nothing_removed)
    assert RepeatedLines(SETTINGS, tmp_path, 3).clean(Page("id", "source", text="a"), 0) is None
