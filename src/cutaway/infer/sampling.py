"""From logits to the next token."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cutaway.infer.penalties import Biases, History, biased, penalised
from cutaway.runs import BadInput, CutawayError

DAMAGED = "the model gives no token a probability; its weights may be damaged"
COLDEST = 1e-30
"""Temperatures below are taken for this, so that no quotient of a logit leaves the range of float32."""


@dataclass(frozen=True)
class Sampling:
    """How to choose the next token. The defaults draw with the model's own probabilities.

    What is set is applied in this order, which is that of `transformers`: `logit_bias`, `repetition_penalty`,
    `frequency_penalty` and `presence_penalty`, what a grammar allows, `temperature`, `top_k`, `top_p`, `min_p`,
    `typical_p`. Each of the last four looks at what those before it have left, shared out anew. Raises `BadInput` for
    values that mean nothing. The same `seed` gives the same text.

    Attributes:
        temperature: logits are divided by it; 0 takes the likeliest token.
        top_p: keeps the fewest of the likeliest tokens whose probabilities reach this share (nucleus sampling,
            Holtzman et al. 2020); 1 keeps all, 0 the likeliest.
        top_k: keeps so many of the likeliest tokens (Fan et al. 2018), and those as likely as the last; 0 keeps all.
        seed: where the randomness begins; None for somewhere new each time.
        min_p: keeps tokens at least this many times as likely as the likeliest (Nguyen et al. 2024); 0 keeps all.
        typical_p: keeps the tokens whose surprise is nearest to the entropy, the fewest whose probabilities reach this
            share (Meister et al. 2023); 1 keeps all.
        repetition_penalty: divides the positive logits and multiplies the negative ones of all tokens in prompt and
            answer (Keskar et al. 2019); 1 changes nothing.
        presence_penalty: taken off the logits of tokens in the answer (OpenAI's definition).
        frequency_penalty: taken off as many times as the token stands in the answer.
        logit_bias: what is added to the logits of some tokens, by id; -100 all but forbids one.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] | Biases = ()

    def __post_init__(self) -> None:
        # As a tuple, so that settings can be compared and be the key of a group of rows.
        biases: Biases = tuple(sorted(dict(self.logit_bias).items()))
        object.__setattr__(self, "logit_bias", biases)
        for name, value, low, high in (
            ("temperature", self.temperature, 0.0, 100.0),
            ("top_p", self.top_p, 0.0, 1.0),
            ("top_k", self.top_k, 0, 2**31),
            ("min_p", self.min_p, 0.0, 1.0),
            ("typical_p", self.typical_p, 0.0, 1.0),
            ("repetition_penalty", self.repetition_penalty, 0.01, 100.0),
            ("presence_penalty", self.presence_penalty, -2.0, 2.0),
            ("frequency_penalty", self.frequency_penalty, -2.0, 2.0),
            *((f"the logit_bias of token {token}", bias, -100.0, 100.0) for token, bias in biases),
            *(("a token of logit_bias", token, 0, math.inf) for token, _ in biases),
        ):
            if not low <= value <= high:
                raise BadInput(f"{name} is {value}; it must lie between {low} and {high}")
        if self.top_k != int(self.top_k):
            raise BadInput(f"top_k is {self.top_k}; it must be a whole number")

    def generator(self) -> torch.Generator:
        """A source of randomness for one generation."""
        generator = torch.Generator()
        if self.seed is None:
            generator.seed()
        else:
            generator.manual_seed(self.seed % 2**63)
        return generator

    def history(
        self, prompts: Sequence[Sequence[int]], vocab: int, device: str | torch.device | None = None
    ) -> History | None:
        """What sequences that have read these prompts must keep count in; None if nothing depends on it."""
        looks_back = self.repetition_penalty != 1 or self.presence_penalty != 0 or self.frequency_penalty != 0
        return History.of(prompts, vocab, device) if looks_back else None

    def scores(
        self,
        logits: Float[Tensor, "batch vocab"],
        history: History | None = None,
        allowed: Bool[Tensor, "batch vocab"] | None = None,
    ) -> Float[Tensor, "batch vocab"]:
        """Logits after biases, penalties and what is allowed; `history` must be given where `self.history` made one."""
        logits = logits.float()
        if self.logit_bias:
            logits = biased(logits, tuple(dict(self.logit_bias).items()))
        if history is not None:
            logits = penalised(
                logits,
                history,
                repetition=self.repetition_penalty,
                presence=self.presence_penalty,
                frequency=self.frequency_penalty,
            )
        return logits if allowed is None else logits.masked_fill(~allowed.to(logits.device), -torch.inf)

    def distribution(
        self,
        logits: Float[Tensor, "batch vocab"],
        history: History | None = None,
        allowed: Bool[Tensor, "batch vocab"] | None = None,
    ) -> Float[Tensor, "batch vocab"]:
        """The probabilities that a token is drawn with."""
        logits = self.scores(logits, history, allowed)
        if self.temperature == 0:
            return torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
        probabilities = (logits / max(self.temperature, COLDEST)).softmax(-1)
        if 0 < self.top_k < logits.shape[-1]:
            least = probabilities.topk(self.top_k).values[..., -1:]
            probabilities = probabilities * (probabilities >= least)
        if self.top_p < 1:
            probabilities = nucleus(probabilities, self.top_p)
        if self.min_p > 0:
            probabilities = probabilities * (probabilities >= self.min_p * probabilities.amax(-1, keepdim=True))
        if self.typical_p < 1:
            probabilities = typical(probabilities, self.typical_p)
        return probabilities / probabilities.sum(-1, keepdim=True)

    def choose(
        self,
        logits: Float[Tensor, "batch vocab"],
        generator: torch.Generator,
        history: History | None = None,
        allowed: Bool[Tensor, "batch vocab"] | None = None,
    ) -> Int[Tensor, " batch"]:
        """Draw one token for each row. `history` is not changed."""
        if self.temperature == 0:
            return likeliest(self.scores(logits, history, allowed))
        return draw(self.distribution(logits, history, allowed), generator)


