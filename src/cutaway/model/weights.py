"""Weights under another project's names: which of its tensors holds which of ours, and how it lies there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from cutaway.model.config import ModelConfig
from cutaway.runs.errors import BadInput


@dataclass(frozen=True)
class Layout:
    """How one of their tensors is made of ours, and ours of it."""

    join: Callable[[Sequence[Tensor]], Tensor]
    split: Callable[[Tensor, Sequence[torch.Size]], Sequence[Tensor]]


def _cut(tensor: Tensor, shapes: Sequence[torch.Size]) -> Sequence[Tensor]:
    return tensor.split([shape[0] for shape in shapes])


def _turned(tensor: Tensor) -> Tensor:
    return tensor.T if tensor.dim() == 2 else tensor


AS_IT_IS = Layout(lambda ours: ours[0], lambda theirs, shapes: [theirs])
TRANSPOSED = Layout(lambda ours: _turned(ours[0]), lambda theirs, shapes: [_turned(theirs)])
"""Inputs first; a vector is as it is."""
STACKED = Layout(lambda ours: torch.cat(list(ours)), _cut)
"""One below the other."""
STACKED_TRANSPOSED = Layout(
    lambda ours: _turned(torch.cat(list(ours))), lambda theirs, shapes: _cut(_turned(theirs), shapes)
)
ROW = Layout(lambda ours: ours[0][None], lambda theirs, shapes: [theirs[0]])
"""A vector as a matrix of one row."""


def interleaved(config: ModelConfig) -> Layout:
    """Query, key and value of the first head, then of the second, and so on (GPT-NeoX, BLOOM)."""

    def join(ours: Sequence[Tensor]) -> Tensor:
        return torch.stack([x.unflatten(0, (config.n_heads, config.d_head)) for x in ours], dim=1).flatten(0, 2)

    def split(theirs: Tensor, shapes: Sequence[torch.Size]) -> Sequence[Tensor]:
        return [x.flatten(0, 1) for x in theirs.unflatten(0, (config.n_heads, len(shapes), config.d_head)).unbind(1)]

    return Layout(join, split)


@dataclass(frozen=True)
class Held:
    """One of their tensors: the tensors of ours that it holds, whole or one entry of the first axis (an expert)."""

    ours: tuple[tuple[str, int | None], ...]
    layout: Layout = AS_IT_IS


Names = Mapping[str, str | tuple[str, Layout]]
"""Their module by ours, both without `.weight` and `.bias`; `{i}` is the block, `{e}` the expert.

Several of ours in one of theirs are written `a + b + c`; a layout other than one below the other is given beside it.
"""


def holdings(names: Names, keys: Iterable[str], n_experts: int = 0) -> dict[str, Held]:
    """Which of their tensors hold which of ours; `keys` are the names of all our tensors.

    Raises `KeyError` with the name of one of ours that `names` has no place for.
    """
    left = dict.fromkeys(keys)
    layers = 1 + max((int(m[1]) for key in left if (m := re.search(r"blocks\.(\d+)\.", key))), default=-1)
    found: dict[str, Held] = {}
    for ours, place in names.items():
        theirs, layout = place if isinstance(place, tuple) else (place, None)
        parts = ours.split(" + ")
        layout = layout or (STACKED if len(parts) > 1 else AS_IT_IS)
        for i in range(layers) if "{i}" in ours else (0,):
            for suffix in (".weight", ".bias", ""):
                held = [part.replace("{i}", str(i)) + suffix for part in parts]
                if not all(key in left for key in held):
                    continue
                name = theirs.replace("{i}", str(i)) + suffix
                if "{e}" in theirs:
                    for e in range(n_experts):
                        found[name.replace("{e}", str(e))] = Held(((held[0], e),), layout)
                else:
                    found[name] = Held(tuple((key, None) for key in held), layout)
                for key in held:
                    del left[key]
    for key in left:
        raise KeyError(key)
    return found


def parts_of(held: Held, tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """Our tensors that one of theirs holds, as views."""
    return [tensors[key] if index is None else tensors[key][index] for key, index in held.ours]


def own_tensors(model: nn.Module) -> dict[str, Tensor]:
    """A model's weights by name, one that is used twice only once."""
    return {name: weight.detach() for name, weight in model.named_parameters()}


def fill(held: Held, theirs: Tensor, ours: Mapping[str, Tensor]) -> None:
    """Copy one of their tensors into ours."""
    parts = parts_of(held, ours)
    for part, piece in zip(parts, held.layout.split(theirs, [part.shape for part in parts]), strict=True):
        part.copy_(piece)


def shape_of(held: Held, ours: Mapping[str, Tensor]) -> torch.Size:
    """The shape of one of their tensors, put together without any numbers."""
    return held.layout.join([part.to("meta") for part in parts_of(held, ours)]).shape


def must_match(
    place: Path,
    description: str,
    rules: Mapping[str, Held],
    shapes: Mapping[str, tuple[int, ...]],
    ours: Mapping[str, Tensor],
    *,
    beside: Iterable[str] = (),
) -> None:
    """Raise `BadInput` with the first tensor that is missing, not known, or not of the shape that it should have.

    `place` holds tensors of these `shapes`; `description` is what says how they should be; those `beside` are known to
    be none of the model's own.
    """
    known = rules.keys() | set(beside)
    for name in sorted(known ^ shapes.keys()):
        problem = "lacks" if name in known else "has an unknown"
        raise BadInput(f"{place} {problem} tensor {name}; {description} describes another model")
    for name, held in rules.items():
        wanted = shape_of(held, ours)
        if shapes[name] != tuple(wanted):
            raise BadInput(
                f"tensor {name} in {place} has shape {list(shapes[name])}, but {description} asks for {list(wanted)}"
            )
