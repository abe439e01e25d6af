"""Keys and values of the tokens already read, so that each new token costs one position and not all of them."""

from __future__ import annotations

import torch
from torch import Tensor

from cutaway.model.config import ModelConfig


class KVCache:
    """Room for `batch` sequences of up to `capacity` tokens.

    Sequences of different lengths are padded on the left: `starts[b]` is where sequence b begins, its first token has
    position 0, and nothing attends to what lies before.
    """

    def __init__(
        self, config: ModelConfig, batch: int, capacity: int, starts: Tensor | None = None, device: str = "cpu"
    ) -> None:
        shape = (batch, config.n_kv_heads, capacity, config.d_head)
        self.length = 0
        self.capacity = capacity
        self.starts = torch.zeros(batch, dtype=torch.long, device=device) if starts is None else starts
        self.padded = starts is not None and bool(starts.any())
        self.layers = [LayerCache(self, shape, device) for _ in range(config.n_layers)]

    def next_positions(self, length: int) -> Tensor:
        """Positions of the next `length` tokens of every sequence: `[position]`, or `[batch, position]` when padded."""
        columns = torch.arange(self.length, self.length + length, device=self.starts.device)
        return (columns - self.starts[:, None]).clamp(min=0) if self.padded else columns

    def mask(self, length: int) -> Tensor | None:
        """Which columns the next `length` queries may read, `[batch, 1, query, key]`; None where all of them may."""
        if length == 1 and not self.padded:
            return None
        total = self.length + length
        keys = torch.arange(total, device=self.starts.device)
        causal = keys <= keys[self.length :, None]
        if not self.padded:
            return causal
        # A padding row sees itself, so that its softmax is not over nothing; no real token ever reads it.
        own = keys == keys[self.length :, None]
        return (causal & (keys >= self.starts[:, None, None]))[:, None] | own

    def advance(self, length: int) -> None:
        """Count `length` more tokens as read."""
        self.length += length

    def keep(self, rows: Tensor) -> None:
        """Go on with only these sequences (row indices), for example when the others have ended."""
        self.starts = self.starts[rows]
        for layer in self.layers:
            layer.k, layer.v = layer.k[rows], layer.v[rows]


class LayerCache:
    """One layer's keys and values, each `[batch, kv_head, capacity, d_head]`."""

    def __init__(self, cache: KVCache, shape: tuple[int, ...], device: str) -> None:
        self.cache = cache
        self.k = torch.zeros(shape, device=device)
        self.v = torch.zeros(shape, device=device)

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Store the new keys and values; return all that there are, and the mask for the new queries."""
        start, end = self.cache.length, self.cache.length + k.shape[2]
        self.k[:, :, start:end] = k
        self.v[:, :, start:end] = v
        return self.k[:, :, :end], self.v[:, :, :end], self.cache.mask(k.shape[2])
