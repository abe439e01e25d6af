"""What each query may read: causal, padded, windowed or block-sparse masks, and biases by distance."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cutaway.model.config import Sparsity


@dataclass(frozen=True)
class Reach:
    """The keys that queries may read, in the form in which attention is fastest.

    `mask` broadcasts to `[batch, head, query, key]`: True where a key may be read, or numbers to add to the scores;
    None where all may be, or with `causal` all up to the query's own.
    """

    mask: Tensor | None = None
    causal: bool = False

    def explicit(self, n_queries: int, n_keys: int, device: torch.device) -> Tensor | None:
        """The mask alone, for those who work the scores out themselves."""
        if self.causal:
            return causal(torch.arange(n_queries, device=device), torch.arange(n_keys, device=device))
        return self.mask


EVERYTHING = Reach()


def reach(
    queries: Int[Tensor, " query"],
    keys: Int[Tensor, " key"],
    *,
    both_ways: bool,
    sparsity: Sparsity | None = None,
    present: Bool[Tensor, "batch key"] | None = None,
    bias: Float[Tensor, "head query key"] | None = None,
) -> Reach:
    """The reach of `queries`, columns of the batch, among `keys`; `present` is False where a key is padding."""
    if sparsity and sparsity.kind == "window" and len(keys) <= sparsity.width:
        sparsity = None
    if sparsity is None and present is None and bias is None:
        if both_ways or len(queries) == 1:
            return EVERYTHING
        if len(queries) == len(keys):
            return Reach(causal=True)
    mask = torch.ones(len(queries), len(keys), dtype=torch.bool, device=keys.device)
    if not both_ways:
        mask = causal(queries, keys)
    if sparsity:
        mask = mask & sparse(queries, keys, sparsity)
    if present is not None:
        # A padding row sees itself, so that its softmax is not over nothing; no real token ever reads it.
        mask = (mask & present[:, None, :] | (queries[:, None] == keys))[:, None]
    if bias is not None:
        return Reach(bias.masked_fill(~mask, -torch.inf))
    return Reach(mask)


def causal(queries: Int[Tensor, " query"], keys: Int[Tensor, " key"]) -> Bool[Tensor, "query key"]:
    """Each token reads itself and those before it."""
    return keys <= queries[:, None]


def sparse(queries: Int[Tensor, " query"], keys: Int[Tensor, " key"], sparsity: Sparsity) -> Bool[Tensor, "query key"]:
    """The keys that local attention leaves, in both directions."""
    q, k = queries[:, None], keys[None, :]
    if sparsity.kind == "window":
        near = (q - k).abs() < sparsity.width
        return near | (k < sparsity.global_tokens) | (q < sparsity.global_tokens)
    own = q // sparsity.width == k // sparsity.width
    return own | (k % sparsity.width >= sparsity.width - sparsity.global_tokens)
