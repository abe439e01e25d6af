"""Plain counts, add-one and Katz, beside nltk and beside Katz's paper written out with dictionaries."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.lm import MLE, Laplace
from nltk.util import everygrams

from cutaway.ladder.add_one import AddOne
from cutaway.ladder.backoff import BackOff
from cutaway.ladder.counting import count_grams
from cutaway.ladder.katz import discounts, good_turing, katz
from cutaway.ladder.maximum_likelihood import maximum_likelihood
from cutaway.ladder.ngram import KneserNey
from cutaway.ladder.protocol import SequenceModel
from cutaway.runs import BadInput

MODELS = {"plain": maximum_likelihood, "add_one": AddOne, "katz": katz, "kneser_ney": KneserNey.of}


def fitted(name: str, sequences: list[list[int]], order: int, vocab_size: int) -> SequenceModel:
    return MODELS[name](count_grams(sequences, order, vocab_size=vocab_size), vocab_size)


def zipfian(seed: int, documents: int, vocab_size: int) -> list[list[int]]:
    """Documents from a bigram source, so that contexts matter."""
    rng = np.random.default_rng(seed)
    found: list[list[int]] = []
    for _ in range(documents):
        tokens = [0]
        for _ in range(int(rng.integers(0, 60))):
            tokens.append(int((tokens[-1] * 7 + rng.zipf(1.6)) % vocab_size))
        found.append(tokens)
    return found


class SlowKatz:
    """Katz (1987), equations 6 to 14, a number at a time; nothing shared with the fast one."""

    def __init__(self, sequences: list[list[int]], order: int, vocab_size: int) -> None:
        self.vocab_size, self.order = vocab_size, order
        self.followers: defaultdict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        for sequence in sequences:
            for length in range(1, order + 1):
                for end in range(length, len(sequence) + 1):
                    *context, token = sequence[end - length : end]
                    self.followers[tuple(context)][token] += 1
        self.discounts = [self.discount(length) for length in range(order)]

    def discount(self, context: int) -> dict[int, float]:
        times = Counter(c for h, seen in self.followers.items() if len(h) == context for c in seen.values())
        for k in range(5, 0, -1):
            if any(times[r] == 0 for r in range(1, k + 2)):
                continue
            n1, beyond = times[1], (k + 1) * times[k + 1]
            if n1 == beyond:
                continue
            found = {}
            for r in range(1, k + 1):
                again = (r + 1) * times[r + 1] / times[r]
                found[r] = (again / r - beyond / n1) / (1 - beyond / n1)
            if all(0 < d < 1 for d in found.values()):
                return found
        return {}

    def probability(self, token: int, context: tuple[int, ...]) -> float:
        context = context[max(0, len(context) - self.order + 1) :]
        seen = self.followers.get(context)
        if not seen:
            return self.probability(token, context[1:]) if context else 1 / self.vocab_size

        def shorter(w: int) -> float:
            return self.probability(w, context[1:]) if context else 1 / self.vocab_size

        rates = self.discounts[len(context)]
        total = seen.total()
        if all(c not in rates for c in seen.values()):
            total += 1
        given = {w: rates.get(c, 1.0) * c / total for w, c in seen.items()}
        if len(seen) == self.vocab_size:
            return given[token] / sum(given.values())
        if token in given:
            return given[token]
        return (1 - sum(given.values())) / (1 - sum(shorter(w) for w in seen)) * shorter(token)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize(("documents", "vocab_size"), [(3, 30), (80, 30), (400, 30), (200, 6)])
def test_katz_agrees_with_the_paper_written_out(order: int, documents: int, vocab_size: int) -> None:
    sequences = zipfian(order, documents, vocab_size)
    fast = fitted("katz", sequences, order, vocab_size)
    slow = SlowKatz(sequences, order, vocab_size)
    strange = np.random.default_rng(9).integers(0, vocab_size, 12).tolist()
    for sequence in [*sequences[:4], strange]:
        expected = [slow.probability(sequence[i], tuple(sequence[:i])) for i in range(len(sequence))]
        np.testing.assert_allclose(fast.log_probs(sequence), np.log(expected), rtol=1e-9)


def test_good_turing_on_the_counts_that_church_and_gale_published() -> None:
    # Bigrams of 22 million words of the Associated Press, Church and Gale (1991), table 1: r* of r = 1 to 5.
    occurring = [2_018_046, 449_721, 188_933, 105_668, 68_379, 48_190]
    assert good_turing(occurring) == pytest.approx([0.446, 1.26, 2.24, 3.24, 4.22], abs=0.01)


def test_katzs_discounts_free_exactly_what_was_seen_once() -> None:
    occurring = [2_018_046 // 100, 449_721 // 100, 188_933 // 100, 105_668 // 100, 68_379 // 100, 48_190 // 100]
    counts = np.repeat(np.arange(1, 7), occurring)
    found = discounts(counts)
    assert len(found) == 5
    freed = sum(n * r * (1 - d) for r, (n, d) in enumerate(zip(occurring, found, strict=False), start=1))
    assert freed == pytest.approx(occurring[0], rel=1e-9)
    # In proportion to Good and Turing's own, 1 - r*/r.
    own = [1 - again / r for r, again in enumerate(good_turing(occurring), start=1)]
    assert np.ptp([(1 - d) / g for d, g in zip(found, own, strict=True)]) < 1e-9


def test_too_few_counts_lower_k() -> None:
    assert discounts(np.array([7, 8, 9])) == []
    assert discounts(np.repeat([1, 2], [10, 2])) == []
    # k = 2: u = 3/10, 1* = 2 · 4/10, 2* = 3 · 1/4.
    assert discounts(np.repeat([1, 2, 3], [10, 4, 1])) == pytest.approx([(0.8 - 0.3) / 0.7, (0.375 - 0.3) / 0.7])


@pytest.mark.parametrize("order", [1, 2, 3])
def test_plain_counts_and_add_one_agree_with_nltk(order: int) -> None:
    sequences = zipfian(3, 60, 15)
    words = [[str(token) for token in sequence] for sequence in sequences]
    vocabulary = [str(token) for token in range(15)]
    plain, one = MLE(order), Laplace(order)
    for oracle in (plain, one):
        oracle.fit([list(everygrams(each, max_len=order)) for each in words], vocabulary_text=vocabulary)
    # nltk counts the symbol for unknown words among the vocabulary: token 15 here.
    ours, ours_one = fitted("plain", sequences, order, 16), fitted("add_one", sequences, order, 16)
    rng = np.random.default_rng(0)
    for _ in range(300):
        context = rng.integers(0, 15, order - 1).tolist()
        token = int(rng.integers(15))
        named = [str(each) for each in context]
        assert ours_one.probabilities(context)[token] == pytest.approx(one.score(str(token), named))
        if plain.context_counts(tuple(named)).N():
            assert ours.probabilities(context)[token] == pytest.approx(plain.score(str(token), named))


def test_plain_counts_ask_the_longest_known_end_of_an_unknown_context() -> None:
    model = fitted("plain", [[0, 1, 2, 3, 1, 2, 0]], 3, 5)
    np.testing.assert_allclose(model.probabilities([4, 2]), model.probabilities([2]))
    np.testing.assert_allclose(model.probabilities([2]), [0.5, 0, 0, 0.5, 0])
    assert model.log_probs([1, 2, 4]).tolist()[2] == -math.inf


def test_add_one_is_plain_counts_mixed_with_the_uniform() -> None:
    sequences = zipfian(1, 50, 12)
    plain, one = fitted("plain", sequences, 2, 12), fitted("add_one", sequences, 2, 12)
    after = Counter(b for sequence in sequences for a, b in pairwise(sequence) if a == 7)
    m = 12 / (after.total() + 12)
    np.testing.assert_allclose(one.probabilities([7]), (1 - m) * plain.probabilities([7]) + m / 12)


@pytest.mark.parametrize("name", MODELS)
def test_distributions_sum_to_one_and_agree_with_log_probs(name: str) -> None:
    sequences, rng = zipfian(2, 150, 40), np.random.default_rng(2)
    model = fitted(name, sequences, 4, 50)
    for _ in range(200):
        seen = sequences[rng.integers(len(sequences))]
        context = (
            seen[: rng.integers(len(seen) + 1)] if rng.random() < 0.5 else rng.integers(0, 50, rng.integers(6)).tolist()
        )
        distribution = model.probabilities(context)
        assert distribution.sum() == pytest.approx(1, abs=1e-12)
        assert distribution.min() >= 0
        token = int(rng.integers(50))
        with np.errstate(divide="ignore"):
            assert model.log_probs([*context, token])[-1] == pytest.approx(np.log(distribution[token]))


@pytest.mark.parametrize("name", MODELS)
@given(st.lists(st.lists(st.integers(0, 3), max_size=8), min_size=1, max_size=5), st.integers(1, 4))
def test_any_tiny_data_gives_a_distribution(name: str, sequences: list[list[int]], order: int) -> None:
    if not any(sequences):
        with pytest.raises(BadInput, match="at least one token"):
            fitted(name, sequences, order, 4)
        return
    for vocab_size in (4, 5):
        model = fitted(name, sequences, order, vocab_size)
        for context in ([], [0], [3, 1], [0, 1, 2, 3], *sequences):
            distribution = model.probabilities(context)
            assert distribution.sum() == pytest.approx(1)
            # Only plain counts hold anything to be impossible.
            assert name == "plain" or distribution.min() > 0 or vocab_size == 4
        for sequence in sequences:
            assert np.isfinite(model.log_probs(sequence)).all()


def test_arrays_are_all_that_a_model_is() -> None:
    model = fitted("katz", zipfian(0, 20, 9), 3, 9)
    assert isinstance(model, BackOff)
    arrays = model.arrays()
    assert len(arrays) == 9
    assert [len(arrays[f"{n}.keys"]) for n in (1, 2, 3)] == model.counts
    assert [len(arrays[f"{n}.weight"]) for n in (1, 2, 3)] == [1, *model.counts[:2]]


@pytest.mark.parametrize("name", MODELS)
def test_a_token_outside_the_vocabulary_is_named(name: str) -> None:
    model = fitted(name, [[0, 1, 2]], 2, 5)
    for ask in (model.log_probs, model.probabilities):
        with pytest.raises(BadInput, match="token 5 is outside the vocabulary of 5"):
            ask([1, 5])
