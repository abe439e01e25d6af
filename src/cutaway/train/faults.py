"""Where a loss or gradient first stopped being finite."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cutaway.model.taps import Tap, Under
from cutaway.train.objectives import Batch, Objective
from cutaway.train.step import portions


def first_not_finite(model: nn.Module, objective: Objective, batch: Batch, rows: int = 0) -> str:
    """The first tensor that is not finite when a batch goes through the model, `rows` at once, by name.

    Weights first, then what is worked out on the way forward, the loss, and the gradients from the last layer back.
    """
    for name, weight in model.named_parameters():
        if not is_finite(weight):
            return f"the weight {name}"
    for portion in portions(batch, rows):
        watching = FirstNotFinite()
        loss = objective.total(model, objective.ready(portion), watching)
        if watching.found:
            return watching.found
        if not is_finite(loss):
            return "the loss"
        loss.backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    worst = [name for name, gradient in gradients.items() if not is_finite(gradient)]
    for weight in model.parameters():
        weight.grad = None
    return f"the gradient of {worst[-1]}" if worst else "nothing in float32: it was lost in the step's precision"


class FirstNotFinite(Tap):
    """A tap that notes the first tensor with a NaN or an infinity."""

    def __init__(self) -> None:
        self.found: str | None = None

    def __call__(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor as it is."""
        if self.found is None and not is_finite(tensor):
            self.found = name
        return tensor

    def under(self, prefix: str) -> Tap:
        """This tap, for the names below `prefix`."""
        return Under(self, prefix)


def is_finite(tensor: Tensor) -> bool:
    """Whether all of it is."""
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())
