"""Bags equal scikit-learn's CountVectorizer and TfidfTransformer."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

from cutaway.ladder.bag_of_words import Bags, Vocabulary, shares, words

PATTERN = r"\w+(?:['’]\w+)*|[!?$£€%]"
TEXTS = [
    "Free prize! Call NOW, it's free.",
    "I'll call you tonight, the prize is mine",
    "the cat and the dog, and the cat again",
    "",
    "Ünder £100? the price isn’t 50%",
    "call call call the the",
]
OTHERS = ["the prize cat", "nothing known here", "", "Call! call? FREE free free", "50% isn’t the dog"]


def dense(bags: Bags, size: int) -> np.ndarray:
    table = np.zeros((len(bags), size))
    for text in range(len(bags)):
        entries = slice(bags.starts[text], bags.starts[text + 1])
        table[text, bags.ids[entries]] = bags.weights[entries]
    return table


@pytest.mark.parametrize("at_least", [1, 2])
def test_counts_and_tf_idf_are_scikit_learns(at_least: int) -> None:
    oracle = CountVectorizer(token_pattern=PATTERN, min_df=at_least).fit(TEXTS)
    vocabulary = Vocabulary(TEXTS, 10_000, at_least)
    assert set(vocabulary.words) == set(oracle.vocabulary_)
    columns = [oracle.vocabulary_[word] for word in vocabulary.words]
    idf = TfidfTransformer().fit(oracle.transform(TEXTS))
    np.testing.assert_allclose(vocabulary.idf, idf.idf_[columns], rtol=1e-12)
    for texts in (TEXTS, OTHERS):
        counts = vocabulary.counts(texts)
        table = oracle.transform(texts)
        assert (dense(counts, len(vocabulary)) == table.toarray()[:, columns]).all()
        weighed = dense(vocabulary.tf_idf(counts), len(vocabulary))
        np.testing.assert_allclose(weighed, idf.transform(table).toarray()[:, columns], atol=1e-15)


def test_the_most_frequent_words_come_first_and_only_they() -> None:
    vocabulary = Vocabulary(TEXTS, 3, 1)
    assert vocabulary.words == ["the", "call", "and"]  # 7 times, 5 times, and of those found twice the first


def test_shares_add_up_to_one_and_empty_texts_stay_empty() -> None:
    vocabulary = Vocabulary(TEXTS, 100, 1)
    averaged = shares(vocabulary.counts(OTHERS))
    np.testing.assert_allclose(dense(averaged, len(vocabulary)).sum(1), [1, 0, 0, 1, 1])


def test_some_of_the_texts_may_be_taken() -> None:
    vocabulary = Vocabulary(TEXTS, 100, 1)
    counts = vocabulary.counts(TEXTS)
    table = dense(counts, len(vocabulary))
    for rows in ([4, 0, 0, 3], [3], [], [5, 4, 3, 2, 1, 0]):
        taken = counts.take(np.array(rows, np.int64))
        assert (dense(taken, len(vocabulary)) == table[rows]).all()
        assert len(taken) == len(rows)


def test_words() -> None:
    assert words("Don't PANIC!! £5_000, re-use naïve") == [
        "don't",
        "panic",
        "!",
        "!",
        "£",
        "5_000",
        "re",
        "use",
        "naïve",
    ]
