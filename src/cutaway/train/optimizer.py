"""Muon for the matrices inside the blocks, AdamW for everything else."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from cutaway.runs.recipe import Settings


class OptimizerSettings(Settings):
    """Step sizes and their companions."""

    muon_lr: float = Field(default=0.02, gt=0, description="learning rate of the blocks' matrices")
    adamw_lr: float = Field(default=0.004, gt=0, description="learning rate of embeddings and norm gains")
    momentum: float = Field(default=0.95, ge=0, lt=1, description="Muon's momentum")
    betas: tuple[float, float] = Field(default=(0.9, 0.95), description="AdamW's decay rates of its two moments")
    weight_decay: float = Field(default=0.0, ge=0, description="decay a step, times the learning rate, of every matrix")


class Optimizer:
    """Both optimisers behind one `step`, `zero_grad`, `state_dict` and `load_state_dict`."""

    def __init__(self, model: nn.Module, settings: OptimizerSettings) -> None:
        named = dict(model.named_parameters())
        hidden = [weight for name, weight in named.items() if name.startswith("blocks.") and weight.dim() == 2]
        inside = {id(weight) for weight in hidden}
        rest = [weight for weight in named.values() if id(weight) not in inside]
        self.settings = settings
        self.muon = StackedMuon(hidden, momentum=settings.momentum, weight_decay=settings.weight_decay)
        self.adamw = torch.optim.AdamW(
            [
                {"params": [weight for weight in rest if weight.dim() == 2], "weight_decay": settings.weight_decay},
                {"params": [weight for weight in rest if weight.dim() != 2], "weight_decay": 0.0},
            ],
            lr=settings.adamw_lr,
            betas=settings.betas,
            eps=1e-10,
            fused=True,
        )

    def step(self, scale: float) -> None:
        """One update, each learning rate times `scale`."""
        self.muon.step(self.settings.muon_lr * scale)
        for group in self.adamw.param_groups:
            group["lr"] = self.settings.adamw_lr * scale
        self.adamw.step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for weight in self.muon.weights:
            weight.grad = None
        self.adamw.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """All that an unbroken run would remember, flat, as tensors by name."""
        state = {f"muon.{i}": momentum for i, momentum in enumerate(self.muon.momenta)}
        for i, moments in self.adamw.state_dict()["state"].items():
            state |= {f"adamw.{i}.{name}": value for name, value in moments.items()}
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take up where `state_dict` left off."""
        for i in range(len(self.muon.momenta)):
            self.muon.momenta[i] = state[f"muon.{i}"].clone()
        whole = self.adamw.state_dict()
        moments: dict[int, dict[str, Tensor]] = defaultdict(dict)
        for name, value in state.items():
            if name.startswith("adamw."):
                _, i, moment = name.split(".")
                moments[int(i)][moment] = value
        self.adamw.load_state_dict(whole | {"state": dict(moments)})


class StackedMuon:
    """Muon (Jordan et al. 2024): momentum, made orthogonal, with matrices of one shape worked as one batch."""

    def __init__(self, weights: list[nn.Parameter], *, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        by_shape: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
        for weight in weights:
            by_shape[weight.shape].append(weight)
        self.weights = weights
        self.stacks = list(by_shape.values())
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.momenta = [torch.zeros(len(stack), *stack[0].shape, device=stack[0].device) for stack in self.stacks]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """One Nesterov update; its size is that of AdamW for square matrices, more for tall ones."""
        for stack, momentum in zip(self.stacks, self.momenta, strict=True):
            gradient = torch.stack([weight.grad for weight in stack if weight.grad is not None])
            momentum.lerp_(gradient, 1 - self.momentum)
            update = orthogonalize(gradient.lerp_(momentum, self.momentum))
            rows, columns = update.shape[-2:]
            update *= -lr * max(1.0, rows / columns) ** 0.5
            for weight, change in zip(stack, update, strict=True):
                weight.mul_(1 - lr * self.weight_decay).add_(change)


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
