"""Writing draws from the distribution, and reading token by token gives what reading all at once gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cutaway.ladder.neural_ngram import NeuralNgram
from cutaway.ladder.ngram import KneserNey
from cutaway.ladder.recurrent_model import RecurrentModel
from cutaway.ladder.writing import reader, write_on


def test_what_is_written_is_drawn_from_the_distribution() -> None:
    class Cycle:
        vocab_size = 4

        def log_probs(self, sequence: object) -> np.ndarray:
            raise NotImplementedError

        def probabilities(self, context: object) -> np.ndarray:
            after = np.full(4, 0.1)
            seen = [0, *np.asarray(context, int)]
            after[(seen[-1] + 1) % 4] = 0.7
            return after

    written = write_on(Cycle(), [3], 4000, seed=1)
    assert write_on(Cycle(), [3], 4000, seed=1) == written
    assert write_on(Cycle(), [3], 4000, seed=2) != written
    steps = np.diff([3, *written]) % 4
    assert np.mean(steps == 1) == pytest.approx(0.7, abs=0.04)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_a_counted_model_reads_as_far_back_as_it_counts(order: int) -> None:
    tokens = np.random.default_rng(0).integers(0, 9, 400)
    model = KneserNey.fit([tokens], order, vocab_size=9)
    read = reader(model)
    for i, token in enumerate(tokens[:30].tolist(), start=1):
        np.testing.assert_allclose(read(token), model.probabilities(tokens[:i]))


@pytest.mark.parametrize("kind", ["ngram", "rnn", "lstm", "gru"])
def test_a_network_goes_on_from_what_it_keeps(kind: str) -> None:
    torch.manual_seed(0)
    model = NeuralNgram(9, 4, 5, 6) if kind == "ngram" else RecurrentModel(kind, 9, 5, 6, 2)
    tokens = np.random.default_rng(0).integers(0, 9, 20)
    read = reader(model)
    for i, token in enumerate(tokens.tolist(), start=1):
        np.testing.assert_allclose(read(token), model.probabilities(tokens[:i]), rtol=1e-5)
