"""Keys and values of many sequences in pages of equal size, so that no sequence needs one long piece of memory.

A sequence has a list of pages, and page i holds its positions i·PAGE to i·PAGE + PAGE − 1 (Kwon et al. 2023,
PagedAttention). Sequences that begin alike may share their first pages.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cutaway.model import ModelConfig
from cutaway.runs import BadInput

PAGE = 16
"""Positions a page."""
NOTHING = 0
"""The page that is nobody's: it stands where a sequence's window has passed over a page that it gave back."""
DTYPES = (torch.float32, torch.bfloat16, torch.int8)


class Pages:
    """Room for `count` pages, and how many sequences use each.

    Attributes:
        k, v: one tensor a layer, `[page, kv_head, PAGE, d_head]`, float32, bfloat16 or int8.
        k_scale, v_scale: with int8, `[page, kv_head, PAGE]` float32 a layer: value = int8 · scale; else None.
    """

    def __init__(
        self,
        config: ModelConfig,
        count: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device | None = None,
    ) -> None:
        """Raises `BadInput` for no page at all, and for a dtype that keys are not kept in."""
        if count < 1:
            raise BadInput(f"a cache of {count} pages holds nothing; give it more memory")
        if dtype not in DTYPES:
            raise BadInput(f"keys and values are not kept as {dtype}; choose float32, bfloat16 or int8")
        self.count, self.dtype = count, dtype
        self.device = torch.get_default_device() if device is None else torch.device(device)
        # Zeros are not touched until they are written, so that on most systems unused pages take no memory.
        shape = (1 + count, config.n_kv_heads, PAGE, config.d_head)
        layers = range(config.n_layers)
        self.k = [torch.zeros(shape, dtype=dtype, device=self.device) for _ in layers]
        self.v = [torch.zeros(shape, dtype=dtype, device=self.device) for _ in layers]
        self.k_scale = self.v_scale = None
        if dtype == torch.int8:
            self.k_scale = [torch.zeros(shape[:-1], device=self.device) for _ in layers]
            self.v_scale = [torch.zeros(shape[:-1], device=self.device) for _ in layers]
        self.references = [0] * (1 + count)
        # Taken from the end: the lowest first, and then the one that was given back last.
        self.free = list(range(count, 0, -1))

    def take(self) -> int:
        """A page that was free, for one sequence."""
        page = self.free.pop()
        self.references[page] = 1
        return page

    def share(self, page: int) -> None:
        """One more sequence uses this page."""
        self.references[page] += 1

    def leave(self, page: int) -> bool:
        """One sequence less uses this page; whether it was the last. The page is not free before `give_up`."""
        self.references[page] -= 1
        assert self.references[page] >= 0, f"page {page} was given back twice"
        return self.references[page] == 0

    def give_up(self, page: int) -> None:
        """Make a page that nobody uses free for others."""
        self.free.append(page)

    def slots(
        self, page: Int[Tensor, "*batch position"], offset: Int[Tensor, "*batch position"]
    ) -> Int[Tensor, "*batch kv_head position"]:
        """Where each head's vector of each position lies, counted over a layer's `[page, kv_head, PAGE]`."""
        heads = self.k[0].shape[1]
        head = torch.arange(heads, device=page.device)[:, None]
        return (page[..., None, :] * heads + head) * PAGE + offset[..., None, :]

    def write(
        self, layer: int, slots: Int[Tensor, "*slot"], k: Float[Tensor, "*slot d"], v: Float[Tensor, "*slot d"]
    ) -> None:
        """Store a layer's keys and values, one vector a slot."""
        slots = slots.flatten()
        for pool, scales, new in ((self.k, self.k_scale, k), (self.v, self.v_scale, v)):
            vectors = new.reshape(-1, new.shape[-1])
            if scales is not None:
                vectors, scale = quantized(vectors)
                scales[layer].view(-1)[slots] = scale
            pool[layer].view(-1, vectors.shape[-1])[slots] = vectors.to(self.dtype)

    def read(
        self, layer: int, slots: Int[Tensor, "*slot"], dtype: torch.dtype
    ) -> tuple[Float[Tensor, "*slot d"], Float[Tensor, "*slot d"]]:
        """A layer's keys and values at these slots, as numbers of `dtype`."""
        found: list[Tensor] = []
        for pool, scales in ((self.k, self.k_scale), (self.v, self.v_scale)):
            width = pool[layer].shape[-1]
            # Whole vectors by one list of rows: several times faster than indexing by page, head and offset.
            vectors = pool[layer].view(-1, width).index_select(0, slots.flatten()).to(dtype)
            if scales is not None:
                vectors *= scales[layer].view(-1).index_select(0, slots.flatten())[:, None]
            found.append(vectors.view(*slots.shape, width))
        return found[0], found[1]


def quantized(vectors: Float[Tensor, "vector d"]) -> tuple[Int[Tensor, "vector d"], Float[Tensor, " vector"]]:
    """Each vector as whole numbers from −127 to 127, and what they are to be multiplied by."""
    vectors = vectors.float()
    scale = vectors.abs().amax(-1) / 127
    return (vectors / scale.clamp(min=1e-30)[:, None]).round().to(torch.int8), scale


def pages_for(positions: int) -> int:
    """How many pages a sequence of that length takes."""
    return -(-positions // PAGE)


def page_bytes(config: ModelConfig, dtype: torch.dtype) -> int:
    """Memory of one page, all layers' keys and values together."""
    vector = config.d_head * dtype.itemsize + (4 if dtype == torch.int8 else 0)
    return 2 * config.n_layers * config.n_kv_heads * PAGE * vector


def table(pages: Sequence[Sequence[int]], device: torch.device) -> Int[Tensor, "row page"]:
    """Several sequences' pages as one tensor; behind the shorter ones stands `NOTHING`."""
    longest = max(map(len, pages))
    return torch.tensor([[*row, *[NOTHING] * (longest - len(row))] for row in pages], device=device)
