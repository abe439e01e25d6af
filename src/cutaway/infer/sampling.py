"""From logits to the next token."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cutaway.runs import BadInput


@dataclass(frozen=True)
class Sampling:
    """How to choose the next token.

    `temperature` 0 takes the likeliest; `top_k` 0 and `top_p` 1 leave every token in (nucleus sampling: Holtzman et al.
    2020). The same `seed` gives the same text. Raises `BadInput` for values that mean nothing.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("temperature", self.temperature, 0.0, 100.0),
            ("top_p", self.top_p, 0.0, 1.0),
            ("top_k", self.top_k, 0, 2**31),
        ):
            if not low <= value <= high:
                raise BadInput(f"{name} is {value}; it must lie between {low} and {high}")

    def generator(self) -> torch.Generator:
        """A source of randomness for one generation."""
        generator = torch.Generator()
        if self.seed is None:
            generator.seed()
        else:
            generator.manual_seed(self.seed % 2**63)
        return generator

    def distribution(self, logits: Float[Tensor, "batch vocab"]) -> Float[Tensor, "batch vocab"]:
        """The probabilities that a token is drawn with. Temperature first, then top-k, then top-p."""
        if self.temperature == 0:
            return torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
        probabilities = (logits / self.temperature).softmax(-1)
        if 0 < self.top_k < logits.shape[-1]:
            least = probabilities.topk(self.top_k).values[..., -1:]
            probabilities = probabilities * (probabilities >= least)
        if self.top_p < 1:
            ordered, order = probabilities.sort(descending=True)
            before = ordered.cumsum(-1) - ordered
            # A token stays while those likelier than it have not yet filled the nucleus; the first one always does.
            ordered = ordered * ((before < self.top_p * ordered.sum(-1, keepdim=True)) | (before == 0))
            probabilities = torch.zeros_like(ordered).scatter(-1, order, ordered)
        return probabilities / probabilities.sum(-1, keepdim=True)

    def choose(self, logits: Float[Tensor, "batch vocab"], generator: torch.Generator) -> Int[Tensor, " batch"]:
        """Draw one token for each row."""
        if self.temperature == 0:
            return logits.argmax(-1)
        # By the inverse of the distribution function: one random number a row, where `multinomial` draws one a token.
        cumulative = self.distribution(logits).cumsum(-1, dtype=torch.float64)
        drawn = torch.rand(len(logits), 1, generator=generator, dtype=torch.float64, device=generator.device)
        drawn = drawn.to(cumulative.device) * cumulative[:, -1:]
        return torch.searchsorted(cumulative, drawn, right=True).squeeze(-1).clamp(max=logits.shape[-1] - 1)


GREEDY = Sampling(temperature=0.0)
