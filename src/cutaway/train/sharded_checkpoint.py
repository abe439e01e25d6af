"""The tensors of a checkpoint that several processes write together, each what it holds, and any number may read.

PyTorch's distributed checkpoints, in files of safetensors: `shard-00001-…` is the first process's, and its header says
where in the whole each part belongs. Checkpoints of one process can be read in parts too.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from safetensors import safe_open
from torch import Tensor
from torch.distributed.checkpoint import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.api import CheckpointException

from cutaway.train import sharded
from cutaway.train.step import Alone

SHARD = "shard-"
"""How the names of such files begin."""


def write(directory: Path, parts: Mapping[str, Mapping[str, Tensor]], among: Alone) -> list[Path]:
    """Write what this process holds of `parts` into `directory`, as all others do now; give this process's files.

    Raises:
        Exception: that of the first process that could not write, in every process.
    """
    flat = {f"{part}.{name}": value.detach() for part, tensors in parts.items() for name, value in tensors.items()}
    writer = HuggingFaceStorageWriter(str(directory), save_distributed=True)
    try:
        dcp.save(flat, storage_writer=writer, process_group=group_of(among))
    except CheckpointException as error:
        raise first_failure(error) from error
    return sorted(directory.glob(f"{SHARD}{among.rank + 1:05d}-*"))


def read(directory: Path, weights: Mapping[str, Tensor], among: Alone) -> dict[str, dict[str, Tensor]]:
    """The parts in `directory`, each tensor divided as the one of `weights` that it belongs to; all read together.

    Raises:
        Exception: that of the first process that could not read, in every process.
    """
    reader = HuggingFaceStorageReader(str(directory))
    noted: Any = reader.read_metadata().state_dict_metadata
    flat = {key: room_for(key, each.size, each.properties.dtype, weights) for key, each in noted.items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        try:
            dcp.load(flat, storage_reader=reader, process_group=group_of(among), no_dist=among.world == 1)
        except CheckpointException as error:
            raise first_failure(error) from error
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in flat.items():
        part, _, name = key.partition(".")
        parts.setdefault(part, {})[name] = value
    return parts


def read_plain(file: Path, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A safetensors file of whole tensors, of each the part that this process holds of the weight it belongs to."""
    at = device_of(weights)
    read: dict[str, Tensor] = {}
    with safe_open(file, "pt") as tensors:
        for key in tensors.keys():  # noqa: SIM118 (it is no dictionary)
            part = tensors.get_slice(key)
            weight = weight_of(key, part.get_shape(), weights)
            if weight is None or not sharded.is_divided(weight):
                read[key] = tensors.get_tensor(key).to(at)
            else:
                read[key] = sharded.like(part[sharded.own(weight)].to(at), weight)
    return read


def room_for(key: str, size: torch.Size, dtype: torch.dtype, weights: Mapping[str, Tensor]) -> Tensor:
    """An empty tensor for an entry of a checkpoint, divided as the weight it belongs to."""
    weight = weight_of(key, size, weights)
    if weight is None:
        return torch.empty(size, dtype=dtype, device=device_of(weights))
    return torch.empty_like(weight, dtype=dtype)


def device_of(weights: Mapping[str, Tensor]) -> torch.device:
    """Where the weights are, and what belongs to them should be."""
    return next(iter(weights.values())).device


def weight_of(key: str, size: Any, weights: Mapping[str, Tensor]) -> Tensor | None:
    """The weight that an entry named `key` belongs to: itself, or what an optimiser or average remembers of it.

    An entry of another shape belongs to none.
    """
    names = [name for name, weight in weights.items() if f".{name}." in f".{key}." and list(weight.shape) == list(size)]
    return weights[max(names, key=len)] if names else None


def group_of(among: Alone) -> Any:
    """The processes as PyTorch knows them."""
    return getattr(among, "words", None)


def first_failure(error: CheckpointException) -> BaseException:
    """What went wrong in the first process in which something did."""
    return error.failures[min(error.failures)][0]
