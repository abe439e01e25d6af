"""Layer normalisation, with the mean taken out or not."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cutaway.model.config import ModelConfig
from cutaway.model.taps import UNTOUCHED, Tap


class Norm(nn.Module):
    """x / rms(x), times a learned gain (RMSNorm, Zhang and Sennrich 2019).

    As a LayerNorm (Ba et al. 2016) the mean is subtracted first, and a bias may be added last.
    """

    def __init__(self, config: ModelConfig, width: int, *, centred: bool | None = None) -> None:
        super().__init__()
        self.centred = config.norm == "layer" if centred is None else centred
        self.eps = config.norm_eps
        self.offset = config.norm_gain_offset
        self.weight = nn.Parameter(torch.full((width,), 1.0 - self.offset))
        self.bias = nn.Parameter(torch.zeros(width)) if config.norm_bias and self.centred else None

    def forward(self, x: Float[Tensor, "... width"], tap: Tap = UNTOUCHED) -> Float[Tensor, "... width"]:
        """`x` at unit root mean square along its last axis, times the gain."""
        x = tap("hook_in", x)
        wide = x.float()
        if self.centred:
            wide = wide - wide.mean(-1, keepdim=True)
        power = wide.pow(2).mean(-1, keepdim=True) + self.eps
        if tap.wants("hook_scale"):
            wide = wide / tap("hook_scale", power.sqrt())
        else:
            wide = wide * torch.rsqrt(power)
        gain = self.weight + self.offset if self.offset else self.weight
        scaled = gain * tap("hook_normalized", wide.to(x.dtype))
        return tap("hook_out", scaled if self.bias is None else scaled + self.bias)
