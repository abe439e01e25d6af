from __future__ import annotations

import random
import time
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.corpus.deduplicate import (
    LONG_BLOCK,
    SHINGLE,
    SHORT_KEPT,
    paragraphs,
    remove_exact,
    remove_near,
    without,
    words,
)
from cutaway.corpus.documents import Document

WORDS = [a + b + c for a in "bcdfglmprst" for b in "aeiou" for c in ("", "n", "r", "ck", "st")]


def prose(rng: random.Random, count: int) -> str:
    return " ".join(rng.choices(WORDS, k=count)) + "."


def document(number: int, *blocks: str) -> Document:
    return Document(f"user/{number}", "\n\n".join(blocks), "user")


def shingles(text: str) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[i : i + SHINGLE]) for i in range(len(found) - SHINGLE + 1)}


def jaccard(a: str, b: str) -> float:
    return len(shingles(a) & shingles(b)) / len(shingles(a) | shingles(b))


def changed(rng: random.Random, text: str, edits: int) -> str:
    found = text.split()
    for place in rng.sample(range(len(found)), edits):
        found[place] = "other"
    return " ".join(found)


def test_words_are_letters_and_digits_in_lower_case() -> None:
    assert words("Don't STOP_here: 3 cafés, 12.5%!") == ["don", "t", "stop", "here", "3", "cafés", "12", "5"]


@given(st.lists(st.text(alphabet="ab .\n\t", max_size=30), max_size=6))
def test_paragraphs_put_together_again_are_the_text(blocks: list[str]) -> None:
    text = "\n\n".join(blocks).strip()
    again = "".join(separator + paragraph for separator, paragraph in paragraphs(text))
    assert again.split() == text.split()
    assert paragraphs(again) == paragraphs(text)


def test_a_block_that_is_a_list_is_taken_by_the_line() -> None:
    lines = [f"item {n} of the list" for n in range(LONG_BLOCK // 10)]
    found = paragraphs("A heading.\n\n" + "\n".join(lines))
    assert found[:3] == [("", "A heading."), ("\n\n", lines[0]), ("\n", lines[1])]
    short = document(0, "A heading.", "\n".join(lines[:3]))
    assert len(paragraphs(short.text)) == 2


def test_paragraphs_are_taken_out_by_their_place() -> None:
    whole = document(0, "a", "b", "c")
    assert without(whole, [1]) == document(0, "a", "c")
    assert without(whole, []) is whole
    assert without(whole, [0, 1, 2]) is None


def test_exact_duplicates_go_whatever_the_case_and_punctuation() -> None:
    same = "The same five words again and again."
    documents = [
        document(0, same, "One of a kind, this."),
        document(1, same.upper()),
        document(2, "Its own text, here.", same),
    ]
    kept, removed = remove_exact(documents)
    assert kept == [documents[0], document(2, "Its own text, here.")]
    assert (removed.paragraphs, removed.bytes) == (2, 2 * len(same))
    assert removed.samples[0] == {"document": "user/1", "paragraph": same.upper()}


def test_short_paragraphs_recur_but_not_without_end() -> None:
    documents = [document(n, "HAMLET", f"A line that is said only once, number {n}.") for n in range(SHORT_KEPT + 7)]
    kept, removed = remove_exact(documents)
    assert removed.paragraphs == 7
    assert len(kept) == len(documents)
    assert paragraphs(kept[-1].text) == [("", f"A line that is said only once, number {SHORT_KEPT + 6}.")]


def test_one_repeated_line_leaves_one() -> None:
    kept, _ = remove_exact(
        [document(n, "\n".join(["All work and no play makes Jack a dull boy."] * 500)) for n in range(3)]
    )
    assert kept == [document(0, "All work and no play makes Jack a dull boy.")]


def test_near_duplicates_are_what_the_measure_says() -> None:
    """Against every pair compared outright: nothing below the threshold goes, and (nearly) all above it does."""
    rng = random.Random(0)
    texts: list[str] = []
    for _ in range(60):
        original = prose(rng, 80)
        texts += [original, changed(rng, original, 1), changed(rng, original, 4)]
    documents = [document(number, text) for number, text in enumerate(texts)]
    kept, removed = remove_near(documents, 0.8)
    left = [document.text for document in kept]
    assert all(jaccard(a, b) < 0.8 for a, b in combinations(left, 2))
    assert removed.paragraphs == len(texts) - len(left)
    gone = set(texts) - set(left)
    assert all(any(jaccard(text, other) >= 0.8 for other in left) for text in gone)
    assert 55 < len(gone) < 70
    sample = removed.samples[0]
    assert sample["similarity"] == pytest.approx(jaccard(sample["paragraph"], sample["kept"]), abs=1e-3)


def test_near_duplicates_keep_the_first_and_the_rest_of_the_document() -> None:
    rng = random.Random(1)
    original, own = prose(rng, 60), prose(rng, 60)
    documents = [
        document(0, own, original),
        document(1, changed(rng, original, 1), "short one"),
        document(2, "short one"),
    ]
    kept, removed = remove_near(documents)
    assert kept == [documents[0], document(1, "short one"), documents[2]]
    assert removed.samples[0]["similar_to"] == "user/0"


def test_a_chain_of_small_changes_is_cut_by_what_was_kept() -> None:
    rng = random.Random(2)
    text = prose(rng, 100)
    chain = [text]
    for _ in range(12):
        chain.append(changed(rng, chain[-1], 1))
    kept, _ = remove_near([document(number, text) for number, text in enumerate(chain)])
    left = [document.text for document in kept]
    assert 2 <= len(left) < len(chain)
    assert all(jaccard(a, b) < 0.8 for a, b in combinations(left, 2))


def test_nothing_to_compare() -> None:
    assert remove_near([])[0] == []
    assert remove_near([document(0, "too short")])[0] == [document(0, "too short")]
    assert remove_near([document(0, prose(random.Random(3), 30))])[1].paragraphs == 0


def test_megabytes_take_seconds() -> None:
    rng = random.Random(4)
    documents = [document(n, *(prose(rng, 80) for _ in range(8))) for n in range(500)]
    begun = time.process_time()
    kept, removed = remove_near(remove_exact(documents)[0])
    assert time.process_time() - begun < 8  # 1.6 MB; takes about half a second
    assert (kept, removed.paragraphs) == (documents, 0)
