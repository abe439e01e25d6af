from __future__ import annotations

import math
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.lm import KneserNeyInterpolated
from nltk.util import everygrams

from cutaway.ladder.ngram import FALLBACK_DISCOUNTS, KneserNey
from cutaway.runs.errors import BadInput


class SlowKneserNey:
    """Chen and Goodman (1998), section 4.1.6, written down with dictionaries; nothing shared with the fast one."""

    def __init__(self, sequences: list[list[int]], order: int, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self.order = min(order, max(map(len, sequences)))
        grams: list[Counter[tuple[int, ...]]] = [Counter() for _ in range(self.order + 1)]
        before: list[defaultdict[tuple[int, ...], set[object]]] = [defaultdict(set) for _ in range(self.order + 1)]
        for number, sequence in enumerate(sequences):
            for length in range(1, self.order + 1):
                for start in range(len(sequence) - length + 1):
                    gram = tuple(sequence[start : start + length])
                    grams[length][gram] += 1
                    # Before the first token of each document stands a symbol of its own.
                    before[length][gram].add(sequence[start - 1] if start else ("start", number))
        self.adjusted = [
            dict(grams[length]) if length == self.order else {gram: len(left) for gram, left in before[length].items()}
            for length in range(self.order + 1)
        ]
        self.discounts = [FALLBACK_DISCOUNTS, *(self._discounts(counts) for counts in self.adjusted[1:])]

    @staticmethod
    def _discounts(counts: dict[tuple[int, ...], int]) -> tuple[float, float, float]:
        n = Counter(counts.values())
        if not all(n[k] for k in (1, 2, 3, 4)):
            return FALLBACK_DISCOUNTS
        y = n[1] / (n[1] + 2 * n[2])
        d1, d2, d3 = 1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3]
        return (d1, d2, d3) if 0 < d1 < 1 and 0 < d2 < 2 and 0 < d3 < 3 else FALLBACK_DISCOUNTS

    def probability(self, token: int, context: tuple[int, ...]) -> float:
        context = context[max(0, len(context) - self.order + 1) :]
        length = len(context) + 1
        shorter = self.probability(token, context[1:]) if context else 1 / self.vocab_size
        followers = {gram[-1]: count for gram, count in self.adjusted[length].items() if gram[:-1] == context}
        total = sum(followers.values())
        if not total:
            return shorter

        def discount(count: int) -> float:
            return self.discounts[length][min(count, 3) - 1] if count else 0.0

        gamma = sum(discount(count) for count in followers.values()) / total
        count = followers.get(token, 0)
        return (count - discount(count)) / total + gamma * shorter


def zipfian(rng: np.random.Generator, documents: int, vocab_size: int) -> list[np.ndarray]:
    """Documents that begin with token 0, from a bigram source so that contexts matter."""
    found = []
    for _ in range(documents):
        tokens = [0]
        for _ in range(int(rng.integers(0, 40))):
            tokens.append(int((tokens[-1] * 7 + rng.zipf(1.7)) % vocab_size))
        found.append(np.array(tokens))
    return found


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("documents", [3, 60])
def test_agrees_with_the_paper_written_out(order: int, documents: int) -> None:
    rng = np.random.default_rng(order)
    sequences = zipfian(rng, documents, 23)
    fast = KneserNey.fit(sequences, order, vocab_size=25)
    slow = SlowKneserNey([list(map(int, sequence)) for sequence in sequences], order, 25)
    np.testing.assert_allclose(fast.discounts, slow.discounts[1:])
    for sequence in [*sequences[:2], *zipfian(rng, 2, 25), np.array([24, 24, 0, 24, 3])]:
        expected = [slow.probability(int(sequence[i]), tuple(map(int, sequence[:i]))) for i in range(len(sequence))]
        np.testing.assert_allclose(fast.log_probs(sequence), np.log(expected), rtol=1e-10)


def test_enough_data_estimates_the_discounts_of_every_order() -> None:
    model = KneserNey.fit(zipfian(np.random.default_rng(1), 400, 60), 3, vocab_size=60)
    estimated = [discounts for discounts in model.discounts if discounts != FALLBACK_DISCOUNTS]
    assert len(estimated) >= 2
    assert all(0 < d1 < 1 and 0 < d2 < 2 and 0 < d3 < 3 for d1, d2, d3 in model.discounts)


