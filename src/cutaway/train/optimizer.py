"""Muon for the matrices inside the blocks, AdamW for everything else."""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from cutaway.runs.recipe import Settings
from cutaway.train import sharded

DecayRate = Annotated[float, Field(ge=0, lt=1)]


class OptimizerSettings(Settings):
    """Step sizes and their companions."""

    kind: Literal["muon", "adamw"] = Field(
        default="muon", description="muon: Muon for the blocks' matrices and AdamW for the rest; adamw: AdamW for all"
    )
    muon_lr: float = Field(default=0.02, gt=0, description="learning rate of the blocks' matrices")
    adamw_lr: float = Field(default=0.004, gt=0, description="learning rate of embeddings and norm gains")
    momentum: float = Field(default=0.95, ge=0, lt=1, description="Muon's momentum")
    betas: tuple[DecayRate, DecayRate] = Field(
        default=(0.9, 0.95), description="AdamW's decay rates of its two moments"
    )
    weight_decay: float = Field(default=0.0, ge=0, description="decay a step, times the learning rate, of every matrix")


class Optimizer:
    """Both optimisers behind one `step`, `zero_grad`, `state_dict` and `load_state_dict`.

    They move the weights that require a gradient, and no others.
    """

    def __init__(self, model: nn.Module, settings: OptimizerSettings) -> None:
        named = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        inside = {
            name: weight for name, weight in named.items() if settings.kind == "muon" and moved_by_muon(name, weight)
        }
        self.settings = settings
        self.muon = StackedMuon(inside, momentum=settings.momentum, weight_decay=settings.weight_decay)
        self.rest = {name: weight for name, weight in named.items() if name not in inside}
        # Biases and gains are not pulled towards nothing. What is divided is not updated in one call with what is not.
        groups: dict[Any, list[nn.Parameter]] = defaultdict(list, {(0.0, False): []})
        for weight in self.rest.values():
            groups[settings.weight_decay if weight.dim() > 1 else 0.0, sharded.is_divided(weight)].append(weight)
        self.adamw = torch.optim.AdamW(
            [{"params": weights, "weight_decay": decay} for (decay, _), weights in groups.items()],
            lr=settings.adamw_lr,
            betas=settings.betas,
            eps=1e-10,
            fused=True,
        )

    @property
    def lr(self) -> float:
        """The highest learning rate, of whichever moves the most."""
        return self.settings.muon_lr if self.muon.stacks else self.settings.adamw_lr

    def step(self, scale: float) -> None:
        """One update, each learning rate times `scale`."""
        self.muon.step(self.settings.muon_lr * scale)
        for group in self.adamw.param_groups:
            group["lr"] = self.settings.adamw_lr * scale
        self.adamw.step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.muon.zero_grad()
        self.adamw.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Tensor]:
        """All that an unbroken run would remember, flat, as tensors named after their weights."""
        state = {f"muon.{name}": momentum for name, momentum in self.muon.state_dict().items()}
        for name, weight in self.rest.items():
            state |= {f"adamw.{name}.{moment}": value for moment, value in self.adamw.state[weight].items()}
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take up where `state_dict` left off."""
        self.muon.load_state_dict(state)
        for name, weight in self.rest.items():
            moments = {moment: state.get(f"adamw.{name}.{moment}") for moment in ("step", "exp_avg", "exp_avg_sq")}
            if moments["step"] is not None:
                self.adamw.state[weight] = {key: value.clone() for key, value in moments.items() if value is not None}


def moved_by_muon(name: str, weight: Tensor) -> bool:
    """Whether a weight is a matrix between two activations: inside a block, and no adapter."""
    return "blocks." in name and weight.dim() == 2 and "lora_" not in name


class StackedMuon:
    """Muon (Jordan et al. 2024): momentum, made orthogonal, with matrices of one shape worked as one batch."""

    def __init__(self, weights: dict[str, nn.Parameter], *, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        alike: dict[Any, dict[str, nn.Parameter]] = defaultdict(dict)
        for name, weight in weights.items():
            alike[weight.shape, sharded.axis(weight)][name] = weight
        self.stacks = list(alike.values())
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.momenta = [
            torch.stack([torch.zeros_like(sharded.local(weight)) for weight in stack.values()])
            for stack in self.stacks
        ]  # fmt: skip

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """One Nesterov update; its size is that of AdamW for square matrices, more for tall ones."""
        for stack, momentum in zip(self.stacks, self.momenta, strict=True):
            weights = list(stack.values())
            gradient = torch.stack([sharded.local(weight.grad) for weight in weights if weight.grad is not None])
            momentum.lerp_(gradient, 1 - self.momentum)
            update = sharded.whole_matrices(gradient.lerp_(momentum, self.momentum), weights[0], orthogonalize)
            rows, columns = weights[0].shape
            update *= -lr * max(1.0, rows / columns) ** 0.5
            for weight, change in zip(weights, update, strict=True):
                sharded.local(weight).mul_(1 - lr * self.weight_decay).add_(change)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for stack in self.stacks:
            for weight in stack.values():
                weight.grad = None

    def state_dict(self) -> dict[str, Tensor]:
        """The momentum of each weight, by its name."""
        return {
            name: sharded.like(value, weight)
            for stack, momentum in zip(self.stacks, self.momenta, strict=True)
            for (name, weight), value in zip(stack.items(), momentum, strict=True)
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take each weight's momentum from `muon.` and its name."""
        for stack, momentum in zip(self.stacks, self.momenta, strict=True):
            for name, value in zip(stack, momentum, strict=True):
                value.copy_(sharded.local(state[f"muon.{name}"]))


POLYNOMIALS = (
    (8.3837, -24.7659, 18.3571),
    (4.0434, -3.0114, 0.5695),
    (3.5056, -2.6267, 0.5257),
    (2.4901, -1.8343, 0.4368),
)
"""Each the odd quintic nearest to 1 on the range that those before it leave of singular values from 0.003 to 1."""


def orthogonalize(matrices: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrices to a stack `[n, rows, columns]`, roughly: singular values in 0.8 to 1.2.

    The composition of polynomials of Amsel et al. (2025, "The Polar Express", theorem 3.1). Every factor is a
    polynomial in the Gram matrix of the shorter side, so all but the first and last product are of that small size.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    gram = x @ x.mT
    step = factor = in_gram(gram, *POLYNOMIALS[0])
    for coefficients in POLYNOMIALS[1:]:
        gram = step @ gram @ step
        step = in_gram(gram, *coefficients)
        factor = step @ factor
    x = factor @ x
    return x.mT if tall else x


def in_gram(gram: Tensor, a: float, b: float, c: float) -> Tensor:
    """`a` I + `b` G + `c` G², which times x is `a` x + `b` x³ + `c` x⁵ of each of x's singular values."""
    result = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    result.diagonal(dim1=-2, dim2=-1).add_(a)
    return result
