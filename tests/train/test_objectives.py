"""What the objectives' feeds give: masks, gaps, pairs and texts, from the seed and the step alone."""

from __future__ import annotations

from collections import Counter
from math import comb, sqrt

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cutaway.runs import BadInput
from cutaway.train.objectives.classification import ClassificationFeed
from cutaway.train.objectives.masked import MaskedFeed
from cutaway.train.objectives.objective import Batch, Feed
from cutaway.train.objectives.ragged import SimilarLengths
from cutaway.train.objectives.sequence_to_sequence import PairsFeed
from cutaway.train.objectives.span_corruption import SpanCorruptionFeed, compositions, draw_spans, span_counts

V, MASK, SPECIAL = 1000, 999, (0, 1, 2)
END, START = 1, 0


def masked_feed(seed: int = 0, share: float = 0.15) -> MaskedFeed:
    rows = np.random.default_rng(7).integers(0, V - 1, (64, 256), np.int32)
    return MaskedFeed(rows, seed, mask=MASK, special=SPECIAL, vocab_size=V, share=share)


def is_near(k: int, n: int, p: float) -> bool:
    """Whether `k` of `n` is within five standard deviations of a binomial's mean."""
    return abs(k - n * p) <= 5 * sqrt(n * p * (1 - p))


def same(a: Batch, b: Batch) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_tokens_are_hidden_in_berts_shares() -> None:
    feed = masked_feed()
    batches = [feed.batch(step, 64) for step in range(10)]
    tokens, targets, learned = (torch.stack([b[name] for b in batches]) for name in ("tokens", "targets", "learned"))
    assert torch.equal(targets[0], torch.from_numpy(feed.rows.astype(np.int64)))
    assert torch.equal(targets[3], targets[0])
    ordinary = targets > 2
    assert not learned[~ordinary].any()
    assert torch.equal(tokens[~learned], targets[~learned])
    chosen = int(learned.sum())
    assert is_near(chosen, int(ordinary.sum()), 0.15)
    read, told = tokens[learned], targets[learned]
    assert is_near(int((read == MASK).sum()), chosen, 0.8)
    # One random token in as many as there are is the one that it replaces.
    random = 0.1 * (1 - 1 / (V - 4))
    assert is_near(int(((read != MASK) & (read != told)).sum()), chosen, random)
    assert is_near(int((read == told).sum()), chosen, 1 - 0.8 - random)
    others = read[(read != MASK) & (read != told)]
    assert others.min() > 2
    # Evenly among all ordinary tokens: the mean of the uniform distribution over 3 to 998.
    assert abs(float(others.float().mean()) - 500.5) < 5 * 996 / sqrt(12 * len(others))
    # Independent of each other: two neighbours are both chosen in 0.15² of the cases.
    pairs = ordinary[..., 1:] & ordinary[..., :-1]
    assert is_near(int((learned[..., 1:] & learned[..., :-1]).sum()), int(pairs.sum()), 0.15**2)


def test_masks_follow_from_the_seed_and_the_step() -> None:
    feed = masked_feed()
    first = feed.batch(3, 8)
    feed.batch(0, 8)
    assert same(feed.batch(3, 8), first)
    assert same(masked_feed().batch(3, 8), first)
    # The same rows once more, and another choice.
    again = feed.batch(11, 8)
    assert torch.equal(again["targets"], first["targets"])
    assert not torch.equal(again["learned"], first["learned"])
    assert not torch.equal(masked_feed(seed=1).batch(3, 8)["learned"], first["learned"])
    assert masked_feed(share=1.0).batch(0, 8)["learned"].float().mean() > 0.99


def test_what_cannot_be_masked_is_refused() -> None:
    rows = np.zeros((2, 4), np.int32)
    for bad in ({"mask": 7}, {"share": 0.0}, {"special": range(5)}):
        with pytest.raises(BadInput):
            MaskedFeed(rows, 0, **{"mask": 4, "special": [], "vocab_size": 5, "share": 0.5} | bad)
    with pytest.raises(BadInput, match="no rows"):
        MaskedFeed(rows[:0], 0, mask=4, special=[], vocab_size=5)


def spans_of(row: list[int], sentinels: list[int]) -> dict[int, list[int]]:
    """What stands behind each sentinel of a row, up to the next or to the end; before the first, under -1."""
    found: dict[int, list[int]] = {-1: []}
    at = -1
    for token in row:
        if token in sentinels:
            assert token not in found
            found[at := token] = []
        else:
            found[at].append(token)
    return found


