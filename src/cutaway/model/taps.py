"""Taps: reading and changing any tensor inside a model by its name, at no cost while nobody does.

A model calls `tap(name, tensor)` at every place that has a name, and goes on with the tensor that comes back. The names
are TransformerLens's; `cutaway.model.tap_names` lists a model's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

Change = Callable[[Tensor], Tensor | None]
"""What is done with a tensor: give another one back to replace it, or None to leave it."""


class Tap:
    """The tap of a model that nobody looks into; the compiled graph is then the one without taps."""

    def __call__(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor to go on with."""
        return tensor

    def wants(self, name: str) -> bool:
        """Whether anybody asks for `name`; some tensors are made only then, such as the attention pattern."""
        return False

    def under(self, prefix: str) -> Tap:
        """This tap, for the names below `prefix`."""
        return self


UNTOUCHED = Tap()


@dataclass
class Taps(Tap):
    """Changes by name, on the way forward and on the way back; `cutaway.model.attach` also takes other names' aliases.

    A gradient's change is called with the gradient of the loss by that tensor when `backward()` reaches it.
    """

    forward: Mapping[str, Iterable[Change]] = field(default_factory=dict[str, Iterable[Change]])
    backward: Mapping[str, Iterable[Change]] = field(default_factory=dict[str, Iterable[Change]])

    def __call__(self, name: str, tensor: Tensor) -> Tensor:
        """Let the changes of `name` have the tensor, one after the other."""
        for change in self.forward.get(name, ()):
            changed = change(tensor)
            if changed is not None:
                tensor = changed
        if name in self.backward and tensor.is_floating_point() and torch.is_grad_enabled():
            # A tensor of its own, for two names may stand for one. Where no weight before it is trained, the gradient's
            # way ends here.
            tensor = tensor.view_as(tensor) if tensor.requires_grad else tensor.detach().requires_grad_()
            for change in self.backward[name]:
                tensor.register_hook(change)
        return tensor

    def wants(self, name: str) -> bool:
        """Whether `name` has changes."""
        return name in self.forward or name in self.backward

    def under(self, prefix: str) -> Tap:
        """These, for the names below `prefix`."""
        return Under(self, prefix)


@dataclass(frozen=True)
class Under(Tap):
    """A tap for the names that begin with `prefix`, given without it."""

    tap: Tap
    prefix: str

    def __call__(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor to go on with."""
        return self.tap(self.prefix + name, tensor)

    def wants(self, name: str) -> bool:
        """Whether anybody asks for the name with the prefix before it."""
        return self.tap.wants(self.prefix + name)

    def under(self, prefix: str) -> Tap:
        """The same with a longer prefix."""
        return Under(self.tap, self.prefix + prefix)
