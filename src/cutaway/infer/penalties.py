"""Making tokens less likely, or likelier, by what was said before, and by name."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cutaway.runs import BadInput

Biases = tuple[tuple[int, float], ...]
"""Tokens and what is added to the logit of each."""


class History:
    """What some sequences have read and written, as penalties count it.

    Attributes:
        read: whether a token stands in the prompt, `[batch, vocab]`.
        written: how often it has been written since, `[batch, vocab]`.
    """

    def __init__(self, read: Bool[Tensor, "batch vocab"], written: Float[Tensor, "batch vocab"]) -> None:
        self.read = read
        self.written = written

    @classmethod
    def of(cls, prompts: Sequence[Sequence[int]], vocab: int, device: str | torch.device | None = None) -> History:
        """Of sequences that have read these prompts and written nothing yet."""
        read = torch.zeros(len(prompts), vocab, dtype=torch.bool)
        for row, prompt in zip(read, prompts, strict=True):
            row[list(prompt)] = True
        return cls(read.to(device), torch.zeros(len(prompts), vocab, device=device))

    @classmethod
    def joined(cls, histories: Sequence[History]) -> History:
        """Several as one batch, in this order."""
        return cls(torch.cat([each.read for each in histories]), torch.cat([each.written for each in histories]))

    def add(self, tokens: Int[Tensor, " batch"]) -> None:
        """Count the token that each sequence has written now."""
        tokens = tokens.to(self.written.device)[:, None]
        self.written.scatter_add_(1, tokens, torch.ones_like(tokens, dtype=self.written.dtype))

    def keep(self, rows: Tensor) -> None:
        """Go on with only these sequences (row indices, or which)."""
        self.read, self.written = self.read[rows], self.written[rows]

    def followed_by(self, tokens: Sequence[int]) -> History:
        """One sequence's, before each of the tokens that it may write next and after all: `[tokens + 1, vocab]`."""
        more = torch.zeros(len(tokens) + 1, self.written.shape[1], device=self.written.device)
        for place, token in enumerate(tokens):
            more[place + 1 :, token] += 1
        return History(self.read.expand(len(tokens) + 1, -1), self.written + more)


def penalised(
    logits: Float[Tensor, "batch vocab"], history: History, *, repetition: float, presence: float, frequency: float
) -> Float[Tensor, "batch vocab"]:
    """Logits with what has been said made less likely.

    A token that has been read or written has its logit l divided by `repetition` where l > 0 and multiplied by it where
    l < 0 (Keskar et al. 2019, section 4.1, with the correction for negative logits that is usual since). Then
    l - frequency · c - presence · [c > 0], where c is how often it has been written (OpenAI's definition).
    """
    if repetition != 1:
        changed = torch.where(logits < 0, logits * repetition, logits / repetition)
        logits = torch.where(history.read | (history.written > 0), changed, logits)
    return logits - frequency * history.written - presence * (history.written > 0)


def biased(logits: Float[Tensor, "batch vocab"], biases: Biases) -> Float[Tensor, "batch vocab"]:
    """Logits with `biases` added to those of the tokens they name. Raises `BadInput` where there is no such token."""
    tokens = [token for token, _ in biases]
    if max(tokens) >= logits.shape[-1]:
        raise BadInput(f"logit_bias names token {max(tokens)}; the model's tokens go from 0 to {logits.shape[-1] - 1}")
    added = torch.zeros(logits.shape[-1], device=logits.device)
    added[tokens] = torch.tensor([bias for _, bias in biases], dtype=added.dtype, device=logits.device)
    return logits + added
