"""One step of many sequences at once, whatever each of them reads: a token, or a piece of its prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cutaway.infer.pages import NOTHING, PAGE, Pages, table
from cutaway.model import KVCache, Transformer
from cutaway.model.cache import KeysAndValues, LayerCache
from cutaway.model.config import ModelConfig
from cutaway.model.taps import UNTOUCHED, Tap

TOKENS_WORTH_A_PASS = 48
"""Padding tokens that take about as long to compute as another pass over the weights."""
SPARE = 32
"""Columns that keys and values which stay gathered have room for beyond what there is."""
MOST_GATHERED = 256 << 20
"""Bytes of them, of the rows of one pass."""


@dataclass(frozen=True)
class Row:
    """One sequence's share of a step.

    Attributes:
        tokens: what it reads now: one token when writing, more when reading its prompt.
        start: position of the first of them; the keys and values of all before it are in the pages.
        pages: its pages in order. Page i holds positions i·PAGE to i·PAGE + PAGE − 1; they cover all up to the last
            token. `NOTHING` (page 0) stands where every layer's window has passed.
        every: whether logits are wanted at each of the tokens, or only at the last.
        tap: who looks at this row's tensors, `[1, position, …]`. A runner that cannot show them is not given such rows.
    """

    tokens: Sequence[int]
    start: int
    pages: Sequence[int]
    every: bool = False
    tap: Tap = field(default=UNTOUCHED, compare=False)

    @property
    def end(self) -> int:
        """The position after its last token."""
        return self.start + len(self.tokens)


class Runner(Protocol):
    """What computes a step."""

    def run(self, rows: Sequence[Row]) -> list[Float[Tensor, "n vocab"]]:
        """Read each row's tokens, store their keys and values in its pages, and give its logits in float32.

        `n` is the number of its tokens where `every` is set, else 1. No two rows write to one page.
        """
        ...


class TorchRunner:
    """Runs the model as it is, taps and all, over a view of the pages that looks to it like its own cache.

    Gathering a long sequence's keys and values out of its pages, in every layer, takes up to half of a step. Where the
    same rows go on from step to step, a token each, they stay gathered, and what is new is added.
    """

    def __init__(self, model: Transformer, pages: Pages) -> None:
        self.model = model
        self.pages = pages
        config = model.config
        self.window = window(config)
        sparsity = config.sparsity if config.local_layers else None
        # Blocks and global tokens lie at fixed positions, which padding would shift.
        self.paddable = sparsity is None or (sparsity.kind == "window" and not sparsity.global_tokens)
        self.views: list[View] = []
        """Those of the last step. Of older ones the pages may be somebody else's by now."""
        weights, column = model.n_parameters(), 2 * config.n_layers * config.n_kv_heads * config.d_head
        self.columns_worth_a_pass = weights // column

    @torch.inference_mode()
    def run(self, rows: Sequence[Row]) -> list[Float[Tensor, "n vocab"]]:
        """Read each row's tokens; see `Runner`."""
        logits: list[Tensor] = [torch.empty(0)] * len(rows)
        before, self.views = self.views, []
        for group in self.together(rows):
            for i, found in zip(group, self.one_pass([rows[i] for i in group], before), strict=True):
                logits[i] = found
        return logits

    def together(self, rows: Sequence[Row]) -> Iterator[list[int]]:
        """Which rows (their numbers) share a pass: those of like length, for the shorter are padded to the longest.

        A row that is watched goes alone.
        """
        order = sorted(range(len(rows)), key=lambda i: (len(rows[i].tokens), rows[i].end), reverse=True)
        group: list[int] = []
        for at, i in enumerate(order):
            alone = rows[i].tap is not UNTOUCHED or (group and rows[group[0]].tap is not UNTOUCHED)
            if group and (alone or self.apart([rows[j] for j in group], rows[i], len(order) - at)):
                yield group
                group = []
            group.append(i)
        if group:
            yield group

    def apart(self, group: Sequence[Row], row: Row, left: int) -> bool:
        """Whether the `left` rows from `row` on had better not be padded to the length of these."""
        tokens = len(group[0].tokens) - len(row.tokens)
        columns = max(other.end for other in group) - row.end
        if not self.paddable:
            return bool(tokens or columns)
        return tokens * left > TOKENS_WORTH_A_PASS or columns * left > self.columns_worth_a_pass

    def one_pass(self, rows: Sequence[Row], before: Sequence[View]) -> list[Tensor]:
        """The logits of rows that go through the model together, after a step with the views `before`."""
        model, most = self.model, max(len(row.tokens) for row in rows)
        padded = [[0] * (most - len(row.tokens)) + list(row.tokens) for row in rows]
        tokens = torch.tensor(padded, device=self.pages.device)
        led = next((view for view in before if view.leads_to(rows)), None)
        cache = View(self.pages, model.config, rows, self.window, led)
        tap = rows[0].tap
        hidden = model.hidden(tokens, cache=cache, tap=tap)
        self.views.append(cache)
        if not any(row.every for row in rows):
            return list(model.logits(hidden[:, -1:], tap).float().unbind())
        return [
            model.logits(hidden[i : i + 1, most - len(row.tokens) if row.every else -1 :], tap)[0].float()
            for i, row in enumerate(rows)
        ]


