"""Recurrent cells beside torch.nn's, and the language models upon them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cutaway.ladder.recurrent import CELLS, GRU, LSTM, RNN, Cell
from cutaway.ladder.recurrent_model import RecurrentModel
from cutaway.runs import BadInput

THEIRS: dict[str, type[nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
NAMES = {
    "from_input.weight": "weight_ih_l0",
    "from_state.weight": "weight_hh_l0",
    "from_input.bias": "bias_ih_l0",
    "from_state.bias": "bias_hh_l0",
}


def pair(kind: str, width: int = 7, hidden: int = 5) -> tuple[Cell, nn.RNNBase]:
    """A cell of ours and torch.nn's layer with the same weights."""
    torch.manual_seed(3)
    ours = CELLS[kind](width, hidden).double()
    theirs = THEIRS[kind](width, hidden, batch_first=True).double()
    theirs.load_state_dict({NAMES[name]: weight.clone() * 3 for name, weight in ours.state_dict().items()})
    ours.load_state_dict({name: weight * 3 for name, weight in ours.state_dict().items()})
    return ours, theirs


def state_of(theirs: object) -> tuple[Tensor, ...]:
    """torch.nn's state as ours is: a tuple, without the axis of layers."""
    parts = theirs if isinstance(theirs, tuple) else (theirs,)
    return tuple(part[0] for part in parts)


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("begun", [False, True])
def test_outputs_states_and_gradients_are_torchs(kind: str, begun: bool) -> None:
    ours, theirs = pair(kind)
    x = torch.randn(4, 9, 7, dtype=torch.double)
    mine, their = x.clone().requires_grad_(), x.clone().requires_grad_()
    n_parts = 2 if kind == "lstm" else 1
    first = [torch.randn(4, 5, dtype=torch.double) for _ in range(n_parts)] if begun else []
    given = tuple(part.clone().requires_grad_() for part in first) or None
    their_first = tuple(part.clone().requires_grad_() for part in first)
    their_given = None if not begun else tuple(p[None] for p in their_first) if n_parts == 2 else their_first[0][None]

    outputs, state = ours(mine, given)
    their_outputs, their_state = theirs(their, their_given)
    torch.testing.assert_close(outputs, their_outputs, rtol=1e-12, atol=1e-12)
    for a, b in zip(state, state_of(their_state), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)

    weighting = torch.randn_like(outputs)
    ((outputs * weighting).sum() + sum(part.square().sum() for part in state)).backward()
    ((their_outputs * weighting).sum() + sum(part.square().sum() for part in state_of(their_state))).backward()
    torch.testing.assert_close(mine.grad, their.grad, rtol=1e-10, atol=1e-12)
    for name, weight in ours.named_parameters():
        torch.testing.assert_close(weight.grad, getattr(theirs, NAMES[name]).grad, rtol=1e-10, atol=1e-12)
    for a, b in zip(given or (), their_first, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", CELLS)
def test_a_new_cell_is_drawn_as_torchs_is(kind: str) -> None:
    weights = torch.cat([weight.flatten() for weight in CELLS[kind](64, 64).parameters()])
    assert weights.abs().max() <= 1 / 8
    assert float(weights.detach().std()) == pytest.approx(1 / 8 / math.sqrt(3), rel=0.03)


def one(cell: Cell, inputs: list[float], state: list[float], biases: list[float]) -> Cell:
    """A cell of one unit over one input with these weights, gate by gate."""
    with torch.no_grad():
        cell.from_input.weight[:, 0] = torch.tensor(inputs)
        cell.from_state.weight[:, 0] = torch.tensor(state)
        cell.from_input.bias[:] = torch.tensor(biases)
        cell.from_state.bias[:] = 0
    return cell


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_one_unit_by_the_equations() -> None:
    x, h, c = 0.7, -0.4, 1.3
    inputs, state = torch.tensor([[[x]]]), torch.tensor([[h]])
    rnn = one(RNN(1, 1).requires_grad_(False), [0.5], [1.5], [0.1])
    assert float(rnn(inputs, (state,))[0]) == pytest.approx(math.tanh(0.5 * x + 1.5 * h + 0.1), rel=1e-6)

    lstm = one(LSTM(1, 1).requires_grad_(False), [0.5, -1.0, 2.0, 0.3], [1.5, 0.2, -0.7, 0.9], [0.1, 1.0, 0.0, -0.2])
    i, f, o = sigma(0.5 * x + 1.5 * h + 0.1), sigma(-1.0 * x + 0.2 * h + 1.0), sigma(0.3 * x + 0.9 * h - 0.2)
    cell = f * c + i * math.tanh(2.0 * x - 0.7 * h)
    _, (shown, held) = lstm(inputs, (state, torch.tensor([[c]])))
    assert (float(shown), float(held)) == pytest.approx((o * math.tanh(cell), cell), rel=1e-6)

    gru = one(GRU(1, 1).requires_grad_(False), [0.5, -1.0, 2.0], [1.5, 0.2, -0.7], [0.1, 1.0, 0.4])
    r, z = sigma(0.5 * x + 1.5 * h + 0.1), sigma(-1.0 * x + 0.2 * h + 1.0)
    n = math.tanh(2.0 * x + 0.4 + r * (-0.7 * h))
    assert float(gru(inputs, (state,))[0]) == pytest.approx((1 - z) * n + z * h, rel=1e-6)


def test_an_open_forget_gate_keeps_a_cell_for_as_long_as_need_be() -> None:
    lstm = one(LSTM(1, 1).requires_grad_(False), [0.0] * 4, [0.0] * 4, [-50.0, 50.0, 0.0, 50.0])
    outputs, (_, c) = lstm(torch.randn(1, 1000, 1), (torch.zeros(1, 1), torch.tensor([[0.8]])))
    assert float(c) == pytest.approx(0.8)
    assert float(outputs[0, -1]) == pytest.approx(math.tanh(0.8), rel=1e-5)


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("layers", [1, 2])
def test_reading_in_pieces_is_reading_at_once(kind: str, layers: int) -> None:
    torch.manual_seed(1)
    model = RecurrentModel(kind, 11, 6, 8, layers)
    tokens = torch.randint(0, 11, (3, 20))
    whole = model(tokens)
    assert whole.shape == (3, 20, 11)
    pieces, past = [], None
    for start, end in ((0, 1), (1, 8), (8, 20)):
        logits, past = model.read(tokens[:, start:end], past)
        pieces.append(logits)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole)


