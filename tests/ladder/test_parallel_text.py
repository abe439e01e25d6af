"""Pairs from folders, pairs of files, tables and Bibles."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from cutaway.ladder.parallel_text import Pair, bible_pairs, parallel_files, read_parallel, verses
from cutaway.runs import BadInput

PAIRS = Path(__file__).resolve().parents[3] / "shared" / "data" / "pairs"
real = pytest.mark.skipif(not PAIRS.is_dir(), reason="the data for development is not here")


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        data = text if isinstance(text, bytes) else text.encode()
        (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return folder


GERMAN, ENGLISH = "Ein Hund.\nZwei Männer.\n", "A dog.\nTwo men.\n"


def test_a_folder_with_a_held_out_part(tmp_path: Path) -> None:
    files = {
        "train.de.gz": GERMAN,
        "train.en": ENGLISH,
        "val.de": "Drei.\n",
        "val.en.gz": "Three.\n",
        "train.fr": "x\n",
    }
    text = read_parallel(write(tmp_path, files), "de", "en", heldout=0.5, seed=1)
    assert list(text.train) == [Pair("Ein Hund.", "A dog."), Pair("Zwei Männer.", "Two men.")]
    assert list(text.heldout) == [Pair("Drei.", "Three.")]
    turned = read_parallel(tmp_path, "en", "de", heldout=0.5, seed=1)
    assert list(turned.heldout) == [Pair("Three.", "Drei.")]


@pytest.mark.parametrize("named", ["my-train", "my-train.de", "my-train.en"])
def test_a_pair_of_files_by_any_of_its_names(tmp_path: Path, named: str) -> None:
    names = ("my-train.de", "my-train.en", "my-val.de", "my-val.en", "train.de", "train.en")
    write(tmp_path, {name: GERMAN if name.endswith("de") else ENGLISH for name in names})
    sides = parallel_files(tmp_path / named, "de", "en")
    assert [[file.name for file in side] for side in sides] == [list(names[0:2]), list(names[2:4])]
    # The folder holds two that could be meant.
    with pytest.raises(BadInput, match="several"):
        parallel_files(tmp_path, "de", "en")


def test_a_table_keeps_the_translations_of_a_source_together(tmp_path: Path) -> None:
    lines = [f"source {i // 3}\ttarget {i}\tfrom somewhere" for i in range(300)]
    path = write(tmp_path, {"pairs.tsv": "\r\n".join(lines) + "\r\n\r\n"}) / "pairs.tsv"
    text = read_parallel(path, "de", "en", heldout=0.1, seed=1)
    assert len(text.train) + len(text.heldout) == 300
    assert 27 <= len(text.heldout) <= 33
    assert {pair.source for pair in text.train}.isdisjoint(pair.source for pair in text.heldout)
    assert text.heldout[0].target.startswith("target ")
    other = read_parallel(path, "de", "en", heldout=0.1, seed=2)
    assert list(other.heldout) != list(text.heldout)
    assert list(read_parallel(path, "de", "en", heldout=0.1, seed=1).heldout) == list(text.heldout)


def test_a_line_break_that_is_none_in_a_file_of_lines(tmp_path: Path) -> None:
    files = {"train.de": "a\u2028b\nc\n", "train.en": "x\ny\n", "val.de": "d\n", "val.en": "z\n"}
    assert len(read_parallel(write(tmp_path, files), "de", "en", heldout=0.5, seed=1).train) == 2


@pytest.mark.parametrize(
    ("files", "name", "said"),
    [
        ({}, "", "there are none"),
        ({}, "nowhere/train", "there are none"),
        ({"train.de": GERMAN}, "", "there are none"),
        ({"train.de": GERMAN, "train.en": "A dog.\n"}, "", "has 2 lines and"),
        ({"train.de": GERMAN, "train.en": b"\xff\xfe\n\n"}, "", "not UTF-8"),
        ({"train.de": "\n", "train.en": "\n"}, "", "no sentences"),
        ({"train.de": "a\n", "train.en": "b\n"}, "", "/[^ ]*: 1 pair is too few"),
        ({"x.tsv": "a\tb\nc\n"}, "x.tsv", "line 2 has no source and target"),
        ({"x.tsv": ""}, "x.tsv", r"/[^ ]*/x\.tsv: 0 pairs are too few"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, files: dict[str, str | bytes], name: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        read_parallel(write(tmp_path, files) / name, "de", "en", heldout=0.1, seed=1)


def test_a_torn_archive_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"train.de.gz": GERMAN, "train.en": ENGLISH})
    whole = (tmp_path / "train.de.gz").read_bytes()
    for broken in (whole[:-9], b"none", whole[:12] + b"\xff" * 30):
        (tmp_path / "train.de.gz").write_bytes(broken)
        with pytest.raises(BadInput, match=r"train\.de\.gz cannot be unpacked"):
            read_parallel(tmp_path, "de", "en", heldout=0.1, seed=1)


def test_verses_of_both_bibles_are_the_same_ones() -> None:
    old, new = verses("kjv"), verses("bbe")
    shared = old.keys() & new.keys()
    # All that the King James Version has but a few that other manuscripts lack.
    assert len(old) == 31_102
    assert len(shared) > 31_000
    for place, was, now in (
        (("Genesis", 1, 1), "In the beginning God created", "At the first God made"),
        (("Genesis", 43, 1), "And the famine was sore", "Now the land was in bitter need"),
        (("Isaiah", 64, 1), "Oh that thou wouldest rend the heavens", "O let the heavens be broken open"),
        (("Isaiah", 64, 2), "As when the melting fire burneth", "As when fire puts the brushwood in flames"),
        (("Isaiah", 66, 1), "Thus saith the LORD, The heaven is my throne", "The Lord says, Heaven is the seat"),
        (("John", 11, 35), "Jesus wept.", "And Jesus himself was weeping."),
    ):
        assert old[place].startswith(was)
        assert new[place].startswith(now)
    assert not any(mark in text for text in [*old.values(), *new.values()] for mark in ("\\", "[", "*"))


def test_the_bibles_hold_out_whole_chapters() -> None:
    text = bible_pairs(12, heldout=0.05, seed=1)
    n = len(text.train) + len(text.heldout)
    assert 0.03 * n < len(text.heldout) < 0.06 * n
    assert max(len(side.split()) for pair in text.train for side in (pair.source, pair.target)) == 12
    assert {pair.source for pair in text.train}.isdisjoint(pair.source for pair in text.heldout)


@real
@pytest.mark.parametrize(
    ("path", "languages", "sizes"),
    [("", ("de", "en"), (29_000, 1_014)), ("multi30k-train", ("en", "fr"), (29_000, 1_014))],
)
def test_multi30k_as_published(path: str, languages: tuple[str, str], sizes: tuple[int, int]) -> None:
    text = read_parallel(PAIRS / path, *languages, heldout=0.05, seed=1)
    assert (len(text.train), len(text.heldout)) == sizes
    assert all(pair.source and pair.target for pair in [*text.train, *text.heldout])


@real
def test_tatoeba_as_published() -> None:
    text = read_parallel(PAIRS / "tatoeba-eng-fra.txt", "eng", "fra", heldout=0.05, seed=1)
    assert len(text.train) + len(text.heldout) == 5_000
    assert text.train[0].target
