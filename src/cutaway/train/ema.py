"""An average of the weights over the last steps, often better than the weights themselves."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from cutaway.train.checkpoint import trained_weights


class WeightAverage:
    """Exponential moving average of the weights that a model trains: average ← decay · average + (1 − decay) · weights.

    Early on the decay is (1 + step) / (10 + step) if that is less, so that the random start is soon forgotten
    (as in TensorFlow's ExponentialMovingAverage).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: weight.clone() for name, weight in trained_weights(model).items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after `step` steps."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        for name, weight in trained_weights(model).items():
            self.weights[name].lerp_(weight, share)

    @contextmanager
    def in_place_of(self, model: nn.Module) -> Generator[None]:
        """Within the block the model has the average as its weights."""
        self.swap(model)
        try:
            yield
        finally:
            self.swap(model)

    @torch.no_grad()
    def swap(self, model: nn.Module) -> None:
        """Exchange the model's weights and the average."""
        for name, weight in model.named_parameters():
            if name in self.weights:
                self.weights[name], weight.data = weight.data, self.weights[name]

    def state_dict(self) -> dict[str, Tensor]:
        """The average, by the weights' names."""
        return self.weights

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take up where `state_dict` left off."""
        for name in self.weights:
            self.weights[name] = state[name].clone()
