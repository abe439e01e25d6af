"""Masked language modelling: an encoder tells hidden tokens from those around them, on both sides."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cutaway.runs import BadInput
from cutaway.train.objectives.language import LanguageModelling
from cutaway.train.objectives.objective import Batch

HIDDEN, REPLACED = 0.8, 0.1
"""Of the chosen tokens: the share that the mask stands for, and the share that another token does."""


class MaskedFeed:
    """Rows in which some tokens are hidden as BERT does it (Devlin et al. 2018, section 3.1).

    Each token is chosen with probability `share`, for itself. A chosen one is what the model must tell; in what it
    reads, the mask stands in its place in 80 of 100 cases, a random token in 10, and itself in 10. Which are chosen is
    drawn anew in every step (RoBERTa, Liu et al. 2019, section 4.1), from `seed` and the step's number.

    Args:
        rows: token ids `[row, position]`, read from first to last, and then from the first again.
        seed: what the choice follows from.
        mask: id of the token that hides others.
        special: ids that are neither chosen nor put in another's place; the mask is one without being named.
        vocab_size: how many ids there are.
        share: of the tokens that are chosen.

    Raises:
        BadInput: there are no rows, or no ids but special ones, or the mask or `share` is out of range.
    """

    def __init__(
        self,
        rows: NDArray[np.integer[Any]],
        seed: int,
        *,
        mask: int,
        special: Collection[int],
        vocab_size: int,
        share: float = 0.15,
    ) -> None:
        if not len(rows):
            raise BadInput("there are no rows to hide tokens in; give more text, or shorter rows")
        if not 0 <= mask < vocab_size:
            raise BadInput(f"the mask's id {mask} is not in the vocabulary of {vocab_size:,}; add a token for it")
        if not 0 < share <= 1:
            raise BadInput(f"a share of {share} cannot be hidden; choose one above 0 and up to 1")
        self.rows, self.seed, self.mask, self.share = rows, seed, mask, share
        self.ordinary = np.setdiff1d(np.arange(vocab_size), [*special, mask])
        if not len(self.ordinary):
            raise BadInput(f"all {vocab_size:,} ids of the vocabulary are special; there is nothing to hide")
        self.is_ordinary = np.isin(np.arange(vocab_size), self.ordinary)

    def batch(self, step: int, size: int) -> Batch:
        """`tokens` as the model reads them, `targets` as they were, and which of them are to be `learned`, each
        `[row, position]`.
        """
        rng = np.random.default_rng([self.seed, step])
        targets = self.rows[np.arange(step * size, (step + 1) * size) % len(self.rows)].astype(np.int64)
        chosen = self.is_ordinary[targets] & (rng.random(targets.shape) < self.share)
        fate = rng.random(targets.shape)
        others = self.ordinary[rng.integers(len(self.ordinary), size=targets.shape)]
        tokens = np.where(chosen & (fate < HIDDEN), self.mask, targets)
        tokens = np.where(chosen & (fate >= 1 - REPLACED), others, tokens)
        return {
            "tokens": torch.from_numpy(tokens),
            "targets": torch.from_numpy(targets),
            "learned": torch.from_numpy(chosen),
        }


class MaskedModelling(LanguageModelling):
    """Cross-entropy of the chosen tokens, each from all that is left of its row.

    The loss of language modelling, at the tokens' own places: an encoder reads both ways, and what must be told is
    hidden in what it reads. So the batches are those of `MaskedFeed`, and the model has a `masked` head.
    """
