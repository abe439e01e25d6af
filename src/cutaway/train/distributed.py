"""One training shared among processes, as `torchrun` starts them: each reads its own rows of every batch.

The model knows nothing of it. Either each process has all of its weights and the gradients are summed, or weights,
gradients and the optimiser's state are divided, and gathered block by block where they are used (Zhao et al. 2023).
Or all read the same rows, and each works out a part of every block (`cutaway.train.tensor_parallel`).
"""

from __future__ import annotations

import atexit
import copy
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

from cutaway.model.block import Block
from cutaway.model.taps import UNTOUCHED, Tap
from cutaway.runs import BadInput
from cutaway.train import sharded
from cutaway.train.machine import device
from cutaway.train.objectives import Batch, Objective
from cutaway.train.settings import Parallel
from cutaway.train.step import Alone
from cutaway.train.tensor_parallel import SameRows, divide_products

T = TypeVar("T")
PATIENCE = timedelta(days=30)
"""How long a process waits for the first one, which builds the corpus before training and measures the model after."""
BUCKET = 1 << 23
"""Numbers that are sent at once: enough that the sending is not all latency, few enough to be little memory."""


@cache
def processes() -> Alone:
    """This process among those that `torchrun` started, which tells by RANK, WORLD_SIZE and LOCAL_RANK, or alone."""
    return Several() if int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ else Alone()


class Several(Alone):
    """One process of several, with a GPU of its own where there are GPUs."""

    def __init__(self) -> None:
        on_gpu = device().type == "cuda"
        if on_gpu:
            torch.cuda.set_device(device())
        dist.init_process_group("nccl" if on_gpu else "gloo")
        atexit.register(dist.destroy_process_group)
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        # What is said rather than calculated goes its own way: there a wait of hours is no sign of a hang.
        self.words: Any = dist.new_group(backend="gloo", timeout=PATIENCE)

    def rows(self, batch: Batch) -> Batch:
        """This process's share of a batch: as many rows as every other's, one after another, on its device.

        Raises:
            BadInput: the rows cannot be shared equally.
        """
        size = len(next(iter(batch.values())))
        if size % self.world:
            raise BadInput(
                f"a batch of {size} rows cannot be shared equally by {self.world} processes; "
                f"let batch_tokens / row_length be a multiple of {self.world}"
            )
        own = slice(self.rank * size // self.world, (self.rank + 1) * size // self.world)
        return {name: values[own].to(device()) for name, values in batch.items()}

    def total(self, *values: float) -> list[float]:
        """Each value, summed over all processes."""
        totals = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(totals, group=self.words)
        return totals.tolist()

    def same(self, value: T) -> T:
        """The first process's value; the others wait for it."""
        values = [value]
        dist.broadcast_object_list(values, group=self.words, device=torch.device("cpu"))
        return values[0]

    def gathered(self, value: T) -> list[T]:
        """Every process's value, the first process's first."""
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value, group=self.words)
        return values

    def barrier(self) -> None:
        """Wait for all."""
        dist.barrier(group=self.words)

    @torch.no_grad()
    def share_gradients(self, model: nn.Module) -> None:
        """Sum the gradients over all processes, which all have the same weights to train.

        Not their mean: each process has divided its losses by the number in the whole batch. Divided weights have
        divided gradients, which FSDP has summed already.
        """
        gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
        if any(map(sharded.is_divided, gradients)):
            return
        for bucket in buckets(gradients):
            flat = torch.cat([gradient.flatten() for gradient in bucket])
            dist.all_reduce(flat)
            parts = flat.split([gradient.numel() for gradient in bucket])
            for gradient, part in zip(bucket, parts, strict=True):
                gradient.copy_(part.view_as(gradient))


def buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """The tensors in order, in lists of about `BUCKET` numbers each."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        bucket.append(tensor)
        if sum(each.numel() for each in bucket) >= BUCKET:
            yield bucket
            bucket = []
    if bucket:
        yield bucket


def parallelise(
    model: nn.Module,
    objective: Objective,
    how: Parallel,
    dtype: torch.dtype,
    among: Alone,
    *,
    compiled: bool = False,
) -> tuple[nn.Module, Objective, Alone]:
    """What to train, its objective, and among whom a step is shared.

    That is `model` itself, or a twin of it of which each process has a part. All begin with the first one's weights.
    Blocks multiply in `dtype`; those of a twin whose weights are divided are `compiled` here.

    Raises:
        BadInput: the model's products cannot be divided among so many processes.
    """
    if not isinstance(among, Several):
        return model.to(device()), objective, among
    share_weights(model)
    if how == "replicate":
        return model.to(device()), objective, among
    twin = copy.deepcopy(model)
    if how == "tensor":
        divide_products(twin, init_device_mesh(device().type, (among.world,)))
        return twin.to(device()), objective, SameRows()
    root = divide(twin, dtype, among, compiled=compiled)
    return twin, OfDivided(objective, root), among


@torch.no_grad()
def share_weights(model: nn.Module) -> None:
    """Give every process the first one's weights."""
    for weight in model.parameters():
        sent = weight.detach().to(device())
        dist.broadcast(sent, 0)
        weight.copy_(sent)


class Root(nn.Module):
    """What FSDP takes for the model: one pass forward through it is a whole loss, whatever of the model that calls.

    The weights outside the blocks are gathered when the pass begins, and their gradients sent when the pass back ends.
    Were the model itself the root, each of its methods that a loss calls would have to be named to FSDP as a pass of
    its own, and a tied embedding be gathered for `hidden` and again for `logits`.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, objective: Objective, ready: Batch, tap: Tap) -> Tensor:
        """The sum of the losses."""
        return objective.total(self.model, ready, tap)


def divide(model: nn.Module, dtype: torch.dtype, among: Alone, *, compiled: bool) -> Root:
    """Divide a model's weights by rows among the processes, gathered block by block; give what to call it through.

    As under autocast, the residual stream, embeddings and sums of gradients stay in the weights' own precision; the
    blocks' weights travel in `dtype`.
    """
    mesh = init_device_mesh(device().type, (among.world,))
    mixed = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    root = Root(model)
    for module in list(model.modules()):
        if isinstance(module, Block):
            if compiled:
                module.compile()
            fully_shard(module, mesh=mesh, mp_policy=mixed if dtype != torch.float32 else MixedPrecisionPolicy())
    fully_shard(root, mesh=mesh)
    for module in root.modules():
        if isinstance(module, FSDPModule):
            # FSDP would give the mean.
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    return root


class OfDivided:
    """An objective, worked out through the root of a model whose weights are divided."""

    def __init__(self, objective: Objective, root: Root) -> None:
        self.objective = objective
        self.root = root
        self.ready, self.count, self.flops = objective.ready, objective.count, objective.flops

    def total(self, model: nn.Module, ready: Batch, tap: Tap = UNTOUCHED) -> Tensor:
        """The sum of the losses."""
        return self.root(self.objective, ready, tap)


@torch.no_grad()
def gather(weights: Mapping[str, Tensor], model: nn.Module) -> None:
    """Give `model`, in every process, the whole of `weights`, which are divided; all take part."""
    for name, weight in model.named_parameters():
        weight.copy_(sharded.whole(weights[name]))


@contextmanager
def gathered_in(model: nn.Module, weights: Mapping[str, Tensor], among: Alone) -> Generator[None]:
    """Within the block `model` has the whole of `weights`, in the first process on its device."""
    gather(weights, model)
    before = next(model.parameters()).device
    model.to(device() if among.is_first else before)
    try:
        yield
    finally:
        model.to(before)
