"""Weights that are divided among processes (FSDP's `DTensor`s), and those that are not, handled alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def is_divided(tensor: Tensor) -> bool:
    """Whether this process holds only a part of it."""
    return hasattr(tensor, "to_local")


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds; all of one that is not divided."""
    divided: Any = tensor
    return divided.to_local() if is_divided(tensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor, gathered if it is divided."""
    divided: Any = tensor
    return divided.full_tensor() if is_divided(tensor) else tensor


def axis(weight: Tensor) -> int | None:
    """The axis along which a tensor is divided; None if every process has all of it."""
    divided: Any = weight
    (placement,) = divided.placements if is_divided(weight) else (None,)
    return getattr(placement, "dim", None)


def own(weight: Tensor) -> tuple[slice, ...]:
    """Which part of a tensor this process holds: as much as every other, but for the last ones; maybe nothing."""
    along = axis(weight)
    if along is None:
        return (slice(None),)
    divided: Any = weight
    size, mesh = weight.shape[along], divided.device_mesh
    each = -(-size // mesh.size())
    start = min(mesh.get_local_rank() * each, size)
    return (*[slice(None)] * along, slice(start, min(start + each, size)))


def like(part: Tensor, weight: Tensor) -> Tensor:
    """This process's part of a tensor that is divided as `weight` is, as that tensor."""
    if not is_divided(weight):
        return part
    from torch.distributed.tensor import DTensor

    divided: Any = weight
    return DTensor.from_local(
        part, divided.device_mesh, divided.placements, run_check=False, shape=weight.shape, stride=weight.stride()
    )


def whole_matrices(stack: Tensor, weight: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """`function` of a stack of matrices that are divided as `weight` is; give this process's part of it.

    `stack` `[matrix, own rows, columns]`, or if they are divided by columns `[matrix, rows, own columns]`. With several
    processes each works out some of the matrices for all. `function` must be the same for a transposed matrix.
    """
    along = axis(weight)
    if along is None:
        return function(stack)
    divided: Any = weight
    group = divided.device_mesh.get_group()
    if along == 1:
        return exchanged(stack.mT, weight.shape[1], group, function).mT
    return exchanged(stack, weight.shape[0], group, function)


def exchanged(stack: Tensor, size: int, group: Any, function: Callable[[Tensor], Tensor]) -> Tensor:
    """`function` of a stack `[matrix, own rows, columns]` of matrices of `size` rows; this process's rows of it."""
    rank, world = dist.get_rank(group), dist.get_world_size(group)
    # To each process the rows of its own matrices, from all; padded, so that every part is of one size.
    each, rows = -(-len(stack) // world), -(-size // world)
    padded = stack.new_zeros(world * each, rows, stack.shape[-1])
    padded[: len(stack), : stack.shape[1]] = stack
    gathered = torch.empty_like(padded)
    dist.all_to_all_single(gathered, padded, group=group)
    # [process, matrix, rows, columns] to [matrix, all rows, columns].
    own = gathered.view(world, each, rows, -1).transpose(0, 1).reshape(each, world * rows, -1)
    done = torch.zeros_like(own)
    mine = max(0, min(each, len(stack) - rank * each))
    if mine:
        done[:mine, :size] = function(own[:mine, :size])
    back = done.view(each, world, rows, -1).transpose(0, 1).reshape(world * each, rows, -1).contiguous()
    dist.all_to_all_single(gathered, back, group=group)
    return gathered[: len(stack), : stack.shape[1]]
