"""Looking into one forward pass: any tensor of it by its name, kept only if asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self, cast

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.model import Transformer
from cutaway.model.tap_names import TapNames, attach, tap_names
from cutaway.model.taps import Change, Taps
from cutaway.runs import BadInput
from cutaway.tokens import ForeignTokenizer, Tokenizer

Scalar = Callable[[Float[Tensor, "batch position vocab"]], Float[Tensor, ""]]
"""One number made of the logits."""


class Trace:
    """What happens in a model while it reads `tokens`, ids of one text or `[batch, position]`.

    The model runs when a name is first asked for, and only what is asked for is kept: names asked for together, by a
    list or a pattern, cost one pass. `replace` gives changes by name, which every pass makes; `tokenizer` is for those
    who want to name the tokens. Leaving a `with` block lets go of all that was kept.
    """

    def __init__(
        self,
        model: Transformer,
        tokens: Sequence[int] | Tensor,
        *,
        target: Sequence[int] | Tensor | None = None,
        present: Tensor | None = None,
        replace: Mapping[str, Change | Iterable[Change]] | None = None,
        tokenizer: Tokenizer | ForeignTokenizer | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.read = [_batch(part) for part in (tokens, target) if part is not None]
        self.present = present
        self.changes = attach(model.config, replace)
        self._kept: dict[str, Tensor] = {}
        self._logits: Tensor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._kept.clear()
        self._logits = None

    @property
    def names(self) -> TapNames:
        """Every name that can be asked for."""
        return tap_names(self.model.config)

    @property
    def logits(self) -> Float[Tensor, "batch position vocab"]:
        """What the model says in the end."""
        if self._logits is None:
            with torch.no_grad():
                self._logits = self._pass({})
        return self._logits

    def __getitem__(self, name: str) -> Tensor:
        """The tensor of that name, after the changes. Raises `BadInput` if the model has none."""
        return self.get([name])[self.names.one(name)]

    def get(self, names: str | Iterable[str]) -> dict[str, Tensor]:
        """Tensors by our names for them; a name may be a pattern such as `blocks.*.attn.hook_pattern`.

        Raises `BadInput` for a name that no tensor of the model has.
        """
        wanted = self.names.all(names)
        missing = [name for name in wanted if name not in self._kept]
        if missing:
            found: dict[str, Tensor] = {}
            with torch.no_grad():
                self._logits = self._pass({name: keeping(found, name) for name in missing})
            self._kept |= found
        return {name: self._kept[name] for name in wanted}

    def gradient(self, names: str | Iterable[str], *, of: Scalar) -> dict[str, Tensor]:
        """The gradient of a number made of the logits by each tensor; zeros where it does not depend on it.

        Gradients are not kept: another number has others. Raises `BadInput` for a name that no tensor of the model has,
        and for a tensor of whole numbers.
        """
        wanted = self.names.all(names)
        found: dict[str, Tensor] = {}
        with torch.enable_grad():
            number = cast("object", of(self._pass({name: keeping(found, name, grad=True) for name in wanted})))
        if not isinstance(number, Tensor) or number.numel() != 1:
            raise BadInput("`of` must make one number of the logits, as a tensor: lambda logits: logits[0, -1].max()")
        for name, tensor in found.items():
            if not tensor.requires_grad:
                raise BadInput(f"{name} holds whole numbers, which have no gradient")
        tensors = [found[name] for name in wanted]
        if not number.requires_grad:
            return {name: torch.zeros_like(tensor) for name, tensor in zip(wanted, tensors, strict=True)}
        gradients = torch.autograd.grad(number, tensors, allow_unused=True, materialize_grads=True)
        return dict(zip(wanted, gradients, strict=True))

    def _pass(self, keep: Mapping[str, Change]) -> Tensor:
        changes = {name: list(some) for name, some in self.changes.forward.items()}
        for name, change in keep.items():
            changes.setdefault(name, []).append(change)
        return self.model(*self.read, present=self.present, tap=Taps(changes))


def keeping(found: dict[str, Tensor], name: str, *, grad: bool = False) -> Change:
    """A change that changes nothing and puts the tensor into `found`; with `grad`, one that has a gradient."""

    def keep(tensor: Tensor) -> Tensor:
        if grad and tensor.is_floating_point() and not tensor.requires_grad:
            tensor = tensor.detach().requires_grad_()
        found[name] = tensor
        return tensor

    return keep


def _batch(tokens: Sequence[int] | Tensor) -> Tensor:
    tokens = torch.as_tensor(tokens)
    return tokens[None] if tokens.dim() == 1 else tokens
