"""The neural n-gram beside its equation, a context at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cutaway.ladder.neural_ngram import NeuralNgram
from cutaway.runs import BadInput


@pytest.mark.parametrize("order", [2, 3, 6])
@pytest.mark.parametrize("direct", [False, True])
def test_logits_are_those_of_the_paper(order: int, direct: bool) -> None:
    torch.manual_seed(order)
    model = NeuralNgram(10, order, 4, 7, direct=direct)
    tokens = torch.randint(0, 10, (2, 9))
    found = model(tokens).detach().numpy()
    c = model.embed.weight.detach().numpy()
    h, d = (each.detach().numpy() for each in (model.hidden.weight, model.hidden.bias))
    u, b = (each.detach().numpy() for each in (model.output.weight, model.output.bias))
    w = model.direct.weight.detach().numpy() if model.direct is not None else np.zeros((10, (order - 1) * 4))
    for row in range(2):
        for t in range(9):
            seen = [10] * (order - 1) + tokens[row, : t + 1].tolist()
            x = np.concatenate([c[token] for token in seen[-(order - 1) :]])
            np.testing.assert_allclose(found[row, t], b + w @ x + u @ np.tanh(d + h @ x), rtol=1e-4, atol=1e-5)


def test_what_is_too_far_back_is_forgotten() -> None:
    torch.manual_seed(0)
    model = NeuralNgram(10, 4, 4, 7)
    a, b = torch.randint(0, 10, (1, 12)), torch.randint(0, 10, (1, 12))
    b[:, -3:] = a[:, -3:]
    torch.testing.assert_close(model(a)[:, -1], model(b)[:, -1])
    b[:, -3] = (a[:, -3] + 1) % 10
    assert not torch.allclose(model(a)[:, -1], model(b)[:, -1])


@pytest.mark.parametrize("order", [2, 3, 8])
def test_reading_in_pieces_is_reading_at_once(order: int) -> None:
    torch.manual_seed(1)
    model = NeuralNgram(10, order, 4, 7)
    tokens = torch.randint(0, 10, (3, 20))
    pieces, past = [], None
    for start, end in ((0, 1), (1, 3), (3, 20)):
        logits, past = model.read(tokens[:, start:end], past)
        pieces.append(logits)
    torch.testing.assert_close(torch.cat(pieces, dim=1), model(tokens))


def test_it_is_a_sequence_model() -> None:
    torch.manual_seed(2)
    model = NeuralNgram(10, 5, 4, 7)
    tokens = np.random.default_rng(0).integers(0, 10, 1500)
    found = model.log_probs(tokens)
    assert found[0] == pytest.approx(-np.log(10))
    for t in (1, 2, 10, 1024, 1025, 1026, 1499):
        assert np.exp(found[t]) == pytest.approx(model.probabilities(tokens[:t])[tokens[t]], rel=1e-5)


def test_with_nothing_to_read_it_is_refused() -> None:
    with pytest.raises(BadInput, match="order of at least 2"):
        NeuralNgram(10, 1, 4, 7)
