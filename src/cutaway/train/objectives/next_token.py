"""Language modelling by any module that maps tokens to logits."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from cutaway.model.taps import UNTOUCHED, Tap
from cutaway.train.cross_entropy import cross_entropy
from cutaway.train.objectives.language import LanguageModelling
from cutaway.train.objectives.objective import Batch


class NextToken(LanguageModelling):
    """Cross-entropy of the tokens to learn, each from those before it.

    The model is any `nn.Module` that maps `tokens` `[row, position]` to logits `[row, position, vocab]`. Batches hold
    `tokens`, `targets` and `learned`, each `[row, position]`.
    """

    def total(self, model: nn.Module, ready: Batch, tap: Tap = UNTOUCHED) -> Float[Tensor, ""]:
        """Sum of the tokens' losses."""
        logits = tap("logits", model(ready["tokens"])).flatten(0, 1)
        if "positions" in ready:
            logits = logits[ready["positions"]]
        return cross_entropy(logits, ready["targets"], self.z_loss)

    def flops(self, model: nn.Module, batch: Batch) -> float:
        """Operations of a training step on a batch: of each weight of a matrix two for a token forward, four backward.

        Right for models that use each matrix once a token; vectors of tokens are looked up, not multiplied.
        """
        looked_up = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
        weights = [weight for weight in model.parameters() if weight.dim() > 1 and id(weight) not in looked_up]
        return 6.0 * batch["tokens"].numel() * sum(weight.numel() for weight in weights)
