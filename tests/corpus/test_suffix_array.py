"""The index over tokens: everything against a search by hand."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.corpus.spans import maximal_spans, trace
from cutaway.corpus.suffix_array import Index, write_index
from cutaway.runs import BadInput

pytest.importorskip("pydivsufsort")

VOCAB = 4
DOCUMENTS = st.lists(st.lists(st.integers(0, VOCAB - 1), max_size=24), max_size=8)
TEXT = st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=20)


def made(path: Path, documents: list[list[int]], vocab_size: int = VOCAB, part_tokens: int = 32) -> Index:
    write_index(path, ((f"d{i}", each) for i, each in enumerate(documents)), vocab_size, part_tokens=part_tokens)
    return Index(path)


def places(documents: list[list[int]], gram: list[int]) -> list[tuple[str, int]]:
    """By hand: document and position of each occurrence."""
    n = len(gram)
    return [
        (f"d{i}", at)
        for i, each in enumerate(documents)
        for at in range(len(each) - n + 1)
        if each[at : at + n] == gram
    ]


@settings(deadline=None, max_examples=60)
@given(DOCUMENTS, TEXT, st.sampled_from([32, 1000]), st.sampled_from([VOCAB, 70_000]))
def test_queries_equal_a_search_by_hand(
    documents: list[list[int]], text: list[int], part_tokens: int, vocab_size: int
) -> None:
    with TemporaryDirectory() as where:
        index = made(Path(where) / "index", documents, vocab_size, part_tokens)
        for n in range(1, len(text) + 1):
            grams = [text[i : i + n] for i in range(len(text) - n + 1)]
            assert index.counts(grams).tolist() == [len(places(documents, gram)) for gram in grams]
        assert index.prefix_counts(text, 5)[:, 1:].tolist() == [
            [len(places(documents, text[i : i + n])) if i + n <= len(text) else 0 for n in range(1, 6)]
            for i in range(len(text))
        ]
        longest = next(n for n in range(len(text), -1, -1) if not n or places(documents, text[-n:]))
        assert index.longest_suffix(text) == longest

        suffix = text[len(text) - longest :]
        counts, ended = index.following(suffix)
        after = Counter(
            each[at + longest] if at + longest < len(each) else -1
            for each in documents
            for at in range(len(each) + 1)
            if each[at : at + longest] == suffix and at + longest <= len(each)
        )
        assert ended == after.pop(-1, 0)
        assert {int(t): int(counts[t]) for t in np.flatnonzero(counts)} == after

        found = [(part.place(at).document, part.place(at).start) for part, at in index.occurrences(text[:2], 10**6)]
        assert sorted(found) == sorted(places(documents, text[:2]))

        stretches = [
            (i, j) for i in range(len(text)) for j in range(i + 1, len(text) + 1) if places(documents, text[i:j])
        ]
        assert maximal_spans(index, text) == [
            (i, j) for i, j in stretches if not any(a <= i and j <= b and (a, b) != (i, j) for a, b in stretches)
        ]


def test_no_match_runs_across_a_border(tmp_path: Path) -> None:
    index = made(tmp_path / "index", [[1, 2], [3, 0], []])
    assert index.counts([[1, 2], [2, 3], [3, 0]]).tolist() == [1, 0, 1]
    assert index.following([2])[1] == 1


def test_an_empty_corpus_holds_nothing(tmp_path: Path) -> None:
    index = made(tmp_path / "index", [])
    assert index.n_tokens == 0
    assert index.counts([[1]]).tolist() == [0]
    assert trace(index, [1, 2, 3, 0, 1]) == []


def test_spans_are_told_longest_then_rarest_first_and_share_nothing(tmp_path: Path) -> None:
    documents = [[1, 2, 3, 4, 5, 6], [9, 7, 7, 8, 9], [9, 7, 7, 8, 1], [6, 6, 6, 5]]
    index = made(tmp_path / "index", documents, 10)
    text = [7, 7, 8, 0, 1, 2, 3, 4, 5, 6, 6, 6, 5]
    spans = trace(index, text, shortest=3, margin=1)
    # 6 6 6 5 (tokens 9 to 13) occurs too, but shares a token with the longer one; 7 7 8 occurs twice.
    assert [(each.start, each.end, each.count) for each in spans] == [(4, 10, 1), (0, 3, 2)]
    twice = spans[-1]
    assert {(place.document, place.before, place.after) for place in twice.places} == {
        ("d1", (9,), (9,)), ("d2", (9,), (1,))
    }  # fmt: skip
    assert all(a.end - a.start >= b.end - b.start for a, b in pairwise(spans))


def test_the_same_documents_give_the_same_bytes_and_a_finished_part_is_kept(tmp_path: Path) -> None:
    documents = [[i % VOCAB, 1, 2, 3] * 3 for i in range(10)]
    for name in ("one", "two"):
        made(tmp_path / name, documents)

    def files(name: str) -> dict[str, bytes]:
        root = tmp_path / name
        return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()}

    assert files("one") == files("two")
    before = {part.name: part.stat().st_ino for part in (tmp_path / "one").glob("part-*")}
    assert len(before) > 2
    # As a kill leaves it: no list, one part not there, one damaged.
    (tmp_path / "one" / "index.json").unlink()
    for file in (tmp_path / "one" / "part-00001").iterdir():
        file.unlink()
    damaged = tmp_path / "one" / "part-00002" / "suffixes.bin"
    damaged.write_bytes(bytes(damaged.stat().st_size))
    made(tmp_path / "one", documents)
    assert files("one") == files("two")
    assert (tmp_path / "one" / "part-00000").stat().st_ino == before["part-00000"]
    made(tmp_path / "one", documents[:1])
    assert [part.name for part in (tmp_path / "one").glob("part-*")] == ["part-00000"]


def test_what_is_no_index_gets_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no finished index"):
        Index(tmp_path)
    made(tmp_path / "index", [[1, 2, 3]])
    with pytest.raises(BadInput, match="outside the index's vocabulary"):
        Index(tmp_path / "index").counts([[9]])
    suffixes = tmp_path / "index" / "part-00000" / "suffixes.bin"
    suffixes.write_bytes(suffixes.read_bytes()[:-1])
    with pytest.raises(BadInput, match="torn or damaged"):
        Index(tmp_path / "index")
    (tmp_path / "index" / "index.json").write_text("[]")
    with pytest.raises(BadInput, match="is no index"):
        Index(tmp_path / "index")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(BadInput, match="something other"):
        made(tmp_path / "mine", [])
    with pytest.raises(BadInput, match="outside the vocabulary"):
        made(tmp_path / "other", [[VOCAB]])
    with pytest.raises(BadInput, match="a part holds 2"):
        made(tmp_path / "long", [[1, 1]], part_tokens=2)
