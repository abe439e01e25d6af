"""Writing a translation when the source is all that is known: greedily, or by keeping several beginnings alive.

A model gives p(y_t | y_1 … y_{t−1}, x), and the translation wanted is that of the highest

    score(y) = 1/T^λ · Σ_t log p(y_t | y_1 … y_{t−1}, x)

There are too many to look at. A beam search keeps the best `width` beginnings: at each step all of their continuations
by one token are scored, and of these the best `width` are kept (Sutskever et al. 2014, section 3.2; Graves 2012). A
width of 1 is the greedy choice of each step's likeliest token. A sum of logarithms falls with every token, so without a
division by the length, λ = 0, short translations would win (Wu et al. 2016, section 7, has this and a refinement).
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Writer(Protocol):
    """A model that translates. What its `begin` and `step` hand on is its own, but for `rows`."""

    def begin(self, source: Int[Tensor, "row source"], present: Bool[Tensor, "row source"]) -> Any:
        """Translations of which nothing is written yet; its `rows(which)` are those of these numbers alone."""
        ...

    def step(self, writing: Any, tokens: Int[Tensor, " row"]) -> tuple[Float[Tensor, "row vocab"], Any]:
        """The logits of what comes after one token more of each."""
        ...


@torch.inference_mode()
def translate(
    writer: Writer,
    source: Int[Tensor, "row source"],
    present: Bool[Tensor, "row source"],
    *,
    start: int,
    end: int,
    most: int,
    width: int = 1,
    length_penalty: float = 1.0,
) -> list[list[int]]:
    """The best translation found of each source, without its end.

    Args:
        writer: the model, in evaluation mode.
        source: token ids.
        present: False where they are padding, which comes last.
        start: the token that makes the model begin.
        end: the token that ends a translation.
        most: tokens after which one is broken off; it is given only if none of its source's ended before.
        width: of the beam.
        length_penalty: λ.
    """
    n_rows = len(source)
    writing = writer.begin(source, present)
    # Every source has one beginning at first, and as many as the beam is wide from then on.
    tokens = source.new_full((n_rows, 1, 1), start)
    total = torch.zeros(n_rows, 1, device=source.device)
    length, ended = torch.zeros_like(total), torch.zeros_like(total, dtype=torch.bool)
    score = total
    for _ in range(most):
        logits, writing = writer.step(writing, tokens[..., -1].flatten())
        n_beams, vocab_size = tokens.shape[1], logits.shape[-1]
        logprobs = logits.float().log_softmax(-1).view(n_rows, n_beams, vocab_size)
        # What has ended stays as it is: it goes on by one more end, which costs nothing and adds nothing.
        stays = torch.full((vocab_size,), -torch.inf, device=source.device)
        stays[end] = 0.0
        totals = total[..., None] + torch.where(ended[..., None], stays, logprobs)
        lengths = length + ~ended
        scores = (totals / lengths[..., None] ** length_penalty).flatten(1)

        score, best = scores.topk(min(width, scores.shape[1]))
        beam, token = best // vocab_size, best % vocab_size
        tokens = torch.cat([tokens.take_along_dim(beam[..., None], 1), token[..., None]], dim=-1)
        total = totals.flatten(1).take_along_dim(best, 1)
        length, ended = lengths.take_along_dim(beam, 1), ended.take_along_dim(beam, 1) | (token == end)
        if bool(ended.all()):
            break
        writing = writing.rows((beam + n_beams * torch.arange(n_rows, device=beam.device)[:, None]).flatten())
    # One that ended goes before one that was broken off, whatever their scores; among equals the first is best.
    unended = (~ended).float() * 1e9
    chosen = (score.clamp(min=-1e8) - unended).argmax(1)
    found = tokens[torch.arange(n_rows, device=chosen.device), chosen, 1:].tolist()
    return [ids[: ids.index(end)] if end in ids else ids for ids in found]
