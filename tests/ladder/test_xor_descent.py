"""XOR on the engine."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cutaway.ladder.xor_descent import INPUTS, XorDescent


def test_gradients_are_torchs() -> None:
    net = XorDescent(3)
    net.step(1.0)
    loss = net.loss()
    w1, b1, w2, b2 = (torch.tensor(each.data, requires_grad=True) for each in net.parameters)
    y = torch.tensor([[0.0], [1.0], [1.0], [0.0]], dtype=torch.float64)
    x = torch.tensor(INPUTS, dtype=torch.float64)
    expected = ((torch.tanh(x @ w1 + b1) @ w2 + b2).sigmoid() - y).square().mean()
    expected.backward()
    assert float(loss.data) == pytest.approx(expected.item())
    for ours, theirs in zip(net.parameters, (w1, b1, w2, b2), strict=True):
        assert theirs.grad is not None
        assert np.allclose(ours.gradient, theirs.grad.numpy())


def test_it_learns() -> None:
    net = XorDescent(0)
    for _ in range(300):
        net.step(3.0)
    assert net.losses[0] > 0.2
    assert net.losses[-1] < 0.01
