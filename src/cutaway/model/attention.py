"""Attention: each position gathers from those it may read."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cutaway.model.cache import LayerCache
from cutaway.model.config import ModelConfig
from cutaway.model.norms import Norm
from cutaway.model.positions import Rotation, rotate
from cutaway.model.reach import Reach
from cutaway.model.taps import Tap

Inputs = tuple[Tensor, Tensor, Tensor]
"""What each head's query, key and value are made of, `[batch, position, head, d_model]` each."""


class Attention(nn.Module):
    """Queries from `x`; keys and values from `x` too, or from another sequence, which makes it cross-attention.

    Groups of query heads may share a key and value head (Ainslie et al. 2023).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width, kv_width = config.n_heads * config.d_head, config.n_kv_heads * config.d_head
        self.q = nn.Linear(config.d_model, width, bias=config.qkv_bias)
        self.k = nn.Linear(config.d_model, kv_width, bias=config.qkv_bias)
        self.v = nn.Linear(config.d_model, kv_width, bias=config.qkv_bias)
        self.o = nn.Linear(width, config.d_model, bias=config.output_bias)
        if config.qk_norm != "none":
            whole = config.qk_norm == "all"
            self.q_norm = Norm(config, width if whole else config.d_head, centred=False)
            self.k_norm = Norm(config, kv_width if whole else config.d_head, centred=False)

    def forward(
        self,
        x: Tensor,
        reach: Reach,
        rotation: Rotation | None,
        cache: LayerCache | None,
        tap: Tap,
        source: Tensor | None = None,
        each: Inputs | None = None,
    ) -> Tensor:
        """What each position of `x` gathers, `[batch, position, d_model]`.

        `source` `[batch, key, d_model]` is what cross-attention reads; None once the cache holds its keys and values.
        With `each`, heads read inputs of their own instead of `x`.
        """
        x = tap("hook_in", x)
        if rotation is not None:
            rotation = told(rotation, tap)
        q_own, k_own, v_own = each or (None, None, None)
        q = self.heads(x, q_own, "q", rotation, tap)
        crosses = source is not None or (cache is not None and cache.fixed)
        if cache is not None and cache.fixed and source is None:
            k, v = cache.k, cache.v
        else:
            read = x if source is None else source
            k = self.heads(read, k_own, "k", None if crosses else rotation, tap)
            v = self.heads(read, v_own, "v", None, tap)
            if cache is not None:
                k, v = cache.append(k, v)
        z = self.gather(q, k, v, reach, tap)
        z = tap("hook_z", z.transpose(1, 2))
        if tap.wants("hook_result"):
            # [batch, position, head, d_model]: what each head alone writes.
            writers = self.o.weight.view(-1, self.config.n_heads, self.config.d_head)
            result = tap("hook_result", torch.einsum("bphd,mhd->bphm", z, writers)).sum(2)
            return tap("hook_out", result + self.o.bias if self.config.output_bias else result)
        return tap("hook_out", self.o(z.flatten(2)))

    def heads(self, x: Tensor, own: Tensor | None, kind: str, rotation: Rotation | None, tap: Tap) -> Tensor:
        """Queries, keys or values `[batch, head, position, d_head]`, normalised and rotated."""
        norm: Norm | None = getattr(self, f"{kind}_norm", None)
        matrix: nn.Linear = getattr(self, kind)
        x = tap(f"{kind}.hook_in", x)
        x = matrix(x).unflatten(-1, (-1, self.config.d_head)) if own is None else head_by_head(matrix, own)
        x = tap(f"hook_{kind}", x)
        if norm and self.config.qk_norm == "all":
            x, norm = norm(x.flatten(2), tap.under(f"{kind}_norm.")).view_as(x), None
        x = x.transpose(1, 2)
        if norm:
            x = norm(x, tap.under(f"{kind}_norm."))
        if rotation is None:
            return x
        x = rotate(x, rotation)
        if tap.wants(f"hook_rot_{kind}"):
            x = tap(f"hook_rot_{kind}", x.transpose(1, 2)).transpose(1, 2)
        return x

    def gather(self, q: Tensor, k: Tensor, v: Tensor, reach: Reach, tap: Tap) -> Tensor:
        """softmax(q kᵀ · scale) v (Vaswani et al. 2017, eq. 1), `[batch, head, position, d_head]`.

        The scores exist only where somebody asks for them, or where they are capped.
        """
        groups = self.config.n_heads // self.config.n_kv_heads
        cap = self.config.attention_softcap
        if not (cap or tap.wants("hook_attn_scores") or tap.wants("hook_pattern")):
            return F.scaled_dot_product_attention(
                q, k, v, reach.mask, is_causal=reach.causal, scale=self.config.scale, enable_gqa=groups > 1
            )
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
        scores = q @ k.mT * self.config.scale
        if cap:
            scores = cap * torch.tanh(scores / cap)
        mask = reach.explicit(scores.shape[-2], scores.shape[-1], scores.device)
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        pattern = tap("hook_attn_scores", scores).float().softmax(-1).to(v.dtype)
        return tap("hook_pattern", pattern) @ v


def told(rotation: Rotation, tap: Tap) -> Rotation:
    """The rotation, shown if anybody asks as `[batch, position, d_rotary]`, each angle once for both of its pair."""
    if not (tap.wants("hook_cos") or tap.wants("hook_sin")):
        return rotation
    cos, sin = (torch.cat([part, part], -1).view(-1, part.shape[-2], 2 * part.shape[-1]) for part in rotation)
    half = rotation[0].shape[-1]
    return tap("hook_cos", cos)[..., :half], tap("hook_sin", sin)[..., :half]


def head_by_head(matrix: nn.Linear, inputs: Tensor) -> Tensor:
    """A matrix's product with inputs `[batch, position, head, d_model]`, each head's own, `[…, head, d_head]`."""
    out = torch.einsum("bphm,hdm->bphd", inputs, matrix.weight.unflatten(0, (inputs.shape[2], -1)))
    bias: Tensor | None = getattr(matrix, "bias", None)
    return out if bias is None else out + bias.unflatten(0, (inputs.shape[2], -1))
