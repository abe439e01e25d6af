"""Gradients over distance beside closed forms and explicit Jacobians."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from cutaway.ladder.gradient_flow import descent, flow_in, gradient_norms, reach
from cutaway.ladder.recurrent import CELLS, RNN
from cutaway.ladder.recurrent_model import RecurrentModel


@pytest.mark.parametrize("radius", [0.8, 1.0, 1.25])
def test_without_inputs_a_rotation_shrinks_or_grows_by_its_radius(radius: float) -> None:
    torch.manual_seed(0)
    cell = RNN(3, 6).double()
    with torch.no_grad():
        cell.from_state.weight[:] = radius * torch.linalg.qr(torch.randn(6, 6, dtype=torch.double))[0]
        for bias in (cell.from_input.bias, cell.from_state.bias):
            bias.zero_()
    ask = torch.randn(2, 6, dtype=torch.double)
    # At the state nought the tanh is the identity.
    norms = gradient_norms(cell, torch.zeros(2, 40, 3, dtype=torch.double), lambda h: (h * ask).sum(1))
    expected = ask.norm(dim=1, keepdim=True) * radius ** torch.arange(40)
    torch.testing.assert_close(norms, expected)


def test_an_rnns_are_products_of_jacobians() -> None:
    torch.manual_seed(1)
    cell, x = RNN(4, 5).double(), torch.randn(1, 12, 4, dtype=torch.double)
    outputs, _ = cell(x)
    along = torch.ones(5, dtype=torch.double)
    expected = [along.norm()]
    for h in outputs[0].flip(0)[:-1]:
        along = along @ (torch.diag(1 - h**2) @ cell.from_state.weight)
        expected.append(along.norm())
    norms = gradient_norms(cell, x, lambda h: h.sum(1))
    torch.testing.assert_close(norms[0], torch.stack(expected).detach())


@pytest.mark.parametrize("kind", CELLS)
def test_each_kinds_are_those_of_its_whole_state(kind: str) -> None:
    torch.manual_seed(2)
    cell, x = CELLS[kind](4, 5).double(), torch.randn(1, 9, 4, dtype=torch.double)
    norms = gradient_norms(cell, x, lambda h: h.square().sum(1))
    for k in range(9):
        before, rest = x[:, : 9 - k], x[:, 9 - k :]
        _, state = cell(before)

        def loss(*state: Tensor, rest: Tensor = rest) -> Tensor:
            last = cell(rest, state)[1][0] if rest.shape[1] else state[0]
            return last.square().sum()

        jacobian = torch.autograd.functional.jacobian(loss, tuple(part.detach() for part in state))
        assert float(norms[0, k]) == pytest.approx(float(torch.cat([part.flatten() for part in jacobian]).norm()))


def test_rows_do_not_mix() -> None:
    torch.manual_seed(3)
    cell, x = CELLS["lstm"](4, 5), torch.randn(3, 7, 4)
    together = gradient_norms(cell, x, lambda h: h.sum(1))
    assert together.shape == (3, 7)
    torch.testing.assert_close(together[1:2], gradient_norms(cell, x[1:2], lambda h: h.sum(1)))


@pytest.mark.parametrize("kind", CELLS)
def test_in_a_language_model_it_is_the_last_tokens_loss(kind: str) -> None:
    torch.manual_seed(4)
    model = RecurrentModel(kind, 9, 4, 6).requires_grad_(False)
    tokens = torch.randint(0, 9, (5, 12))
    norms = flow_in(model, tokens)
    assert len(norms) == 11
    # By the softmax the gradient at the logits is the distribution less the one that came.
    error = model(tokens[:, :-1])[:, -1].softmax(-1) - torch.nn.functional.one_hot(tokens[:, -1], 9)
    assert norms[0] == pytest.approx(float((error @ model.output.weight).norm(dim=1).mean()), rel=1e-5)
    assert all(weight.grad is None for weight in model.parameters())


def test_what_is_far_too_small_for_float32_is_measured() -> None:
    torch.manual_seed(7)
    model = RecurrentModel("rnn", 9, 4, 6).requires_grad_(False)
    model.scale_recurrence(0.5)
    norms = flow_in(model, torch.randint(0, 9, (2, 202)))
    assert 0 < norms[-1] < 1e-50
    # Its Jacobians are at most so large: tanh' is 1 at most.
    assert norms[-1] <= norms[0] * float(torch.linalg.matrix_norm(model.cells[0].from_state.weight, 2)) ** 200
    assert model.output.weight.dtype == torch.float32


def test_the_spectral_radius_is_what_it_was_scaled_to() -> None:
    torch.manual_seed(5)
    model = RecurrentModel("gru", 9, 4, 16)
    model.scale_recurrence(1.3)
    (cell,) = model.cells
    for matrix in cell.from_state.weight.detach().numpy().reshape(3, 16, 16):
        assert np.abs(np.linalg.eigvals(matrix)).max() == pytest.approx(1.3, rel=1e-5)


def test_how_far_a_gradient_reaches() -> None:
    assert reach([2.0, 1.0, 0.03, 0.019, 0.5]) == 3
    assert reach([1.0, 0.5]) == 2


def test_descent_is_descent_and_clipping_keeps_the_direction() -> None:
    torch.manual_seed(6)
    batch = (torch.randint(0, 9, (4, 10)), torch.randint(0, 9, (4, 10)))
    first = RecurrentModel("rnn", 9, 4, 6).state_dict()

    def after(clip: float) -> tuple[list[tuple[float, float]], Tensor]:
        model = RecurrentModel("rnn", 9, 4, 6)
        model.load_state_dict(first)
        steps = descent(model, [batch], 0.5, clip)
        return steps, torch.cat(
            [(weight - first[name]).flatten() for name, weight in model.named_parameters()]
        ).detach()

    steps, free = after(math.inf)
    norm = steps[0][1]
    assert float(free.norm()) == pytest.approx(0.5 * norm, rel=1e-4)
    same, unclipped = after(2 * norm)
    assert same == steps
    torch.testing.assert_close(unclipped, free)
    _, clipped = after(norm / 10)
    torch.testing.assert_close(clipped, free / 10, rtol=1e-3, atol=1e-7)
    model = RecurrentModel("rnn", 9, 4, 6)
    losses = [loss for loss, _ in descent(model, [batch] * 30, 0.5)]
    assert losses[-1] < losses[0]