def test_agrees_with_nltk_at_order_two_with_equal_discounts() -> None:
    rng = np.random.default_rng(5)
    tokens = (rng.zipf(1.5, 600) % 12).astype(int)
    oracle = KneserNeyInterpolated(2, discount=0.4)
    words = [str(token) for token in tokens]
    oracle.fit([list(everygrams(words, max_len=2))], vocabulary_text=words)
    model = KneserNey.fit([tokens], 2, vocab_size=12, discounts=[(0.0, 0.0, 0.0), (0.4, 0.4, 0.4)])
    # nltk does not count the very first token, which stands after nothing, among the continuations.
    bigrams = sorted(set(pairwise(words)))
    types, first = len(bigrams), words[0]
    for context in sorted(set(words[:-1])):
        followers = Counter(b for a, b in pairwise(words) if a == context)
        gamma = 0.4 * len(followers) / followers.total()
        theirs = {token: oracle.score(token, [context]) for token in sorted(set(words))}
        ours = model.probabilities([int(context)])
        for token, score in theirs.items():
            own = max(followers[token] - 0.4, 0) / followers.total()
            unigram = ((score - own) / gamma * types + (token == first)) / (types + 1)
            assert ours[int(token)] == pytest.approx(own + gamma * unigram, rel=1e-9)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_perplexity_of_held_out_documents_is_nltks(order: int) -> None:
    sequences, heldout = (zipfian(np.random.default_rng(seed), 40, 12) for seed in (8, 9))
    # What stands before a document counts as a token of its own each time; nltk is given one.
    words = [[f"before {number}", *map(str, sequence)] for number, sequence in enumerate(sequences)]
    oracle = KneserNeyInterpolated(order, discount=0.4)
    grams = [list(everygrams(each, max_len=order)) for each in words]
    oracle.fit(grams, vocabulary_text=[word for each in words for word in each])
    # It has one discount, and does not mix single tokens with the uniform.
    discounts = [(0.0, 0.0, 0.0), *[(0.4, 0.4, 0.4)] * (order - 1)]
    model = KneserNey.fit(sequences, order, vocab_size=12, discounts=discounts)
    ours = np.concatenate([model.log_probs(sequence)[1:] for sequence in heldout])
    theirs = [
        (*map(str, sequence[max(0, i - order + 1) : i]), str(sequence[i]))
        for sequence in heldout
        for i in range(1, len(sequence))
    ]
    assert np.exp(-ours.mean()) == pytest.approx(oracle.perplexity(theirs), rel=1e-9)


def test_distributions_sum_to_one_and_agree_with_log_probs() -> None:
    rng = np.random.default_rng(2)
    sequences = zipfian(rng, 100, 40)
    model = KneserNey.fit(sequences, 4, vocab_size=50)
    for _ in range(200):
        seen = sequences[rng.integers(len(sequences))]
        context = seen[: rng.integers(len(seen) + 1)] if rng.random() < 0.5 else rng.integers(0, 50, rng.integers(6))
        distribution = model.probabilities(context)
        assert distribution.sum() == pytest.approx(1, abs=1e-12)
        assert (distribution > 0).all()
        token = int(rng.integers(50))
        assert model.log_probs([*context, token])[-1] == pytest.approx(math.log(distribution[token]))


@given(st.lists(st.lists(st.integers(0, 3), max_size=6), max_size=4), st.integers(1, 4))
def test_any_tiny_data_gives_a_distribution(sequences: list[list[int]], order: int) -> None:
    if not any(sequences):
        with pytest.raises(BadInput, match="at least one token"):
            KneserNey.fit(sequences, order, vocab_size=5)
        return
    model = KneserNey.fit(sequences, order, vocab_size=5)
    for context in ([], [0], [4, 1], [0, 1, 2, 3], *sequences):
        assert model.probabilities(context).sum() == pytest.approx(1)
    for sequence in sequences:
        assert np.isfinite(model.log_probs(sequence)).all()


def test_grams_do_not_cross_documents() -> None:
    apart = KneserNey.fit([[0, 1, 2], [3, 4, 5]], 2, vocab_size=6)
    joined = KneserNey.fit([[0, 1, 2, 3, 4, 5]], 2, vocab_size=6)
    assert apart.counts == [6, 4]
    assert KneserNey.fit([[0, 1, 2], [3, 4]], 9, vocab_size=6).order == 3
    assert joined.counts == [6, 5]
    assert joined.probabilities([2])[3] > apart.probabilities([2])[3]


def test_more_context_helps_on_text_with_structure() -> None:
    tokens = np.array(([0, 1, 2, 3, 0, 2, 1, 3, 3] * 60)[:500])
    bits = [-KneserNey.fit([tokens], order, vocab_size=4).log_probs(tokens)[5:].mean() for order in (1, 2, 3)]
    assert bits[0] > bits[1] > bits[2]


def test_a_long_document_with_a_vocabulary_beyond_packing() -> None:
    # 7 tokens of 17 bits do not fit one 64-bit number; nothing may overflow.
    tokens = np.random.default_rng(3).integers(0, 100_000, 5_000)
    model = KneserNey.fit([tokens], 7, vocab_size=100_000)
    assert model.counts[-1] == 5_000 - 6
    assert model.probabilities(tokens[:6]).sum() == pytest.approx(1)


@pytest.mark.parametrize("bad", [[7], [-1]])
def test_a_token_outside_the_vocabulary_is_named(bad: list[int]) -> None:
    with pytest.raises(BadInput, match=f"token {bad[0]} is outside the vocabulary of 5"):
        KneserNey.fit([bad], 2, vocab_size=5)
    model = KneserNey.fit([[1, 2]], 2, vocab_size=5)
    with pytest.raises(BadInput, match="outside"):
        model.log_probs(bad)


def test_an_impossible_order_is_refused() -> None:
    with pytest.raises(BadInput, match="order"):
        KneserNey.fit([[1]], 0, vocab_size=5)