@given(
    source=st.integers(3, 150),
    share=st.floats(0.01, 0.5),
    mean_span=st.floats(1, 12),
    seed=st.integers(0, 2**32),
    step=st.integers(0, 5),
)
def test_source_and_target_together_are_the_text(
    source: int, share: float, mean_span: float, seed: int, step: int
) -> None:
    counts = span_counts(source, share, mean_span)
    assert counts.source == source
    assert abs(counts.corrupted - counts.raw * share) <= 1
    assert abs(counts.spans - counts.corrupted / mean_span) <= 1
    rows = np.random.default_rng(seed).integers(2, 500, (12, counts.raw), np.int32)
    sentinels = list(range(2000, 2000 - counts.spans, -1))
    feed = SpanCorruptionFeed(rows, seed, counts, sentinels=sentinels, start=START, end=END)
    batch = feed.batch(step, 4)
    assert batch["source"].shape == (4, source)
    assert batch["targets"].shape == batch["tokens"].shape == (4, counts.target)
    assert torch.equal(batch["tokens"][:, 1:], batch["targets"][:, :-1])
    assert (batch["tokens"][:, 0] == START).all()
    assert batch["learned"].all()
    for i in range(4):
        *read, last = batch["source"][i].tolist()
        *written, last_written = batch["targets"][i].tolist()
        assert last == last_written == END
        left, taken = spans_of(read, sentinels), spans_of(written, sentinels)
        assert list(left) == list(taken) == [-1, *sentinels]
        assert taken[-1] == []
        assert all(taken[sentinel] for sentinel in sentinels)
        assert all(left[sentinel] for sentinel in sentinels[:-1])
        joined = left[-1] + [token for sentinel in sentinels for token in taken[sentinel] + left[sentinel]]
        assert joined == rows[(4 * step + i) % 12].tolist()


def test_lengths_are_those_of_t5() -> None:
    # Sources of 512 are made of texts of 568, and their targets have 114 (Raffel et al. 2020's own pretraining).
    counts = span_counts(512)
    assert (counts.raw, counts.source, counts.target) == (568, 512, 114)
    assert counts.corrupted / counts.raw == pytest.approx(0.15, abs=0.5 / 568)
    assert counts.corrupted / counts.spans == pytest.approx(3.0, rel=0.02)
    # 15% of 500 tokens in 25 spans are spans of 3 (section 3.3.4 has this example).
    assert span_counts(451) == type(counts)(500, 75, 25)


def test_every_choice_of_spans_is_as_likely() -> None:
    rng = np.random.default_rng(0)
    found = Counter(map(tuple, compositions(rng, 60_000, 7, 3).tolist()))
    assert len(found) == comb(6, 2)
    assert all(sum(parts) == 7 and min(parts) > 0 for parts in found)
    assert all(is_near(n, 60_000, 1 / 15) for n in found.values())
    counts = span_counts(64)
    masks = draw_spans(rng, 20_000, counts)
    assert (masks.sum(axis=1) == counts.corrupted).all()
    # Inside, where a token stands changes little. A row's first can only be the first of a span: of the ways to lay out
    # the spans, one in so many.
    inside = masks[:, 8:-8].mean(axis=0)
    assert inside.min() > 0.13
    assert inside.max() < 0.17
    first = counts.spans / (counts.raw - counts.corrupted + 1)
    assert is_near(int(masks[:, 0].sum()), 20_000, first)
    assert is_near(int(masks[:, -1].sum()), 20_000, first)


def test_gaps_follow_from_the_seed_and_the_step() -> None:
    counts = span_counts(32)
    rows = np.arange(3 * counts.raw, dtype=np.int32).reshape(3, -1) + 10

    def feed(seed: int) -> SpanCorruptionFeed:
        return SpanCorruptionFeed(rows, seed, counts, sentinels=range(500, 400, -1), start=START, end=END)

    whole = feed(0)
    first = whole.batch(5, 3)
    whole.batch(0, 3)
    assert same(whole.batch(5, 3), first)
    assert same(feed(0).batch(5, 3), first)
    assert not same(feed(0).batch(6, 3), first)
    assert not same(feed(1).batch(5, 3), first)


def test_what_cannot_be_corrupted_is_refused() -> None:
    counts = span_counts(32)
    rows = np.zeros((3, counts.raw), np.int32)
    with pytest.raises(BadInput, match="sentinels"):
        SpanCorruptionFeed(rows, 0, counts, sentinels=range(counts.spans - 1), start=0, end=1)
    for bad in (rows[:, 1:], rows[:0], rows[0]):
        with pytest.raises(BadInput, match="rows"):
            SpanCorruptionFeed(bad, 0, counts, sentinels=range(100), start=0, end=1)
    for source, share, mean_span in ((2, 0.15, 3.0), (64, 0.0, 3.0), (64, 0.6, 3.0), (64, 0.15, 0.9)):
        with pytest.raises(BadInput, match="spans"):
            span_counts(source, share, mean_span)