@pytest.mark.parametrize("kind", CELLS)
def test_layers_are_torchs_layers(kind: str) -> None:
    torch.manual_seed(2)
    model = RecurrentModel(kind, 11, 6, 8, 2)
    theirs = THEIRS[kind](6, 8, 2, batch_first=True)
    theirs.load_state_dict(
        {
            NAMES[name.split(".", 2)[2]].replace("l0", f"l{name.split('.')[1]}"): weight
            for name, weight in model.state_dict().items()
            if name.startswith("cells.")
        }
    )
    tokens = torch.randint(0, 11, (2, 15))
    torch.testing.assert_close(model(tokens), model.output(theirs(model.embed(tokens))[0]))


@pytest.mark.parametrize("kind", CELLS)
def test_it_is_a_sequence_model(kind: str) -> None:
    torch.manual_seed(4)
    model = RecurrentModel(kind, 9, 6, 8)
    tokens = np.random.default_rng(0).integers(0, 9, 2500)
    found = model.log_probs(tokens)
    assert found.shape == (2500,)
    assert found[0] == pytest.approx(-math.log(9))
    # More than are read at once, so the state went from piece to piece.
    expected = model(torch.from_numpy(tokens)[None]).double().log_softmax(-1)[0]
    np.testing.assert_allclose(found[1:], expected[torch.arange(2499), tokens[1:]].detach().numpy(), rtol=1e-4)
    distribution = model.probabilities(tokens[:40])
    assert distribution.sum() == pytest.approx(1)
    assert np.log(distribution[tokens[40]]) == pytest.approx(found[40], rel=1e-4)
    np.testing.assert_allclose(model.probabilities([]), np.full(9, 1 / 9))
    assert len(model.log_probs([])) == 0
    with pytest.raises(BadInput, match="token 9 is outside"):
        model.log_probs([1, 9])


def test_a_new_lstm_keeps_what_it_holds() -> None:
    model = RecurrentModel("lstm", 9, 6, 8)
    (cell,) = model.cells
    assert isinstance(cell, LSTM)
    bias = (cell.from_input.bias + cell.from_state.bias).chunk(4)
    assert bool((bias[1] == 1).all())
    assert float(bias[0].detach().abs().max()) < 1
