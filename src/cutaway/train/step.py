"""One training step: forward, loss, backward, clip, update."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch._dynamo.exc import BackendCompilerFailed, TorchDynamoException

from cutaway.train.machine import device
from cutaway.train.objectives import Batch, Objective
from cutaway.train.sharded import is_divided, whole

T = TypeVar("T")


class Updates(Protocol):
    """What a step needs of an optimiser."""

    def step(self, scale: float) -> None:
        """Update the weights, each learning rate times `scale`."""
        ...

    def zero_grad(self) -> None:
        """Forget the gradients."""
        ...


@dataclass(frozen=True)
class Outcome:
    """A step's mean loss, in nats, and the norm of its gradient before clipping."""

    loss: float
    norm: float

    @property
    def finite(self) -> bool:
        """Whether both are; if not, the step is not applied."""
        return math.isfinite(self.loss) and math.isfinite(self.norm)


class Alone:
    """The one process of a training run; `cutaway.train.distributed` has the others."""

    rank, world = 0, 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes metrics, samples and models."""
        return self.rank == 0

    def rows(self, batch: Batch) -> Batch:
        """This process's share of a batch, on its device."""
        return {name: values.to(device()) for name, values in batch.items()}

    def total(self, *values: float) -> list[float]:
        """Each value, summed over all processes."""
        return list(values)

    def any(self, *flags: bool) -> list[bool]:
        """For each flag whether some process raised it."""
        return [total > 0 for total in self.total(*map(float, flags))]

    def same(self, value: T) -> T:
        """The first process's value."""
        return value

    def gathered(self, value: T) -> list[T]:
        """Every process's value."""
        return [value]

    def barrier(self) -> None:
        """Wait for all."""

    def share_gradients(self, model: nn.Module) -> None:
        """Sum the gradients over all processes."""


class TrainStep:
    """A model, what it is trained to do and its optimiser, compiled or not.

    `dtype` is what matrices are multiplied in; the weights and their moments stay in float32. With `micro_rows` a batch
    goes through in portions of so many rows, whose gradients add up to the whole batch's.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        optimizer: Updates,
        *,
        compiled: bool,
        dtype: torch.dtype,
        clip: float = 1.0,
        micro_rows: int = 0,
        processes: Alone | None = None,
    ) -> None:
        self.model = model.train()
        self.device = device().type
        self.objective = objective
        self.optimizer = optimizer
        self.clip = clip
        self.dtype = dtype
        self.micro_rows = micro_rows
        self.processes = processes or Alone()
        self.total = torch.compile(self.plain_total) if compiled else self.plain_total

    def plain_total(self, ready: Batch) -> Tensor:
        """The sum of a portion's losses, in the step's dtype."""
        if self.dtype != torch.bfloat16:
            # Even switched off, it would be part of the graph, which then is not found in the compiler's cache.
            return self.objective.total(self.model, ready)
        with torch.autocast(self.device, torch.bfloat16):
            return self.objective.total(self.model, ready)

    def __call__(self, batch: Batch, *, scale: float) -> Outcome:
        """Take one step on a batch; `scale` multiplies the learning rates."""
        outcome = self.gradient(batch)
        self.apply(outcome, scale=scale)
        return outcome

    def gradient(self, batch: Batch) -> Outcome:
        """Work out the gradient, clip it and leave it in the weights; nothing has changed yet.

        Of a batch in which nothing is to be learned both figures are 0.
        """
        own = self.processes.rows(batch)
        (count,) = self.processes.total(float(self.objective.count(own)))
        if not count:
            return Outcome(0.0, 0.0)
        loss = self.accumulate(own, count)
        self.processes.share_gradients(self.model)
        norm = clip_gradient(self.model, self.clip)
        (loss,) = self.processes.total(loss)
        return Outcome(loss, norm)

    def apply(self, outcome: Outcome, *, scale: float) -> None:
        """Update the weights, unless there was nothing to learn or what was learned is not finite."""
        if outcome.finite and outcome.norm > 0:
            self.optimizer.step(scale)
        self.optimizer.zero_grad()

    def accumulate(self, batch: Batch, count: float) -> float:
        """Leave the gradient of a batch's losses, divided by `count`, in the weights; give that quotient itself."""
        totals: list[Tensor] = []
        for portion in portions(batch, self.micro_rows):
            ready = self.objective.ready(portion)
            loss = self.compute(ready) / count
            loss.backward()
            totals.append(loss.detach())
        return float(torch.stack(totals).sum())

    def compute(self, ready: Batch) -> Tensor:
        """The sum of a portion's losses; without the compiler from here on if it turns out not to work."""
        try:
            return self.total(ready)
        except (BackendCompilerFailed, TorchDynamoException) as error:
            if self.total == self.plain_total:
                raise
            reason = str(error).strip().splitlines()[0]
            warnings.warn(f"torch.compile does not work here ({reason}); training goes on without it", stacklevel=2)
            self.total = self.plain_total
            return self.total(ready)


def portions(batch: Batch, rows: int) -> Iterator[Batch]:
    """A batch in portions of at most `rows` rows, equal ones if there are any nearly as large; 0 for all at once."""
    size = len(next(iter(batch.values())))
    rows = min(rows or size, size)
    # Portions of two sizes are two graphs to compile.
    rows = next((n for n in range(rows, rows // 2, -1) if size % n == 0), rows)
    for start in range(0, size, rows):
        yield {name: values[start : start + rows] for name, values in batch.items()}


@torch.no_grad()
def clip_gradient(model: nn.Module, most: float) -> float:
    """Scale the gradient so that its norm is at most `most`; give its norm before."""
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    # Those that are divided among processes apart: one call takes no others beside them.
    kinds = [[each for each in gradients if is_divided(each) == divided] for divided in (False, True)]
    norm = math.hypot(*(float(whole(torch.nn.utils.get_total_norm(kind))) for kind in kinds if kind))
    # Without the products with one that most steps would be.
    if most < norm < math.inf:
        for gradient in gradients:
            gradient.mul_(most / (norm + 1e-6))
    return norm
