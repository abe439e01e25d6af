"""One training step: forward, loss, backward, clip, update."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch._dynamo import maybe_mark_dynamic
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
        learned: Int[Tensor, " learned"],
        targets: Int[Tensor, " learned"],
    ) -> Float[Tensor, ""]:
        """`language_loss` in the step's dtype."""
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            return language_loss(self.model, inputs, learned, targets)

    def __call__(
        self,
        inputs: Int[Tensor, "row position"],
        targets: Int[Tensor, "row position"],
        learned: Bool[Tensor, "row position"],
        *,
        scale: float,
    ) -> tuple[float, float]:
        """Take one step; give the loss before it and the norm of its gradient. `scale` multiplies the learning rates.

        A loss or gradient that is not finite is given back and not applied. A batch in which nothing is to be learned
        leaves everything as it was.
        """
        positions, chosen = select(targets, learned)
        if not len(positions):
            return 0.0, 0.0
        # Their number changes from step to step: told so, the compiler makes one graph for all.
        maybe_mark_dynamic(positions, 0)
        maybe_mark_dynamic(chosen, 0)
        loss = self.loss(inputs, positions, chosen)
        loss.backward()
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip))
        if torch.isfinite(torch.tensor([float(loss.detach()), norm])).all():
            self.optimizer.step(scale)
        self.optimizer.zero_grad()
        return float(loss.detach()), norm


def select(
    targets: Int[Tensor, "row position"], learned: Bool[Tensor, "row position"]
) -> tuple[Int[Tensor, " learned"], Int[Tensor, " learned"]]:
    """The positions to learn at, numbered through all rows, and their targets."""
    positions = learned.flatten().nonzero().flatten()
    return positions, targets.flatten()[positions]


def language_loss(
    model: Transformer,
    inputs: Int[Tensor, "row position"],
    positions: Int[Tensor, " learned"],
    targets: Int[Tensor, " learned"],
) -> Float[Tensor, ""]:
    """Mean cross-entropy, in nats, of the `targets` at `positions`, both as `select` gives them.

    The unembedding is a third of a small model's arithmetic, so there are no logits where nothing is learned.
    """
    logits = model.logits(model.hidden(inputs).flatten(0, 1)[positions])
    return F.cross_entropy(logits.float(), targets)
