"""Keys and values of the tokens already read, so that each new token costs one position and not all of them."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from cutaway.model.config import ModelConfig

FIRST_ROOM = 512
"""Tokens there is room for at first."""
KeysAndValues = tuple[Float[Tensor, "batch kv_head key d_head"], Float[Tensor, "batch kv_head key d_head"]]


class KVCache:
    """Room for `batch` sequences of up to `capacity` tokens, which grows as they do.

    Sequences of different lengths are padded on the left: `starts[b]` is where sequence b begins, its first token has
    position 0, and nothing attends to what lies before. Of an encoder–decoder it also keeps what the decoder reads of
    the encoder's output, once that has been worked out.
    """

    def __init__(
        self,
        config: ModelConfig,
        batch: int,
        capacity: int,
        starts: Int[Tensor, " batch"] | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        device = torch.get_default_device() if device is None else device
        self.length = 0
        self.capacity = capacity
        self.starts = torch.zeros(batch, dtype=torch.long, device=device) if starts is None else starts
        self.padded = starts is not None and bool(starts.any())
        shape = (batch, config.n_kv_heads, capacity, config.d_head)
        self.layers = [LayerCache(self, shape, device, dtype) for _ in range(config.n_layers)]
        self.cross = [FixedCache() for _ in range(config.n_layers)] if config.kind == "encoder-decoder" else []

    def next_columns(self, length: int) -> Int[Tensor, " position"]:
        """Columns of the batch that the next `length` tokens take."""
        return torch.arange(self.length, self.length + length, device=self.starts.device)

    def positions(self, columns: Int[Tensor, " position"]) -> Int[Tensor, "*batch position"]:
        """Positions of those columns: `[position]`, or `[batch, position]` when padded."""
        return (columns - self.starts[:, None]).clamp(min=0) if self.padded else columns

    def present(self, columns: Int[Tensor, " key"]) -> Bool[Tensor, "batch key"] | None:
        """False where a column is padding; None where there is none."""
        return columns >= self.starts[:, None] if self.padded else None

    def advance(self, length: int) -> None:
        """Count `length` more tokens as read."""
        self.length += length

    def truncate(self, length: int) -> None:
        """Forget all columns from `length` on; what is read next takes their place."""
        self.length = min(length, self.length)

    def keep(self, rows: Tensor) -> None:
        """Go on with only these sequences (row indices, each as often as it is named), for example when some ended."""
        self.starts = self.starts[rows]
        for layer in (*self.layers, *self.cross):
            layer.keep(rows)


class LayerCache:
    """One layer's keys and values, each `[batch, kv_head, capacity, d_head]`."""

    fixed = False

    def __init__(self, cache: KVCache, shape: tuple[int, ...], device: str | torch.device, dtype: torch.dtype) -> None:
        self.cache = cache
        batch, heads, capacity, d_head = shape
        shape = (batch, heads, min(capacity, FIRST_ROOM), d_head)
        self.k = torch.zeros(shape, device=device, dtype=dtype)
        self.v = torch.zeros(shape, device=device, dtype=dtype)

    def append(self, k: Tensor, v: Tensor) -> KeysAndValues:
        """Store the new keys and values; return all that there are."""
        start, end = self.cache.length, self.cache.length + k.shape[2]
        if end > (room := self.k.shape[2]):
            # By doubling, so that all copies together cost no more than the last.
            more = (0, 0, 0, max(end, min(2 * room, self.cache.capacity)) - room)
            self.k, self.v = F.pad(self.k, more), F.pad(self.v, more)
        self.k[:, :, start:end] = k
        self.v[:, :, start:end] = v
        return self.k[:, :, :end], self.v[:, :, :end]

    def keep(self, rows: Tensor) -> None:
        """Go on with only these sequences."""
        self.k, self.v = self.k[rows], self.v[rows]


class FixedCache(LayerCache):
    """What cross-attention reads: worked out once, then the same for every token."""

    fixed = True

    def __init__(self) -> None:
        self.k = self.v = torch.empty(0)

    def append(self, k: Tensor, v: Tensor) -> KeysAndValues:
        """Keep these."""
        self.k, self.v = k, v
        return k, v

    @property
    def filled(self) -> bool:
        """Whether anything is kept yet."""
        return self.k.numel() > 0
