"""The ∞-gram against counts by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cutaway.corpus.suffix_array import Index, write_index
from cutaway.ladder.infinigram import InfiniGram

pytest.importorskip("pydivsufsort")

END, VOCAB = 0, 5
DOCUMENTS = [[1, 2, 3, 1, 2, 4], [2, 3, 1], [], [4, 4, 1, 2, 3]]


@pytest.fixture
def model(tmp_path: Path) -> InfiniGram:
    write_index(tmp_path / "index", ((str(i), each) for i, each in enumerate(DOCUMENTS)), VOCAB, part_tokens=12)
    return InfiniGram(Index(tmp_path / "index"), END, longest=3, strength=2.0)


def by_hand(context: list[int]) -> np.ndarray:
    """The formula, straight from the documents."""
    probs = np.full(VOCAB, 1 / VOCAB)
    for n in range(min(3, len(context)) + 1):
        end = context[len(context) - n :]
        counts = np.zeros(VOCAB)
        for each in DOCUMENTS:
            closed = [*each, END]
            for at in range(len(closed) - n):
                counts[closed[at + n]] += closed[at : at + n] == end
        if counts.any():
            probs = (counts + 2.0 * probs) / (counts.sum() + 2.0)
    return probs


@pytest.mark.parametrize("context", [[], [1], [1, 2], [3, 1, 2], [2, 2, 2], [4, 4, 1, 2, 3], [3, 3]])
def test_probabilities_are_those_of_the_formula(model: InfiniGram, context: list[int]) -> None:
    probs = model.probabilities(context)
    assert probs == pytest.approx(by_hand(context))
    assert probs.sum() == pytest.approx(1)


def test_log_probs_agree_with_probabilities_across_documents(model: InfiniGram) -> None:
    tokens = [END, 1, 2, 3, 1, END, 4, 4, 2, END]
    expected = [model.probabilities(tokens[:i])[token] for i, token in enumerate(tokens)]
    assert np.exp(model.log_probs(tokens)) == pytest.approx(expected)
    assert len(model.log_probs([])) == 0
