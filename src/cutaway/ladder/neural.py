"""What all neural language models of the ladder share: a softmax, and reading on from where they stopped.

A network gives a real number for each token of the vocabulary, a logit; the softmax makes a distribution of them,

    P(w | the tokens before) = exp(logit_w) / sum_v exp(logit_v),

and training raises the logit of the token that came. They differ in what they keep of the past: the last few tokens, or
a vector of fixed size that each token changes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cutaway.ladder.protocol import Floats, checked

READ_AT_ONCE = 1024
"""Tokens of a long text that are read together, so that their logits need little room."""


class NeuralModel(nn.Module):
    """A language model over token ids 0 .. vocab_size - 1 that is trained by gradient."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.vocab_size = vocab_size

    def read(
        self, tokens: Int[Tensor, "row position"], past: Any = None
    ) -> tuple[Float[Tensor, "row position vocab"], Any]:
        """Logits of the token after each of `tokens`, and what is kept of all that was read.

        Given as `past` to the next call, that lets it go on as if both had been one text. None: a text begins.
        """
        raise NotImplementedError

    def forward(self, tokens: Int[Tensor, "row position"]) -> Float[Tensor, "row position vocab"]:
        """Logits of the token after each of `tokens`, with which each row begins."""
        return self.read(tokens)[0]

    @torch.inference_mode()
    def log_probs(self, sequence: npt.ArrayLike) -> Floats:
        """Natural-log probability of each token given all those before it, `[tokens]`; the first one's is the uniform.

        Raises:
            BadInput: a token outside the vocabulary.
        """
        tokens = self._tensor(sequence)
        found = [torch.full((min(1, len(tokens)),), -float(np.log(self.vocab_size)), dtype=torch.double)]
        past = None
        for start in range(0, len(tokens) - 1, READ_AT_ONCE):
            targets = tokens[start + 1 : start + 1 + READ_AT_ONCE]
            logits, past = self.read(tokens[start : start + len(targets)][None], past)
            found.append(logits[0].double().log_softmax(-1).gather(1, targets[:, None])[:, 0].cpu())
        return torch.cat(found).numpy()

    @torch.inference_mode()
    def probabilities(self, context: npt.ArrayLike) -> Floats:
        """The distribution of the token after `context` (`[tokens]`), `[vocab_size]`; after nothing, the uniform.

        Raises:
            BadInput: a token outside the vocabulary.
        """
        tokens = self._tensor(context)
        if not len(tokens):
            return np.full(self.vocab_size, 1.0 / self.vocab_size)
        return self.read(tokens[None])[0][0, -1].double().softmax(-1).cpu().numpy()

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device

    def _tensor(self, sequence: npt.ArrayLike) -> Int[Tensor, " token"]:
        return torch.from_numpy(checked(sequence, self.vocab_size)).to(self.device)
