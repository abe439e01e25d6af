"""What the loop asks of data and of a loss, whatever a model is trained to do."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from cutaway.model.taps import UNTOUCHED, Tap

Batch = dict[str, Tensor]
"""What one step reads, by name; the first axis of each tensor is the row, so that any of them can be split alike."""


class Feed(Protocol):
    """Where batches come from. The batch of a step follows from its number alone, whatever was asked for before:
    that is what lets a run be resumed to the bit, and shared among processes.
    """

    def batch(self, step: int, size: int) -> Batch:
        """The batch of `size` rows of one step, counted from 0."""
        ...


class Objective(Protocol):
    """A loss over a batch, as a sum, so that it comes out the same however a batch is divided."""

    def ready(self, batch: Batch) -> Batch:
        """The batch as `total` reads it: whatever must be worked out before the compiled part."""
        ...

    def count(self, batch: Batch) -> int:
        """How many losses a batch holds (tokens, or rows): what the sum is divided by."""
        ...

    def total(self, model: Any, ready: Batch, tap: Tap = UNTOUCHED) -> Tensor:
        """The sum of the losses, in nats."""
        ...

    def flops(self, model: Any, batch: Batch) -> float:
        """Operations of a training step on a batch: forward, and twice that backward."""
        ...
