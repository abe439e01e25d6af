"""The decoder, from token ids to logits, read from top to bottom.

Every tensor on the way has the name that TransformerLens gives it. A `tap` is called with each of those names and its
tensor and returns the tensor to go on with, so that one function reads or changes anything; with no tap nothing is
called, and the compiled graph is the one without.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from cutaway.model.cache import KVCache, LayerCache
from cutaway.model.config import ModelConfig

Tap = Callable[[str, Tensor], Tensor]


class Transformer(nn.Module):
    """A decoder-only language model.

    Its output and input embeddings share one matrix when `config.tied_embeddings` is set.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.ln_final = RMSNorm(config.d_model, config.norm_eps)
        self.unembed = nn.Linear(config.d_model, config.vocab_size, bias=False)
        if config.tied_embeddings:
            self.unembed.weight = self.embed.weight
        self.initialize()

    def initialize(self) -> None:
        """Draw the weights anew: normal with standard deviation 0.02, residual outputs smaller by 1/sqrt(2 layers).

        The scaling of the matrices that write into the residual stream is GPT-2's (Radford et al. 2019, section 2.3).
        """
        residual = 0.02 / math.sqrt(2 * self.config.n_layers)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                nn.init.normal_(weight, std=residual if name.endswith(("attn.o.weight", "mlp.down.weight")) else 0.02)

    def forward(
        self, tokens: Int[Tensor, "batch position"], *, cache: KVCache | None = None, tap: Tap | None = None
    ) -> Float[Tensor, "batch position vocab"]:
        """Logits for the token after each position; with a cache, `tokens` continue what the cache holds."""
        return self.logits(self.hidden(tokens, cache=cache, tap=tap))

    def hidden(
        self, tokens: Int[Tensor, "batch position"], *, cache: KVCache | None = None, tap: Tap | None = None
    ) -> Float[Tensor, "batch position d_model"]:
        """The normalised residual stream after the last block, from which `logits` reads."""
        tap = tap or untouched
        positions = (
            cache.next_positions(tokens.shape[1]) if cache else torch.arange(tokens.shape[1], device=tokens.device)
        )
        rotation = rotary_angles(positions, self.config)
        residual = tap("hook_embed", self.embed(tokens))
        for i, block in enumerate(self.blocks):
            residual = block(residual, rotation, cache.layers[i] if cache else None, under(f"blocks.{i}.", tap))
        if cache:
            cache.advance(tokens.shape[1])
        return tap("ln_final.hook_normalized", self.ln_final(residual))

    def logits(self, hidden: Float[Tensor, "... d_model"]) -> Float[Tensor, "... vocab"]:
        """What the final residual stream says of the next token."""
        return self.unembed(hidden)

    def n_parameters(self) -> int:
        """Number of weights, each counted once."""
        return sum(weight.numel() for weight in self.parameters())


class Block(nn.Module):
    """Attention, then an MLP, each reading a normalised residual stream and adding to it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.ln1 = RMSNorm(config.d_model, config.norm_eps)
        self.attn = Attention(config)
        self.ln2 = RMSNorm(config.d_model, config.norm_eps)
        self.mlp = SwiGLU(config)

    def forward(self, residual: Tensor, rotation: tuple[Tensor, Tensor], cache: LayerCache | None, tap: Tap) -> Tensor:
        """The residual stream `[batch, position, d_model]` after this block."""
        residual = tap("hook_resid_pre", residual)
        attention = self.attn(self.ln1(residual), rotation, cache, under("attn.", tap))
        residual = tap("hook_resid_mid", residual + tap("hook_attn_out", attention))
        mlp = self.mlp(self.ln2(residual), under("mlp.", tap))
        return tap("hook_resid_post", residual + tap("hook_mlp_out", mlp))


class Attention(nn.Module):
    """Causal self-attention in which groups of query heads share a key and value head."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.q = nn.Linear(config.d_model, config.n_heads * config.d_head, bias=False)
        self.k = nn.Linear(config.d_model, config.n_kv_heads * config.d_head, bias=False)
        self.v = nn.Linear(config.d_model, config.n_kv_heads * config.d_head, bias=False)
        self.o = nn.Linear(config.n_heads * config.d_head, config.d_model, bias=False)
        self.q_norm = RMSNorm(config.d_head, config.norm_eps)
        self.k_norm = RMSNorm(config.d_head, config.norm_eps)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], cache: LayerCache | None, tap: Tap) -> Tensor:
        """What each position gathers from itself and those before it, `[batch, position, d_model]`."""
        batch, length, _ = x.shape
        heads = (batch, length, -1, self.config.d_head)
        q = tap("hook_q", self.q(x).view(heads)).transpose(1, 2)
        k = tap("hook_k", self.k(x).view(heads)).transpose(1, 2)
        v = tap("hook_v", self.v(x).view(heads)).transpose(1, 2)
        q = rotate(self.q_norm(q), rotation)
        k = rotate(self.k_norm(k), rotation)
        mask = None
        if cache:
            k, v, mask = cache.append(k, v)
        z = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=cache is None, enable_gqa=self.config.n_heads != self.config.n_kv_heads
        )
        return self.o(tap("hook_z", z.transpose(1, 2)).flatten(2))


class SwiGLU(nn.Module):
    """The gated MLP: down(silu(gate(x)) * up(x)) (Shazeer 2020)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate = nn.Linear(config.d_model, config.d_mlp, bias=False)
        self.up = nn.Linear(config.d_model, config.d_mlp, bias=False)
        self.down = nn.Linear(config.d_mlp, config.d_model, bias=False)

    def forward(self, x: Tensor, tap: Tap) -> Tensor:
        """What each position makes of itself, `[batch, position, d_model]`."""
        gate = tap("hook_pre", self.gate(x))
        return self.down(tap("hook_post", F.silu(gate) * self.up(x)))


class RMSNorm(nn.Module):
    """x / rms(x), times a learned gain (Zhang and Sennrich 2019)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Float[Tensor, "... width"]) -> Float[Tensor, "... width"]:
        """`x` at unit root mean square along its last axis, times the gain."""
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


def rotary_angles(positions: Int[Tensor, "*batch position"], config: ModelConfig) -> tuple[Tensor, Tensor]:
    """Cosine and sine of each position's angle at each frequency, two tensors `[*batch, position, d_head / 2]`."""
    exponents = torch.arange(0, config.d_head, 2, device=positions.device, dtype=torch.float32) / config.d_head
    angles = positions[..., None].float() * (config.rope_theta**-exponents)
    return angles.cos(), angles.sin()


def rotate(x: Float[Tensor, "batch head position d_head"], rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Turn each pair (x[i], x[i + d_head / 2]) by its position's angle (Su et al. 2021, eq. 34, in Llama's pairing)."""
    cos, sin = (part if part.dim() == 2 else part[:, None] for part in rotation)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(x.dtype)


def untouched(_name: str, tensor: Tensor) -> Tensor:
    """The tap of a model that nobody looks into."""
    return tensor


def under(prefix: str, tap: Tap) -> Tap:
    """`tap` for the names below `prefix`."""
    if tap is untouched:
        return untouched
    return lambda name, tensor: tap(prefix + name, tensor)
