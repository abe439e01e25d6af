from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest

from cutaway.ladder.word_lists import ANALOGIES, WEAT, questions_of, read_questions, read_ratings
from cutaway.runs import BadInput

WORDS = Path(__file__).resolve().parents[3] / "shared" / "data" / "words"


def test_every_two_pairs_make_two_questions() -> None:
    assert questions_of([("man", "woman"), ("king", "queen")]) == [
        ("man", "woman", "king", "queen"),
        ("king", "queen", "man", "woman"),
    ]
    assert len(questions_of([(str(i), "x") for i in range(5)])) == 20


def test_our_lists_say_nothing_twice() -> None:
    for pairs in ANALOGIES.values():
        assert len(set(pairs)) == len(pairs)
        assert all(first != second for first, second in pairs)
    for groups in WEAT.values():
        assert len(groups) == 4
        words = list(chain.from_iterable(words for _, words in groups))
        assert len(set(words)) == len(words)


def test_questions_are_read_by_section(tmp_path: Path) -> None:
    path = tmp_path / "questions.txt"
    path.write_text("a b c d\n: one\nAthens Greece Oslo Norway\n\n: none\n: two\nx y z w\n")
    assert read_questions(path) == {
        "all": [("a", "b", "c", "d")],
        "one": [("athens", "greece", "oslo", "norway")],
        "two": [("x", "y", "z", "w")],
    }
    path.write_text(": one\nthree words only\n")
    with pytest.raises(BadInput, match=r"line 2 has 3 words"):
        read_questions(path)
    with pytest.raises(BadInput, match="No such file"):
        read_questions(tmp_path / "none.txt")
    path.write_bytes(b"a b c \xff\n")
    with pytest.raises(BadInput, match="byte offset 6"):
        read_questions(path)


def test_ratings_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rated.tsv"
    path.write_text("# of whom\nTiger\tcat\t7.35\n")
    assert read_ratings(path) == [("tiger", "cat", 7.35)]
    for wrong in ("tiger cat 7.35\n", "tiger\tcat\tvery\n", "tiger\tcat\n"):
        path.write_text(wrong)
        with pytest.raises(BadInput, match="line 1 is not"):
            read_ratings(path)


@pytest.mark.skipif(not WORDS.is_dir(), reason="the shared data is not here")
def test_the_published_files_are_read_whole() -> None:
    questions = read_questions(WORDS / "questions-words.txt")
    # Mikolov et al. (2013a), table 1: 8,869 semantic and 10,675 syntactic questions.
    assert sum(map(len, questions.values())) == 8869 + 10675
    assert len(questions) == 14
    assert len(read_ratings(WORDS / "wordsim353.tsv")) == 353
    assert len(read_ratings(WORDS / "simlex999.txt")) == 999
