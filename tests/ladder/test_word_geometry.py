from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from gensim.models import KeyedVectors
from scipy.stats import spearmanr

from cutaway.ladder.word_geometry import (
    Question,
    along,
    analogies,
    direction,
    held_out_pairs,
    neighbours,
    similarity,
    spearman,
    weat,
)
from cutaway.ladder.word_vectors import WordVectors


def random_vectors(n: int, dimensions: int = 6, seed: int = 0) -> WordVectors:
    rng = np.random.default_rng(seed)
    return WordVectors([f"w{i}" for i in range(n)], rng.standard_normal((n, dimensions)).astype(np.float32))


def gensims(vectors: WordVectors) -> KeyedVectors:
    theirs = KeyedVectors(vectors.vectors.shape[1])
    theirs.add_vectors(list(vectors.words), vectors.vectors)
    return theirs


def test_neighbours_are_gensims() -> None:
    vectors = random_vectors(40)
    for word, expected in zip(neighbours(vectors, "w7", 5), gensims(vectors).most_similar("w7", topn=5), strict=True):
        assert word[0] == expected[0]
        assert word[1] == pytest.approx(expected[1], abs=1e-6)


def some_questions(n_words: int, n: int) -> list[Question]:
    rng = np.random.default_rng(1)
    drawn = [[f"w{i}" for i in rng.choice(n_words, 4, replace=False)] for _ in range(n)]
    return [(a, b, c, d) for a, b, c, d in drawn]


def test_ranks_are_where_gensim_finds_the_answer() -> None:
    vectors = random_vectors(30)
    theirs, questions = gensims(vectors), some_questions(30, 300)
    ranks = analogies(vectors, questions)
    unit = vectors.vectors / np.linalg.norm(vectors.vectors, axis=1, keepdims=True)
    for i, (a, b, c, d) in enumerate(questions):
        others = [word for word, _ in theirs.most_similar(positive=[b, c], negative=[a], topn=30)]
        assert ranks.among_others[i] == 1 + others.index(d)
        near = [word for word, _ in theirs.most_similar(c, topn=30) if word not in (a, b)]
        assert ranks.by_neighbour[i] == 1 + near.index(d)
        at = [int(word[1:]) for word in (a, b, c, d)]
        target = unit[at[1]] - unit[at[0]] + unit[at[2]]
        order = sorted(range(30), key=lambda word: -float(unit[word] @ target))
        assert ranks.among_all[i] == 1 + order.index(at[3])
        assert ranks.came_first[i] == (at.index(order[0]) if order[0] in at else 4)


def test_accuracy_is_gensims(tmp_path: Path) -> None:
    vectors, questions = random_vectors(25, 3), some_questions(25, 700)
    path = tmp_path / "questions.txt"
    path.write_text(": all\n" + "".join(" ".join(question) + "\n" for question in questions))
    theirs, _ = gensims(vectors).evaluate_word_analogies(str(path))
    assert 0.02 < theirs < 0.9
    assert (analogies(vectors, questions).among_others == 1).mean() == pytest.approx(theirs)


def test_the_right_answer_stays_where_the_question_has_it() -> None:
    vectors = WordVectors(["a", "b", "c"], np.eye(3, dtype=np.float32))
    ranks = analogies(vectors, [("a", "b", "a", "b")])
    assert ranks.among_others.tolist() == [1]


def a_lattice() -> tuple[WordVectors, list[tuple[str, str]]]:
    """Pairs whose second word lies one step to the right of the first, and noise."""
    rng = np.random.default_rng(0)
    first = rng.standard_normal((12, 8))
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = first + 0.8 * np.eye(8)[0] + 0.05 * rng.standard_normal((12, 8))
    words = [f"{kind}{i}" for kind in "xy" for i in range(12)]
    return WordVectors(words, np.concatenate([first, second]).astype(np.float32)), [
        (f"x{i}", f"y{i}") for i in range(12)
    ]


