"""Changes to a forward pass that can be written down: a value put in place of others, or another text's activations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from cutaway.infer.trace import Trace
from cutaway.model import Transformer
from cutaway.model.taps import Change
from cutaway.runs import BadInput

Place = tuple[int | None, ...]
"""Which numbers of one text's tensor, axis by axis; None, and every axis not named, stands for all of it."""


@dataclass(frozen=True)
class Clamp:
    """Put `value` at a place of a tensor. At `blocks.0.attn.hook_z`, (None, 3), the value 0 ablates head 3."""

    name: str
    place: Place = ()
    value: float = 0.0


@dataclass(frozen=True)
class Swap:
    """Put there what the model has at the same place when it reads other tokens.

    This is activation patching, without the noise of causal tracing (Meng et al. 2022, arXiv 2202.05262, section 2.1).
    """

    name: str
    place: Place = ()
    tokens: tuple[int, ...] = ()


def changed_by(model: Transformer, edits: Iterable[Clamp | Swap]) -> dict[str, list[Change]]:
    """What `Trace(replace=...)` takes. Changes of one tensor are made in their order.

    Raises:
        BadInput: a tensor that the model does not have; or, once it runs, a place that the tensor does not have.
    """
    changes: dict[str, list[Change]] = {}
    for edit in edits:
        other = Trace(model, edit.tokens)[edit.name] if isinstance(edit, Swap) else None
        changes.setdefault(edit.name, []).append(_change(edit, other))
    return changes


def part(name: str, tensor: Tensor, place: Place) -> Tensor:
    """The numbers at a place of a tensor `[batch, ...]`, as a view.

    Raises:
        BadInput: the tensor has no such place.
    """
    shape = list(tensor.shape[1:])
    if len(place) > len(shape):
        raise BadInput(f"{name} is {shape} for this text: it has {len(shape)} axes, not {len(place)}")
    for axis, (at, size) in enumerate(zip(place, shape, strict=False)):
        if at is not None and not 0 <= at < size:
            raise BadInput(f"{name} is {shape} for this text: axis {axis} goes from 0 to {size - 1}, not to {at}")
    return tensor[(slice(None), *(slice(None) if at is None else at for at in place))]


def _change(edit: Clamp | Swap, other: Tensor | None) -> Change:
    def change(tensor: Tensor) -> Tensor:
        tensor = tensor.clone()
        here = part(edit.name, tensor, edit.place)
        if isinstance(edit, Clamp):
            here.fill_(edit.value)
            return tensor
        assert other is not None
        there = part(edit.name, other, edit.place)
        if here.shape != there.shape:
            raise BadInput(
                f"{edit.name} is {list(tensor.shape[1:])} for this text and {list(other.shape[1:])} for the other:"
                " name the positions to swap, or give a text of as many tokens"
            )
        here.copy_(there)
        return tensor

    return change
