"""Surprise: how many bits a model needs for each token of a text, -log2 of the probability that it gave it.

Its mean is the loss that a language model is trained on (in nats there); its sum, over the text's bytes, is bits per
byte; two to the power of its mean is the perplexity.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.model import Transformer
from cutaway.runs import BadInput

AT_ONCE = 1 << 13
"""Tokens that are read at once."""


@torch.inference_mode()
def surprise(model: Transformer, tokens: Sequence[int]) -> Float[Tensor, " token"]:
    """Bits of each token after the first, predicted from all that stand before it."""
    logits = model(torch.tensor([tokens]))[0, :-1].float()
    return -logits.log_softmax(-1).gather(-1, torch.tensor(tokens[1:], dtype=torch.long)[:, None])[:, 0] / log(2)


@torch.inference_mode()
def surprise_within(model: Transformer, tokens: Sequence[int], window: int, last: int) -> Float[Tensor, " token"]:
    """Bits of each of the `last` tokens, predicted from no more than the `window` tokens before it.

    Each is read in a window of its own that begins at position 0: a token outside has no way in, not even through what
    others have read of it.

    Raises:
        BadInput: there are not so many tokens.
    """
    if not (last >= 1 and window >= 1 and window + last <= len(tokens)):
        raise BadInput(f"of {len(tokens)} tokens, the last {last} cannot each be read with {window} before them")
    ids = torch.tensor(tokens)
    found: list[Tensor] = []
    for some in torch.arange(len(ids) - last, len(ids)).split(max(1, AT_ONCE // window)):
        rows = ids[some[:, None] + torch.arange(-window, 0)]
        logits = model.logits(model.hidden(rows)[:, -1]).float()
        found.append(-logits.log_softmax(-1).gather(-1, ids[some][:, None])[:, 0] / log(2))
    return torch.cat(found)
