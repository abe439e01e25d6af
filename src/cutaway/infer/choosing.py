"""Choosing the next token of many completions, each with settings, a history and a source of randomness of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.infer.penalties import History
from cutaway.infer.sampling import draw, likeliest
from cutaway.infer.unfinished import Unfinished
from cutaway.runs import CutawayError


def choose(completions: Sequence[Unfinished], logits: Float[Tensor, "completion vocab"]) -> list[int | Exception]:
    """A token for each completion, or why there is none. Those with like settings are worked out together."""
    chosen: list[int | Exception] = [CutawayError("nothing was chosen")] * len(completions)
    groups: dict[tuple[object, bool], list[int]] = {}
    for i, completion in enumerate(completions):
        groups.setdefault((completion.sampling, completion.constraint is not None), []).append(i)
    for rows in groups.values():
        group = [completions[i] for i in rows]
        those = logits if len(rows) == len(logits) else logits[rows]
        for i, token in zip(rows, _attempt(group, those), strict=True):
            chosen[i] = token
    return chosen


def _attempt(group: Sequence[Unfinished], logits: Tensor) -> list[int | Exception]:
    """Tokens for a group; where that fails each is tried alone, so that the others go on."""
    try:
        return _together(group, logits)
    except Exception as error:
        if len(group) == 1:
            return [error]
        return [_attempt([one], logits[i : i + 1])[0] for i, one in enumerate(group)]


def _together(group: Sequence[Unfinished], logits: Tensor) -> list[int | Exception]:
    """Tokens for completions with the same settings."""
    sampling = group[0].sampling
    histories = [completion.history for completion in group if completion.history]
    history = History.joined(histories) if histories else None
    allowed = _allowed(group, logits)
    if sampling.temperature == 0:
        return list(likeliest(sampling.scores(logits, history, allowed)).tolist())
    shares = sampling.distribution(logits, history, allowed)
    return [_drawn(shares[i : i + 1], completion.generator) for i, completion in enumerate(group)]


def _drawn(shares: Tensor, generator: torch.Generator) -> int | Exception:
    """One completion's token. Its failure is its own: were the others tried again, they would draw something else."""
    try:
        return int(draw(shares, generator))
    except CutawayError as error:
        return error


def _allowed(group: Sequence[Unfinished], logits: Tensor) -> Tensor | None:
    """What their constraints leave, `[completion, vocab]`; None where they leave everything."""
    masks = [completion.constraint.mask() if completion.constraint else None for completion in group]
    if all(mask is None for mask in masks):
        return None
    everything = torch.ones(logits.shape[-1], dtype=torch.bool, device=logits.device)
    return torch.stack([everything if mask is None else mask.to(logits.device) for mask in masks])
