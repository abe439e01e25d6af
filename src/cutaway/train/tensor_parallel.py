"""Tensor parallelism: of every block each process works out some heads, and some of the MLP's inner features.

The matrices that make these are divided by rows and those that read them by columns, so that a branch takes one sum
over the processes on the way forward and one on the way back (Shoeybi et al. 2019, section 3).
"""

from __future__ import annotations

from typing import Any

import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor.parallel import ColwiseParallel, ParallelStyle, RowwiseParallel, parallelize_module

from cutaway.model.block import Block
from cutaway.runs import BadInput
from cutaway.train.step import Alone

MAKERS, READERS = ("q", "k", "v", "gate", "up"), ("o", "down")


class SameRows(Alone):
    """Processes that all read the same rows: what they come to is the same in each, but for the gains of heads."""

    def share_gradients(self, model: nn.Module) -> None:
        """Sum the gradients of the queries' and keys' norms, of which each process has those by its own heads."""
        for name, weight in model.named_parameters():
            if name.endswith(("q_norm.weight", "k_norm.weight")) and weight.grad is not None:
                dist.all_reduce(weight.grad)


def divide_products(model: nn.Module, mesh: DeviceMesh) -> None:
    """Divide the matrices of a model's blocks among processes; everything else each of them has whole.

    Raises:
        BadInput: the model's heads or features cannot be shared equally, or its attention does not come apart by heads.
    """
    for block in model.modules():
        if isinstance(block, Block):
            must_come_apart(block, mesh.size())
            parallelize_module(block, mesh, plan_of(block))


def plan_of(block: Block) -> dict[str, ParallelStyle]:
    """How each of a block's matrices is divided; the experts of a mixture are not."""
    plan: dict[str, ParallelStyle] = {}
    for name, module in block.named_modules():
        last = name.rpartition(".")[2]
        if isinstance(module, nn.Linear) and last in (*MAKERS, *READERS):
            plan[name] = ColwiseParallel() if last in MAKERS else RowwiseParallel()
    return plan


def must_come_apart(block: Block, world: int) -> None:
    """Raise `BadInput` if a block cannot be divided among so many processes."""
    config = block.config
    whole: dict[str, Any] = {
        "positions that bias each head's scores": config.positions in ("alibi", "relative"),
        "norms over all heads at once": config.qk_norm == "all",
        "adapters": any("lora_" in name for name, _ in block.named_parameters()),
        f"{config.n_heads} heads": config.n_heads % world,
        f"{config.n_kv_heads} key and value heads": config.n_kv_heads % world,
        f"an MLP of width {config.d_mlp}": config.d_mlp % world,
    }
    for what, hinders in whole.items():
        if hinders:
            raise BadInput(
                f"a model with {what} cannot be divided by its products among {world} processes; "
                'let parallel be "shard", or the processes a divisor of heads and widths'
            )
