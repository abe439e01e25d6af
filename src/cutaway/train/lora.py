"""LoRA (Hu et al. 2021): matrices stay as they are, and what fine-tuning adds to them is of a low rank."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from cutaway.model import Transformer
from cutaway.runs import BadInput, Settings

Target = Literal["q", "k", "v", "o", "gate", "up", "down"]


class LoraSettings(Settings):
    """How large the adapters are, and what they stand beside."""

    rank: int = Field(default=8, ge=1, description="rank of what is added to a matrix")
    alpha: float = Field(default=16.0, gt=0, description="what is added counts alpha / rank times")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="share of an adapter's input that is left out")
    targets: tuple[Target, ...] = Field(
        default=("q", "k", "v", "o", "gate", "up", "down"),
        min_length=1,
        description="which of the blocks' matrices, of those that the model has; left out: all of them",
    )
    rslora: bool = Field(default=False, description="alpha / √rank times instead (Kalajdzievski 2023)")


class Adapted(nn.Module):
    """A frozen linear layer with an adapter beside it: W x + b + scale · B A x (Hu et al. 2021, eq. 3).

    `lora_A` `[rank, in]` is drawn at random and `lora_B` `[out, rank]` is zero, so at first nothing is added.
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float, *, dropout: float = 0.0, rslora: bool = False) -> None:
        super().__init__()
        self.base = base
        self.alpha = alpha
        self.rslora = rslora
        # Not `dropout`, which the training loop sets in every module that has it.
        self.lora_dropout = dropout
        self.lora_A = nn.Parameter(base.weight.new_empty(rank, base.in_features))
        self.lora_B = nn.Parameter(base.weight.new_zeros(base.out_features, rank))
        # As in the authors' code: uniform, with the variance of 1 / (3 in).
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        self.train(base.training)

    @property
    def scale(self) -> float:
        """What B A is multiplied by."""
        return self.alpha / (math.sqrt(len(self.lora_A)) if self.rslora else len(self.lora_A))

    @property
    def weight(self) -> Tensor:
        """W + scale · B A, `[out, in]`: the matrix that this layer comes to, for whoever reads it and for merging."""
        return self.base.weight + self.scale * (self.lora_B @ self.lora_A)

    @property
    def bias(self) -> Tensor | None:
        """The layer's own bias `[out]`, if it has one."""
        return self.base.bias

    def forward(self, x: Tensor) -> Tensor:
        """From `[..., in]` to `[..., out]`."""
        read = F.dropout(x, self.lora_dropout, self.training) if self.lora_dropout else x
        return self.base(x) + self.scale * F.linear(F.linear(read, self.lora_A), self.lora_B)


def add_lora(model: Transformer, settings: LoraSettings) -> None:
    """Freeze a model and put new adapters, which alone require a gradient, beside the chosen matrices of its blocks.

    Experts of a mixture and its router get none. The adapters are drawn by torch's generator.

    Raises:
        BadInput: the model has adapters already, or none of the chosen matrices.
    """
    refuse_adapters(model)
    layers = [name for name, module in model.named_modules() if "blocks." in name and isinstance(module, nn.Linear)]
    chosen = [name for name in layers if last(name) in settings.targets]
    if not chosen:
        raise BadInput(
            f"the model has no matrix {' or '.join(settings.targets)} to put an adapter beside; "
            f"its matrices are {', '.join(dict.fromkeys(map(last, layers)))}"
        )
    model.requires_grad_(False)
    for name in chosen:
        put_adapter(model, name, settings.rank, settings.alpha, dropout=settings.dropout, rslora=settings.rslora)


@torch.no_grad()
def merge_lora(model: Transformer) -> None:
    """Add each adapter to its matrix and leave plain linear layers, so that the model can be saved as any other.

    No weight requires a gradient afterwards, unless it did before.
    """
    for name, adapted in adapters(model).items():
        adapted.base.weight.copy_(adapted.weight)
        model.set_submodule(name, adapted.base)


def remove_lora(model: Transformer) -> None:
    """Take the adapters away; the weights are, to the bit, those that the model had before."""
    for name, adapted in adapters(model).items():
        model.set_submodule(name, adapted.base)


def adapters(model: Transformer) -> dict[str, Adapted]:
    """The layers that have an adapter, by the names that they have without, such as `blocks.0.attn.q`."""
    return {name: module for name, module in model.named_modules() if isinstance(module, Adapted)}


def put_adapter(
    model: Transformer, name: str, rank: int, alpha: float, *, dropout: float = 0.0, rslora: bool = False
) -> Adapted:
    """Put a new adapter beside the linear layer `name`."""
    base = model.get_submodule(name)
    assert isinstance(base, nn.Linear)
    adapted = Adapted(base, rank, alpha, dropout=dropout, rslora=rslora)
    model.set_submodule(name, adapted)
    return adapted


def refuse_adapters(model: Transformer) -> None:
    """Raise `BadInput` if the model has adapters: a second one beside the same matrix would not know of the first."""
    if adapters(model):
        raise BadInput("the model has LoRA adapters already; merge or remove them before others are added")


def last(name: str) -> str:
    """The last part of a name with dots."""
    return name.rpartition(".")[2]
