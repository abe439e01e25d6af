"""Sequences of different lengths: kept end to end, met in batches of similar length, padded to a batch's longest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy.typing import NDArray
from torch import Tensor
from torch._dynamo import maybe_mark_dynamic

POOL = 64
"""Batches whose examples are sorted by length together. More would pad less, and let the same examples meet again."""


class Ragged:
    """Token ids of sequences, end to end; what a sequence has beyond `longest` tokens is left off."""

    def __init__(self, sequences: Iterable[Sequence[int]], longest: int) -> None:
        pieces = [np.asarray(sequence[:longest], np.int32) for sequence in sequences]
        self.lengths = np.array([len(piece) for piece in pieces], np.int64)
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.tokens = np.concatenate([np.empty(0, np.int32), *pieces])

    def __len__(self) -> int:
        return len(self.lengths)

    def padded(
        self, which: NDArray[np.int64], pad: int
    ) -> tuple[Int[Tensor, "row position"], Bool[Tensor, "row position"]]:
        """The sequences of these numbers, filled up on the right with `pad`, and where they are not padding."""
        columns = np.arange(self.lengths[which].max())
        present = columns < self.lengths[which][:, None]
        tokens = np.full(present.shape, pad, np.int64)
        tokens[present] = self.tokens[(self.starts[which][:, None] + columns)[present]]
        return torch.from_numpy(tokens), torch.from_numpy(present)


class SimilarLengths:
    """Which examples each step reads: all of them once a pass, those of a batch about equally long.

    A pass's order is drawn from the seed and the pass's number, so what a step reads follows from its number.
    """

    def __init__(self, lengths: NDArray[np.int64], seed: int) -> None:
        self.lengths = lengths
        self.seed = seed
        self.order = lru_cache(maxsize=2)(self.draw_order)

    def rows(self, step: int, size: int) -> NDArray[np.int64]:
        """The `size` examples of a step, counted from 0. A batch may hold the end of one pass and the next's start."""
        passes, places = np.divmod(np.arange(step * size, (step + 1) * size), len(self.lengths))
        return np.concatenate([self.order(int(i), size)[places[passes == i]] for i in np.unique(passes)])

    def draw_order(self, number: int, size: int) -> NDArray[np.int64]:
        """The examples in the order of one pass, for batches of `size`."""
        rng = np.random.default_rng([self.seed, number])
        drawn = rng.permutation(len(self.lengths))
        # Those that fill up the last batch of the pass before; then whole batches; then what is left.
        begin = min(-number * len(drawn) % size, len(drawn))
        end = len(drawn) - (len(drawn) - begin) % size
        pools = [drawn[at : min(at + POOL * size, end)] for at in range(begin, end, POOL * size)]
        alike = [pool[np.argsort(self.lengths[pool], kind="stable")].reshape(-1, size) for pool in pools]
        batches = np.concatenate([np.empty((0, size), np.int64), *alike])
        return np.concatenate([drawn[:begin], rng.permutation(batches).ravel(), drawn[end:]])


def stretching(x: Tensor) -> Tensor:
    """`x` `[row, position]`, of whose width the compiler is told that it changes from step to step."""
    maybe_mark_dynamic(x, 1)
    return x