def likeliest(scores: Float[Tensor, "batch vocab"]) -> Int[Tensor, " batch"]:
    """The token with the highest score of each row. Raises `CutawayError` where that is no number."""
    best = scores.max(-1)
    if not bool(best.values.isfinite().all()):
        raise CutawayError(DAMAGED)
    return best.indices


def draw(probabilities: Float[Tensor, "batch vocab"], generator: torch.Generator) -> Int[Tensor, " batch"]:
    """One token for each row. Raises `CutawayError` where the probabilities are no numbers, or all zero."""
    # By the inverse of the distribution function: one random number a row, where `multinomial` draws one a token.
    cumulative = probabilities.cumsum(-1, dtype=torch.float64)
    total = cumulative[:, -1:]
    if not bool((total > 0).all()):
        raise CutawayError(DAMAGED)
    drawn = torch.rand(len(total), 1, generator=generator, dtype=torch.float64, device=generator.device)
    drawn = drawn.to(cumulative.device) * total
    return torch.searchsorted(cumulative, drawn, right=True).squeeze(-1).clamp(max=probabilities.shape[-1] - 1)


def nucleus(probabilities: Float[Tensor, "batch vocab"], share: float) -> Float[Tensor, "batch vocab"]:
    """The fewest of the likeliest tokens that make up `share` of the whole (Holtzman et al. 2020), the others 0."""
    ordered, order = probabilities.sort(descending=True)
    before = ordered.cumsum(-1) - ordered
    # A token stays while those likelier than it have not yet filled the nucleus; the first one always does.
    ordered = ordered * ((before < share * ordered.sum(-1, keepdim=True)) | (before == 0))
    return torch.zeros_like(ordered).scatter(-1, order, ordered)


def typical(probabilities: Float[Tensor, "batch vocab"], share: float) -> Float[Tensor, "batch vocab"]:
    """The tokens whose surprise is nearest to the entropy, the fewest that make up `share`, the others 0.

    That is locally typical sampling (Meister et al. 2023, eq. 9): in the order of |-log p - H|, where H is the expected
    surprise, until their probabilities reach `share`. Tokens as near as the last one stay too.
    """
    shares = probabilities / probabilities.sum(-1, keepdim=True)
    entropy = torch.special.entr(shares).sum(-1, keepdim=True)
    distance = (-shares.log() - entropy).abs()
    nearest, order = distance.sort()
    reached = shares.gather(-1, order).cumsum(-1)
    last = (reached < share).sum(-1, keepdim=True).clamp(max=shares.shape[-1] - 1)
    return probabilities * (distance <= nearest.gather(-1, last))


GREEDY = Sampling(temperature=0.0)
