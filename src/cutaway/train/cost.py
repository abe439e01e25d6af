"""How many operations training takes."""

from __future__ import annotations

from functools import cache

from cutaway.model import ModelConfig
from cutaway.model.anatomy import anatomy_of
from cutaway.model.flops import Flops, flops_of


def flops_per_token(config: ModelConfig, length: int, *, learned: float = 1.0) -> float:
    """Operations of a training step for one token of a row of `length`: forward, and twice that backward.

    As `cutaway.model.flops` counts them, but the unembedding only for the share of tokens that is `learned`. Of an
    encoder–decoder, a token of its target, what is read of a source of the same length not included.
    """
    once = forward_flops(config, length)[-1]
    return 3 * (once.forward - (1 - learned) * once.unembedding)


@cache
def forward_flops(config: ModelConfig, length: int) -> tuple[Flops, ...]:
    """Operations forward for one token, as `cutaway.model.flops.flops_of` gives them."""
    return flops_of(anatomy_of(config), length)
