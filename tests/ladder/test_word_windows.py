from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from cutaway.ladder.word_windows import Text, drawn, keep_probability, read_text, windows, words_of
from cutaway.runs import BadInput


def text_of(*passages: str) -> Text:
    return read_text(passages, min_count=1)


def test_words_are_letters_in_a_row() -> None:
    assert words_of("The fox's 3 dens—Ärger, don’t 'quote' x_y") == [
        "the", "fox's", "dens", "ärger", "don’t", "quote", "x", "y",
    ]  # fmt: skip


def test_the_vocabulary_is_ordered_by_count_and_rare_words_are_taken_out_of_the_text() -> None:
    text = read_text(["b a rare a", "", "c b a b a c"], min_count=2)
    assert text.words == ["a", "b", "c"]
    assert text.counts.tolist() == [4, 3, 2]
    assert [text.words[i] for i in text.ids] == "b a a c b a b a c".split()
    assert text.passages.tolist() == [0, 0, 0, 2, 2, 2, 2, 2, 2]


def test_too_little_text_is_bad_input() -> None:
    with pytest.raises(BadInput, match="min_count"):
        read_text(["one two two"], min_count=2)
    with pytest.raises(BadInput, match="0 words"):
        read_text([], min_count=1)


def test_every_place_is_read_once_with_the_words_around_it_in_its_passage() -> None:
    words = [f"w{i}" for i in range(1, 27)]
    letters = ["".join(chr(97 + int(c)) for c in f"{i:03d}") for i in range(26)]
    assert len(words) == len(letters)
    passages = [" ".join(letters[:7]), " ".join(letters[7:9]), " ".join(letters[9:])]
    text = text_of(*passages)
    of = {i: letters.index(word) for i, word in enumerate(text.words)}
    found: dict[int, tuple[int, list[int]]] = {}
    rng = np.random.default_rng(3)
    shares: list[float] = []
    for batch in windows(text, rng, batch=5, reach=3, n_noise=2, subsample=10.0):
        assert batch.noise.shape == (5, 2)
        shares.append(batch.share)
        reach = batch.near.shape[1] // 2
        for middle, near, present in zip(batch.middle, batch.near, batch.present, strict=True):
            place = of[int(middle)]
            assert place not in found
            found[place] = (reach, sorted(of[int(word)] for word, there in zip(near, present, strict=True) if there))
    # Of 26 places five readers read five each.
    assert sorted(found) == list(range(25))
    assert shares == [0.0, 0.2, 0.4, 0.6, 0.8]
    borders = [range(7), range(7, 9), range(9, 26)]
    for place, (reach, near) in found.items():
        passage = next(border for border in borders if place in border)
        assert near == [j for j in range(place - reach, place + reach + 1) if j != place and j in passage]
    assert {reach for reach, _ in found.values()} <= {1, 2, 3}


def test_all_reaches_are_as_likely() -> None:
    text = text_of(" ".join(["a", "b"] * 3000))
    reaches = Counter(
        batch.near.shape[1] // 2
        for batch in windows(text, np.random.default_rng(1), batch=4, reach=4, n_noise=1, subsample=10.0)
    )
    assert set(reaches) == {1, 2, 3, 4}
    # Four times the standard deviation of a binomial count of 1500 with a share of 1/4.
    assert all(abs(count - 375) < 4 * math.sqrt(1500 * 3 / 16) for count in reaches.values())


def test_frequent_words_are_passed_over_as_the_published_program_does() -> None:
    # (sqrt(f / t) + 1) t / f, written otherwise than in the code: f = 0.06 and t = 0.001 keep 14.6%.
    counts = np.array([60_000, 1_000, 939_000])
    kept = keep_probability(counts, 0.001)
    expected = [min(1.0, (math.sqrt(c / 1e6 / 0.001) + 1) * 0.001 / (c / 1e6)) for c in counts.tolist()]
    assert kept == pytest.approx(expected)
    assert kept[1] == 1.0

    text = text_of(" ".join(["a"] * 20_000 + ["b"] * 200))
    read = Counter(
        int(word)
        for batch in windows(text, np.random.default_rng(5), batch=7, reach=1, n_noise=1, subsample=0.01)
        for word in batch.middle
    )
    share = float(keep_probability(text.counts, 0.01)[0])
    assert read[0] == pytest.approx(20_000 * share, abs=4 * math.sqrt(20_000 * share * (1 - share)) + 7)
    assert 200 - 7 <= read[1] <= 200


def test_noise_is_drawn_by_its_shares_and_in_no_order() -> None:
    shares = np.array([0.5, 0.3, 0.2])
    noise = drawn(shares, (100, 20, 10), np.random.default_rng(2))
    assert noise.shape == (100, 20, 10)
    for part in (noise[:50], noise[50:], noise[:, :, 0]):
        seen = np.bincount(part.ravel(), minlength=3) / part.size
        assert seen == pytest.approx(shares, abs=4 * math.sqrt(0.25 / part.size))


def test_rare_words_come_up_as_noise_more_often_than_they_occur() -> None:
    text = text_of(" ".join(["a"] * 1600 + ["b"] * 100))
    noise = np.concatenate(
        [
            batch.noise.ravel()
            for batch in windows(text, np.random.default_rng(1), batch=10, reach=1, n_noise=20, subsample=1.0)
        ]
    )
    # 16^(3/4) = 8, so one in nine and not one in seventeen.
    assert (noise == 1).mean() == pytest.approx(1 / 9, abs=0.01)
