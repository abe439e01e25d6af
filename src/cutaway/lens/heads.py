"""What attention heads do: where they look in random tokens that are read twice, and the surprise without one of them.

In the second reading everything can be foretold, if a model looks for what followed the same token before. Heads that
do are induction heads (Olsson et al. 2022, "In-context Learning and Induction Heads").
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from cutaway.infer.trace import Trace
from cutaway.model import Transformer
from cutaway.runs import BadInput


@dataclass(frozen=True)
class Repeated:
    """Random tokens, twice.

    Attributes:
        tokens: all of them, with what a text begins with.
        start: the position of the first random one.
        period: how many there are before they come again.
    """

    tokens: tuple[int, ...]
    start: int
    period: int

    @property
    def again(self) -> int:
        """The position at which they begin to come again."""
        return self.start + self.period


def repeated(candidates: Sequence[int], period: int, seed: int, before: Sequence[int] = ()) -> Repeated:
    """`period` different tokens out of `candidates`, drawn from `seed`, twice, after what stands `before` every text.

    Raises:
        BadInput: there are not so many candidates.
    """
    if not 3 <= period <= len(candidates):
        raise BadInput(f"{period} different tokens cannot be drawn out of {len(candidates)}; ask for 3 to as many")
    drawn = random.Random(seed).sample(list(candidates), period)
    return Repeated((*before, *drawn, *drawn), len(before), period)


@dataclass(frozen=True)
class Looks:
    """The share of its attention that each head gives to one kind of place in the second reading, `[layer, head]`.

    Attributes:
        previous: the position before.
        first: the text's first position.
        itself: the position that looks.
        duplicate: where the same token stood the first time.
        induction: the position after that.
    """

    previous: Float[Tensor, "layer head"]
    first: Float[Tensor, "layer head"]
    itself: Float[Tensor, "layer head"]
    duplicate: Float[Tensor, "layer head"]
    induction: Float[Tensor, "layer head"]


def looks(trace: Trace, text: Repeated) -> Looks:
    """Where all heads look in the second reading, on average over its positions but its first.

    There these are five different places, so that what is left of 1 goes to others.
    """
    names = [f"blocks.{i}.attn.hook_pattern" for i in range(trace.model.config.n_layers)]
    found = trace.get(names)
    # Not the first of the second reading: where nothing stands before the tokens, its own was at position 0.
    queries = torch.arange(text.again + 1, len(text.tokens))

    def mean(keys: Tensor) -> Tensor:
        return torch.stack([found[name][0, :, queries, keys].float().mean(-1) for name in names])

    return Looks(
        previous=mean(queries - 1),
        first=mean(torch.zeros_like(queries)),
        itself=mean(queries),
        duplicate=mean(queries - text.period),
        induction=mean(queries - text.period + 1),
    )


@torch.no_grad()
def surprise_without(
    model: Transformer, tokens: Sequence[int], layer: int, heads: Sequence[int]
) -> Float[Tensor, "head token"]:
    """Bits of each token after the first, once for each of these heads with nothing written by it (zero ablation).

    Raises:
        BadInput: the model has no such head.
    """
    config = model.config
    if not 0 <= layer < config.n_layers:
        raise BadInput(f"there is no block {layer}; blocks go from 0 to {config.n_layers - 1}")
    wrong = next((head for head in heads if not 0 <= head < config.n_heads), None)
    if wrong is not None:
        raise BadInput(f"there is no head {wrong}; heads go from 0 to {config.n_heads - 1}")

    def ablate(z: Tensor) -> Tensor:
        z = z.clone()
        z[torch.arange(len(heads)), :, torch.tensor(heads)] = 0
        return z

    batch = torch.tensor([tokens]).expand(len(heads), -1)
    logits = Trace(model, batch, replace={f"blocks.{layer}.attn.hook_z": ablate}).logits[:, :-1].float()
    return F.cross_entropy(logits.mT, batch[:, 1:], reduction="none") / log(2)