def test_a_direction_is_found_and_holds_for_pairs_it_was_not_made_from() -> None:
    vectors, pairs = a_lattice()
    way = direction(vectors, pairs)
    assert np.linalg.norm(way) == pytest.approx(1.0)
    assert way[0] > 0.9
    unit = vectors.vectors / np.linalg.norm(vectors.vectors, axis=1, keepdims=True)
    assert along(vectors, ["x3", "y5"], way) == pytest.approx([unit[3] @ way, unit[17] @ way], abs=1e-6)
    gained = held_out_pairs(vectors, pairs)
    assert min(gained) > 0
    turned = [*pairs[:4], (pairs[4][1], pairs[4][0]), *pairs[5:]]
    assert [value > 0 for value in held_out_pairs(vectors, turned)] == [i != 4 for i in range(12)]
    without = direction(vectors, pairs[1:])
    assert gained[0] == pytest.approx(unit[12] @ without - unit[0] @ without, abs=1e-6)


def test_the_rank_correlation_is_scipys() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 8, 50).astype(float), rng.integers(0, 8, 50).astype(float)
    assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic)
    vectors = random_vectors(20)
    rated = [(f"w{i}", f"w{i + 7}", float(rating)) for i, rating in enumerate(rng.integers(0, 10, 12))]
    theirs = spearmanr([gensims(vectors).similarity(a, b) for a, b, _ in rated], [rating for *_, rating in rated])
    assert similarity(vectors, rated) == pytest.approx(theirs.statistic)


def test_weat_is_what_its_definition_says() -> None:
    vectors = random_vectors(16, 5, seed=3)
    words = list(vectors.words)
    x, y, a, b = words[:3], words[3:7], words[7:11], words[11:16]
    theirs = gensims(vectors)

    def s(w: str) -> float:
        return float(np.mean([theirs.similarity(w, v) for v in a]) - np.mean([theirs.similarity(w, v) for v in b]))

    def gap(first: list[str], second: list[str]) -> float:
        return float(np.mean([s(w) for w in first]) - np.mean([s(w) for w in second]))

    found = weat(vectors, x, y, a, b, seed=1)
    assert found.effect == pytest.approx(gap(x, y) / np.std([s(w) for w in x + y], ddof=1), abs=1e-5)
    ways = {frozenset(way[:3]) for way in permutations(x + y, 7)}
    larger = sum(gap(sorted(way), [w for w in x + y if w not in way]) > gap(x, y) + 1e-9 for way in ways)
    assert found.ways == len(ways) == 35
    assert found.p == pytest.approx(larger / 35)


def test_weat_of_many_words_draws_its_divisions_and_comes_near_to_trying_all(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = random_vectors(30, 5, seed=4)
    words = list(vectors.words)
    groups = words[:6], words[6:12], words[12:20], words[20:30]
    exact = weat(vectors, *groups, seed=1)
    assert exact.ways == 924
    monkeypatch.setattr("cutaway.ladder.word_geometry.MOST_EXACT", 10)
    drawn = weat(vectors, *groups, seed=1)
    assert drawn.ways == 10_000
    assert drawn.effect == exact.effect
    assert drawn.p == pytest.approx(exact.p, abs=0.02)
    assert weat(vectors, *groups, seed=1) == drawn


def test_weat_finds_what_was_put_in() -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(6)[[0, 1, 0, 1]]
    rows = np.concatenate([centre + 0.1 * rng.standard_normal((8, 6)) for centre in centres]).astype(np.float32)
    words = [f"w{i}" for i in range(32)]
    groups = words[:8], words[8:16], words[16:24], words[24:]
    found = weat(WordVectors(words, rows), *groups, seed=1)
    assert found.effect > 1.8
    assert found.p == 0.0
    assert weat(WordVectors(words, rows), groups[1], groups[0], *groups[2:], seed=1).effect == pytest.approx(
        -found.effect
    )
