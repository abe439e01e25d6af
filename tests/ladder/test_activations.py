"""Activations and their slopes equal PyTorch's, and stay finite."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cutaway.ladder.activations import ACTIVATIONS, Activation

TORCH: dict[str, Callable[[Tensor], Tensor]] = {
    "step": lambda z: torch.heaviside(z, torch.ones((), dtype=z.dtype)),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "ReLU": F.relu,
    "leaky ReLU": F.leaky_relu,
    "GELU": F.gelu,
    "SiLU": F.silu,
}


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: a.name)
def test_values_and_slopes_are_torchs(activation: Activation) -> None:
    z = np.concatenate([np.linspace(-8, 8, 1601), [-60.0, 60.0]])
    at = torch.tensor(z, requires_grad=True)
    wanted = TORCH[activation.name](at)
    np.testing.assert_allclose(activation.value(z), wanted.detach().numpy(), rtol=1e-12, atol=1e-15)
    if activation.name == "step":  # torch has no slope for it
        slope = np.zeros_like(z)
    else:
        (gradient,) = torch.autograd.grad(wanted.sum(), at)
        slope = gradient.numpy()
    np.testing.assert_allclose(activation.slope(z), slope, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: a.name)
def test_nothing_overflows(activation: Activation) -> None:
    z = np.array([[-1e4, -800.0, 0.0], [1e-300, 800.0, 1e4]])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        value, slope = activation.value(z), activation.slope(z)
    assert value.shape == slope.shape == z.shape
    assert np.isfinite(value).all()
    assert np.isfinite(slope).all()


def test_all_that_the_issue_names_are_there() -> None:
    assert [a.name for a in ACTIVATIONS] == list(TORCH)
