"""A model whose weights are yet to be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from cutaway.model.config import ModelConfig
from cutaway.model.transformer import Transformer

DRAWING = (nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_, torch.Tensor.normal_, torch.Tensor.uniform_)


class _Undrawn(TorchFunctionMode):
    """Leaves weights as they are where they would be drawn at random.

    Without memory there is nothing to draw into; and asked all the same, torch loads 75 MB of itself to say so.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if func in DRAWING:
            return given.get("tensor", args[0] if args else None)
        return func(*args, **given)


def unfilled(config: ModelConfig, dtype: torch.dtype) -> Transformer:
    """A model of this shape whose weights take no memory until `with_memory` gives them some."""
    with torch.device("meta"), _Undrawn():
        return Transformer(config).to(dtype)


def with_memory(model: Transformer) -> None:
    """Give each weight memory of its own, with whatever is in it, and tied weights one between them.

    Not by `to_empty`: for weights without memory that loads as much of torch as drawing them does.
    """
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(torch.empty(weight.shape, dtype=weight.dtype), requires_grad=False))
    if model.config.tied_embeddings and model.config.head in ("linear", "masked"):
        model.unembed.weight = model.embed.weight
    if model.encoder:
        model.encoder.embed.weight = model.embed.weight
