"""What each position makes of itself: the MLP, and the mixture of experts in its place."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cutaway.model.config import Activation, Experts, ModelConfig
from cutaway.model.taps import Tap


def quick_gelu(x: Tensor) -> Tensor:
    """GELU, nearly: x · sigmoid(1.702 x) (Hendrycks and Gimpel 2016, section 2)."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "quick_gelu": quick_gelu,
    "silu": F.silu,
}


class MLP(nn.Module):
    """down(act(up(x))), or with a gate down(act(gate(x)) * up(x)) (Shazeer 2020)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.act = ACTIVATIONS[config.activation]
        self.gate = nn.Linear(config.d_model, config.d_mlp, bias=config.mlp_bias) if config.gated else None
        self.up = nn.Linear(config.d_model, config.d_mlp, bias=config.mlp_bias)
        self.down = nn.Linear(config.d_mlp, config.d_model, bias=config.mlp_bias)

    def forward(self, x: Tensor, tap: Tap) -> Tensor:
        """What each position makes of itself, `[batch, position, d_model]`."""
        x = tap("hook_in", x)
        if self.gate is None:
            post = self.act(tap("hook_pre", self.up(tap("in.hook_in", x))))
        else:
            pre = tap("hook_pre", self.gate(tap("gate.hook_in", x)))
            post = self.act(pre) * tap("hook_pre_linear", self.up(tap("in.hook_in", x)))
        return tap("hook_out", self.down(tap("hook_post", post)))


class MixtureOfExperts(nn.Module):
    """Each token goes through the few experts, gated MLPs all, that a router scores highest for it."""

    def __init__(self, config: ModelConfig, experts: Experts) -> None:
        super().__init__()
        self.experts = experts
        self.act = ACTIVATIONS[config.activation]
        self.router = nn.Linear(config.d_model, experts.n, bias=False)
        self.gate = nn.Parameter(torch.empty(experts.n, experts.d_mlp, config.d_model))
        self.up = nn.Parameter(torch.empty(experts.n, experts.d_mlp, config.d_model))
        self.down = nn.Parameter(torch.empty(experts.n, config.d_model, experts.d_mlp))

    def forward(self, x: Tensor, tap: Tap) -> Tensor:
        """The chosen experts' outputs, weighted by the router, `[batch, position, d_model]`."""
        x = tap("hook_in", x)
        flat = x.flatten(0, -2)
        scores = tap("gate.hook_out", self.router(tap("gate.hook_in", flat)))
        weights = tap("hook_expert_weights", F.softmax(scores.float(), dim=-1))
        best, chosen = weights.topk(self.experts.per_token, dim=-1)
        chosen = tap("hook_expert_indices", chosen)
        if self.experts.normalize:
            best = best / best.sum(-1, keepdim=True)
        result = torch.zeros_like(flat)
        # On the meta device no token has chosen anything.
        for i in range(0 if x.is_meta else self.experts.n):
            token, place = (chosen == i).nonzero(as_tuple=True)
            mine = flat[token]
            out = F.linear(self.act(F.linear(mine, self.gate[i])) * F.linear(mine, self.up[i]), self.down[i])
            result = result.index_add(0, token, (out * best[token, place, None].to(out.dtype)).to(result.dtype))
        return tap("hook_out", result.view_as(x))
