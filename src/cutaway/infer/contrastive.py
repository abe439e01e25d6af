"""Contrastive search: likely tokens that do not say again what has been said (Su et al. 2022)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from cutaway.infer.generate import Session, Step, TextStream, step_of
from cutaway.infer.sampling import DAMAGED
from cutaway.runs import BadInput, CutawayError
from cutaway.tokens import Tokenizer

MOST_CANDIDATES = 256


@dataclass(frozen=True)
class Contrast:
    """How much contrast. Raises `BadInput` for values that mean nothing.

    Attributes:
        penalty: α of the paper, what likeness counts for against probability: 0 is greedy.
        candidates: k of the paper, among how many of the likeliest tokens to choose: 1 is greedy.
    """

    penalty: float = 0.6
    candidates: int = 4

    @property
    def rows(self) -> int:
        """Sequences that go through the model at once."""
        return self.candidates

    def __post_init__(self) -> None:
        if not 0 <= self.penalty <= 1:
            raise BadInput(f"the penalty of contrastive search is {self.penalty}; it must lie between 0 and 1")
        if not 1 <= self.candidates <= MOST_CANDIDATES:
            raise BadInput(
                f"contrastive search among {self.candidates} tokens; it must be between 1 and {MOST_CANDIDATES}"
            )


def contrastive_search(
    tokenizer: Tokenizer,
    session: Session,
    read: Float[Tensor, "position d_model"],
    contrast: Contrast,
    *,
    max_tokens: int,
    stop_ids: Collection[int],
    top: int = 0,
) -> Iterator[Step]:
    """Write on from what `session` has read until a stop token, `max_tokens`, or a full context.

    Of the k likeliest tokens v, the one with the highest (1 - α) p(v) - α max_j cos(h_v, h_j) (eq. 5): h_v is the last
    hidden state with which the model reads v, h_j those of all tokens before; at first they are those of `read`.
    """
    text = TextStream(tokenizer)
    said = directions(read)
    for _ in range(min(max_tokens, session.room)):
        chances, tokens = session.logits[0].float().softmax(-1).topk(min(contrast.candidates, session.logits.shape[-1]))
        if not bool(chances[0].isfinite()):
            raise CutawayError(DAMAGED)
        hidden = read_apart(session, tokens)
        toward = directions(hidden)
        likeness = (toward @ said.T).amax(-1)
        chosen = int(((1 - contrast.penalty) * chances - contrast.penalty * likeness).argmax())
        token = int(tokens[chosen])
        yield step_of(session, token, text.add(token), top)
        if token in stop_ids:
            return
        settle(session, chosen, token, hidden)
        said = torch.cat([said, toward[chosen : chosen + 1]])


def directions(hidden: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
    """Hidden states at length one, so that their products are cosines."""
    return F.normalize(hidden.float(), dim=-1)


@torch.inference_mode()
def read_apart(session: Session, tokens: Int[Tensor, " token"]) -> Float[Tensor, "token d_model"]:
    """The last hidden states of several tokens, each read as the next one, in a row of the cache of its own."""
    session.cache.keep(torch.zeros_like(tokens))
    return session.model.hidden(tokens[:, None], memory=session.memory, cache=session.cache)[:, 0]


@torch.inference_mode()
def settle(session: Session, row: int, token: int, hidden: Float[Tensor, "token d_model"]) -> None:
    """Go on from one of the tokens that were read apart."""
    session.cache.keep(torch.tensor([row]))
    session.ids.append(token)
    session.logits = session.model.logits(hidden[row : row + 1])
