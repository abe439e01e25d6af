"""Taps: reading and changing any tensor inside a model by its name, at no cost while nobody does.

A model calls `tap(name, tensor)` at every place that has a name, and goes on with the tensor that comes back. The names
are TransformerLens's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

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
    """Changes by name, on the way forward and on the way back.

    A gradient's change is called with the gradient of the loss by that tensor when `backward()` reaches it.
    """

    forward: Mapping[str, Iterable[Change]] = field(default_factory=dict[str, Iterable[Change]])
    backward: Mapping[str, Iterable[Change]] = field(default_factory=dict[str, Iterable[Change]])
    seen: set[str] = field(default_factory=set[str])
    """The names that were met, so that a misspelt one can be told."""

    def __call__(self, name: str, tensor: Tensor) -> Tensor:
        """Let the changes of `name` have the tensor, one after the other."""
        self.seen.add(name)
        for change in self.forward.get(name, ()):
            changed = change(tensor)
            if changed is not None:
                tensor = changed
        if name in self.backward and tensor.requires_grad:
            for change in self.backward[name]:
                tensor.register_hook(change)
        return tensor

    def wants(self, name: str) -> bool:
        """Whether `name` has changes."""
        return name in self.forward or name in self.backward

    def under(self, prefix: str) -> Tap:
        """These, for the names below `prefix`."""
        return _Under(self, prefix)


@dataclass(frozen=True)
class _Under(Tap):
    taps: Tap
    prefix: str

    def __call__(self, name: str, tensor: Tensor) -> Tensor:
        return self.taps(self.prefix + name, tensor)

    def wants(self, name: str) -> bool:
        return self.taps.wants(self.prefix + name)

    def under(self, prefix: str) -> Tap:
        return _Under(self.taps, self.prefix + prefix)
