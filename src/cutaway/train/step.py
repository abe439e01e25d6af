"""One training step: forward, loss, backward, clip, update."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from cutaway.model import Transformer
from cutaway.train.optimizer import Optimizer


class TrainStep:
    """A model and its optimiser, compiled or not.

    `dtype` is what matrices are multiplied in; the weights and their moments stay in float32.
    """

    def __init__(
        self, model: Transformer, optimizer: Optimizer, *, compiled: bool, dtype: torch.dtype, clip: float = 1.0
    ) -> None:
        self.model = model.requires_grad_(True).train()
        self.optimizer = optimizer
        self.clip = clip
        self.dtype = dtype
        self.loss = torch.compile(self.plain_loss) if compiled else self.plain_loss

    def plain_loss(
        self,
        inputs: Int[Tensor, "row position"],
        targets: Int[Tensor, "row position"],
        weights: Float[Tensor, "row position"],
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy, in nats, over the targets that have weight."""
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            logits = self.model(inputs)
        return weighted_loss(logits, targets, weights)

    def __call__(self, inputs: Tensor, targets: Tensor, weights: Tensor, *, scale: float) -> tuple[float, float]:
        """Take one step; give the loss before it and the norm of its gradient. `scale` multiplies the learning rates.

        A loss or gradient that is not finite is given back and not applied.
        """
        loss = self.loss(inputs, targets, weights)
        loss.backward()
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip))
        if torch.isfinite(torch.tensor([float(loss.detach()), norm])).all():
            self.optimizer.step(scale)
        self.optimizer.zero_grad()
        return float(loss.detach()), norm


def weighted_loss(
    logits: Float[Tensor, "row position vocab"],
    targets: Int[Tensor, "row position"],
    weights: Float[Tensor, "row position"],
) -> Float[Tensor, ""]:
    """Mean cross-entropy, in nats, over the targets that have weight."""
    losses = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
    return (losses * weights.flatten()).sum() / weights.sum()
