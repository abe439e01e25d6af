"""A pass through depth: what the model would say after each block, its stream's length there, and blocks left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cutaway.infer.trace import Trace
from cutaway.model.taps import Change
from cutaway.runs import BadInput


@dataclass(frozen=True)
class Stage:
    """What there is to say of the residual stream at one depth, position by position.

    Attributes:
        name: the tensor that is read.
        likeliest: the token that the final norm and the unembedding read off it (the logit lens).
        shares: that token's probability.
        answers: the probability of the tokens that were asked about.
        norms: the length of the stream's vector.
    """

    name: str
    likeliest: Int[Tensor, " position"]
    shares: Float[Tensor, " position"]
    answers: Float[Tensor, " position"]
    norms: Float[Tensor, " position"]


@torch.no_grad()
def through_depth(trace: Trace, answers: Int[Tensor, " position"]) -> Iterator[Stage]:
    """The stream before the first block and after each, in their order; the last stage is what the model says.

    `answers` has a token for each position, whose probability is followed. One stage's logits are held at a time.
    """
    model = trace.model
    names = ["blocks.0.hook_resid_pre", *(f"blocks.{i}.hook_resid_post" for i in range(model.config.n_layers))]
    stream = trace.get(names)
    for name in names:
        now = stream[name][0]
        last = name == names[-1]
        logits = trace.logits[0] if last else model.logits(model.ln_final(now) if model.ln_final else now)
        shares = logits.float().softmax(-1)
        best = shares.max(-1)
        followed = shares.gather(-1, answers[:, None])[:, 0]
        yield Stage(name, best.indices, best.values, followed, now.float().norm(dim=-1))


def without_blocks(n_layers: int, blocks: Iterable[int]) -> dict[str, Change]:
    """Changes by which the stream goes past some blocks as it came to them.

    Raises:
        BadInput: the model has no such block.
    """
    changes: dict[str, Change] = {}
    for block in blocks:
        if not 0 <= block < n_layers:
            raise BadInput(f"there is no block {block} to leave out; blocks go from 0 to {n_layers - 1}")
        changes |= _past(block)
    return changes


def _past(block: int) -> dict[str, Change]:
    came: list[Tensor] = []

    def keep(stream: Tensor) -> Tensor:
        came[:] = [stream]
        return stream

    return {f"blocks.{block}.hook_resid_pre": keep, f"blocks.{block}.hook_resid_post": lambda _: came[0]}