@given(n=st.integers(1, 300), size=st.integers(1, 40), seed=st.integers(0, 2**32))
def test_every_example_comes_once_a_pass(n: int, size: int, seed: int) -> None:
    lengths = np.random.default_rng(seed).integers(1, 50, n)
    order = SimilarLengths(lengths, seed)
    steps = -(-3 * n // size)
    read = [order.rows(step, size) for step in range(steps)]
    assert all(len(batch) == size for batch in read)
    for passed in np.concatenate(read)[: 3 * n].reshape(3, n):
        assert sorted(passed) == list(range(n))
    again = SimilarLengths(lengths, seed)
    assert all(np.array_equal(again.rows(step, size), read[step]) for step in reversed(range(steps)))


def test_batches_are_of_similar_length_and_mixed_anew() -> None:
    # As many as fill no whole number of batches, so that each pass begins elsewhere in one.
    lengths = np.random.default_rng(1).integers(1, 101, 1003)
    order = SimilarLengths(lengths, 0)
    batches = [order.rows(step, 10) for step in range(300)]
    real, padded = (sum(f(lengths[batch]) for batch in batches) for f in (np.sum, lambda x: 10 * x.max()))
    # In random order it would be about half: the longest of ten is about 91, the mean about 50.
    assert real / padded > 0.97
    assert np.mean([lengths[batch].mean() for batch in batches[:50]]) == pytest.approx(50, abs=10)
    first, later = ({frozenset(batch.tolist()) for batch in part} for part in (batches[:100], batches[100:200]))
    assert not first & later


PAIRS = [([i + 10] * (i % 7 + 1), [i + 10] * (i % 5)) for i in range(23)]
LABELS = [i % 3 for i in range(23)]


def pairs_feed(seed: int = 0, longest: int = 64) -> PairsFeed:
    return PairsFeed(PAIRS, seed, start=START, end=END, pad=5, longest=longest)


def texts_feed(seed: int = 0, longest: int = 64) -> ClassificationFeed:
    return ClassificationFeed([source for source, _ in PAIRS], LABELS, seed, pad=5, longest=longest)


def test_pairs_stay_together_and_are_padded() -> None:
    feed, met = pairs_feed(), list[int]()
    for step in range(23):
        batch = feed.batch(step, 4)
        widest = [batch["present"].sum(1).max(), batch["learned"].sum(1).max()]
        assert [batch["source"].shape[1], batch["targets"].shape[1]] == widest
        for i in range(4):
            source = batch["source"][i][batch["present"][i]].tolist()
            target = batch["targets"][i][batch["learned"][i]].tolist()
            number = source[0] - 10
            met.append(number)
            assert (source, target) == (PAIRS[number][0], [*PAIRS[number][1], END])
            read = [START, *target[:-1]]
            assert batch["tokens"][i].tolist()[: len(read)] == read
            assert batch["source"][i].tolist() == source + [5] * (widest[0] - len(source))
    assert Counter(met) == dict.fromkeys(range(23), 4)


def test_texts_keep_their_labels() -> None:
    feed, met = texts_feed(), list[int]()
    for step in range(23):
        batch = feed.batch(step, 4)
        for i in range(4):
            text = batch["tokens"][i][batch["present"][i]].tolist()
            met.append(text[0] - 10)
            assert text == PAIRS[met[-1]][0]
            assert int(batch["labels"][i]) == LABELS[met[-1]]
    assert Counter(met) == dict.fromkeys(range(23), 4)


@pytest.mark.parametrize("make", [pairs_feed, texts_feed])
def test_batches_of_examples_follow_from_the_seed_and_the_step(make: type[Feed]) -> None:
    feed = make()
    first = feed.batch(9, 4)
    feed.batch(0, 4)
    assert same(feed.batch(9, 4), first)
    assert same(make().batch(9, 4), first)
    assert not same(make(seed=1).batch(9, 4), first)


def test_what_is_too_long_is_cut() -> None:
    batch = pairs_feed(longest=3).batch(0, 23)
    assert batch["source"].shape == batch["targets"].shape == (23, 3)
    # A target of three tokens or more has lost its end.
    assert int((batch["targets"] == END).sum()) == sum(len(target) < 3 for _, target in PAIRS)
    assert texts_feed(longest=3).batch(0, 23)["tokens"].shape == (23, 3)


def test_examples_that_say_nothing_are_refused() -> None:
    with pytest.raises(BadInput, match="pair 2 is empty"):
        PairsFeed([([3], [3]), ([], [3])], 0, start=0, end=1, pad=0, longest=9)
    with pytest.raises(BadInput, match="no pairs"):
        PairsFeed([], 0, start=0, end=1, pad=0, longest=9)
    for texts, labels, what in (
        ([], [], "0 texts"),
        ([[1]], [0, 1], "2 labels"),
        ([[1], []], [0, 1], "text 2"),
        ([[1], [2]], [0, -1], "text 2"),
    ):
        with pytest.raises(BadInput, match=what):
            ClassificationFeed(texts, labels, 0, pad=0, longest=9)
