"""Cross-entropy, with the z-loss that keeps logits from drifting."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def cross_entropy(
    logits: Float[Tensor, "token vocab"], targets: Int[Tensor, " token"], z_loss: float = 0.0
) -> Float[Tensor, ""]:
    """Sum over tokens of −log softmax(logits)[target] + z_loss · log² Z, in nats.

    Z is the softmax's denominator, which the second term keeps near one (Chowdhery et al. 2022, section 5).
    """
    logits = logits.float()
    loss = F.cross_entropy(logits, targets, reduction="sum")
    return loss + z_loss * logits.logsumexp(-1).square().sum() if z_loss else loss