class View(KVCache):
    """The pages of several rows as the cache of one batch: right-aligned, the shorter padded on the left.

    Column c of row b is its position `c - starts[b] + firsts[b]`.
    """

    def __init__(
        self, pages: Pages, config: ModelConfig, rows: Sequence[Row], window: int | None, before: View | None = None
    ) -> None:
        """A view of `rows`; `before` is one that leads to them, where there is one."""
        self.pages, self.window = pages, window
        self.rows = [(tuple(row.pages), row.end, first_page(row.start, window)) for row in rows]
        self.capacity = config.context
        device = pages.device
        # Of a model that only looks through windows, the pages behind them need not be gathered.
        firsts = [first_page(row.start, window) * PAGE for row in rows]
        lengths = [row.end - first for row, first in zip(rows, firsts, strict=True)]
        total, most = max(lengths), max(len(row.tokens) for row in rows)
        self.length = total - most
        self.starts = torch.tensor([total - length for length in lengths], device=device)
        self.firsts = torch.tensor(firsts, device=device)
        self.padded = min(lengths) < total
        self.from_start = not any(firsts)
        self.known = before is not None and before.room >= total
        """Whether all but the new keys and values are gathered already."""
        self.gathered = before.gathered if before and self.known else dict[int, KeysAndValues]()
        self.room = before.room if before and self.known else 0
        size = 8 * config.n_layers * config.n_kv_heads * config.d_head * len(rows)
        # Not at once: rows that have gone on for a step are likely to go on.
        if before and not self.known and (total + SPARE) * size <= MOST_GATHERED:
            self.room = total + SPARE
        first, last = (self.length, total) if self.known else (0, max(total, self.room))
        columns = torch.arange(first, last, device=device)
        real = (columns >= self.starts[:, None]) & (columns < total)
        positions = (columns - self.starts[:, None] + self.firsts[:, None]).where(real, 0)
        places = table([row.pages for row in rows], device)
        page = places.gather(1, positions // PAGE).where(real, NOTHING)
        self.slots = pages.slots(page, positions % PAGE)
        self.columns = slice(self.length, total)
        self.new_slots = self.slots[..., self.length - first : total - first]
        counts = [len(row.tokens) for row in rows]
        new = torch.arange(most, device=device) >= most - torch.tensor(counts, device=device)[:, None]
        self.new = None if min(counts) == most else new[:, None].expand(-1, config.n_kv_heads, -1)
        self.layers: list[LayerCache] = [LayerView(self, i) for i in range(config.n_layers)]
        self.cross = []

    def leads_to(self, rows: Sequence[Row]) -> bool:
        """Whether these are its own rows, each a token further."""
        return len(rows) == len(self.rows) and all(
            len(row.tokens) == 1
            and row.start == end
            and tuple(row.pages[: len(pages)]) == pages
            and first_page(row.start, self.window) == first
            for row, (pages, end, first) in zip(rows, self.rows, strict=True)
        )

    def positions(self, columns: Int[Tensor, " position"]) -> Int[Tensor, "*batch position"]:
        """Positions of those columns: `[position]`, or `[batch, position]` where rows differ."""
        if self.from_start and not self.padded:
            return columns
        return (columns - self.starts[:, None]).clamp(min=0) + self.firsts[:, None]


class LayerView(LayerCache):
    """One layer of a `View`."""

    def __init__(self, view: View, layer: int) -> None:
        self.view, self.layer = view, layer

    def append(self, k: Tensor, v: Tensor) -> KeysAndValues:
        """Store the new keys and values, `[batch, kv_head, position, d_head]`; return all that there are."""
        view, pages, slots = self.view, self.view.pages, self.view.new_slots
        if view.new is None:
            pages.write(self.layer, slots, k, v)
        else:
            pages.write(self.layer, slots[view.new], k[view.new], v[view.new])
        if not view.known:
            found = pages.read(self.layer, view.slots, k.dtype)
            if view.room:
                view.gathered[self.layer] = found
        else:
            found = view.gathered[self.layer]
            # As they are in the pages, where they may be narrower than they came.
            for whole, part in zip(found, pages.read(self.layer, slots, k.dtype), strict=True):
                whole[:, :, view.columns] = part
        return found[0][:, :, : view.columns.stop], found[1][:, :, : view.columns.stop]


def window(config: ModelConfig) -> int | None:
    """How far back any layer looks, in positions, where all look through a window; else None."""
    sparsity = config.sparsity
    if sparsity is None or sparsity.kind != "window" or sparsity.global_tokens:
        return None
    return sparsity.width if set(config.local_layers) == set(range(config.n_layers)) else None


def first_page(start: int, window: int | None) -> int:
    """The first of its pages that a sequence still reads whose next token has position `start`."""
    return 0 if window is None else max(0, start - window + 1) // PAGE
