"""Where a token stands: every way in which transformers are told."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cutaway.model.config import ModelConfig, RopeScaling

Rotation = tuple[Tensor, Tensor]
"""Cosine and sine of each position's angle at each frequency, two tensors `[*batch, position, d_rotary / 2]`."""


def rotation(
    positions: Int[Tensor, "*batch position"], config: ModelConfig, furthest: int, *, local: bool = False
) -> Rotation:
    """The angles that `rotate` turns by, for the layers with local attention or for the others.

    `furthest` is how many positions there are or will be: some scaling is another for long texts.
    """
    theta, scaling = config.rope_theta, config.rope_scaling
    if local and config.local_rope_theta is not None:
        theta, scaling = config.local_rope_theta, None
    exponents = torch.arange(0, config.d_rotary, 2, device=positions.device, dtype=torch.float32) / config.d_rotary
    frequencies, size = theta**-exponents, 1.0
    if scaling:
        frequencies, size = scaled(frequencies, theta, scaling, furthest)
    angles = positions[..., None].float() * frequencies
    cos, sin = angles.cos(), angles.sin()
    return (cos, sin) if size == 1 else (cos * size, sin * size)


def rotate(x: Float[Tensor, "batch head position d_head"], by: Rotation) -> Tensor:
    """Turn each pair (x[i], x[i + d_rotary / 2]) by its position's angle (Su et al. 2021, eq. 34, in Llama's pairing).

    Dimensions past d_rotary stay as they are.
    """
    cos, sin = (part if part.dim() == 2 else part[:, None] for part in by)
    half = cos.shape[-1]
    # Splitting, not slicing: its gradient is put together in one piece.
    first, second, *rest = x.split([half, half, left] if (left := x.shape[-1] - 2 * half) else [half, half], dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin, *rest], dim=-1).to(x.dtype)


def scaled(frequencies: Tensor, theta: float, scaling: RopeScaling, furthest: int) -> tuple[Tensor, float]:
    """Frequencies for a longer context, and what cosine and sine are multiplied by."""
    match scaling.kind:
        case "linear":
            return frequencies / scaling.factor, 1.0
        case "llama3":
            turns = scaling.original_context * frequencies / (2 * math.pi)
            low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
            kept = ((turns - low) / (high - low)).clamp(0, 1)
            return frequencies * (kept + (1 - kept) / scaling.factor), 1.0
        case "yarn":
            # The dimension that turns n times within the original context, solved for its number.
            half = len(frequencies)
            low, high = (
                half * math.log(scaling.original_context / (n * 2 * math.pi)) / math.log(theta)
                for n in (scaling.beta_fast, scaling.beta_slow)
            )
            low, high = max(math.floor(low), 0), min(math.ceil(high), 2 * half - 1)
            ramp = (torch.arange(half, device=frequencies.device) - low) / max(high - low, 0.001)
            kept = 1 - ramp.clamp(0, 1)
            size = scaling.attention_factor or 0.1 * math.log(scaling.factor) + 1
            return frequencies * (kept + (1 - kept) / scaling.factor), size
        case "longrope":
            # One choice for all keys of a cache, by its capacity: those turned by other angles could not be compared.
            beyond = furthest > scaling.original_context
            factors = torch.tensor(scaling.long_factors if beyond else scaling.short_factors, device=frequencies.device)
            size = scaling.attention_factor or (
                math.sqrt(1 + math.log(scaling.factor) / math.log(scaling.original_context))
                if scaling.factor > 1
                else 1.0
            )
            return frequencies / factors, size


def sinusoidal(positions: Int[Tensor, "*batch position"], d_model: int) -> Float[Tensor, "*batch position d_model"]:
    """The 2017 Transformer's positions (Vaswani et al., section 3.5): first all sines, then all cosines."""
    half = (d_model + 1) // 2
    frequencies = 10_000 ** (-torch.arange(half, device=positions.device, dtype=torch.float64) * 2 / d_model)
    angles = positions[..., None].double() * frequencies
    return torch.cat([angles.sin(), angles.cos()[..., : d_model - half]], dim=-1).float()


def bias_by_distance(
    distance: Int[Tensor, "query key"], config: ModelConfig, relative: nn.Embedding | None
) -> Float[Tensor, "head query key"] | None:
    """What is added to scores by the distance key − query: ALiBi's, T5's learned one, or nothing."""
    if config.positions == "alibi":
        return alibi_slopes(config.n_heads).to(distance.device)[:, None, None] * distance
    if relative is None:
        return None
    buckets = relative_bucket(
        distance,
        both_ways=config.kind == "encoder",
        buckets=config.relative_buckets,
        furthest=config.relative_distance,
    )
    return relative(buckets).permute(2, 0, 1)


def alibi_slopes(n_heads: int) -> Float[Tensor, " head"]:
    """How much each head's scores fall with each position of distance (Press et al. 2021)."""
    power = 2 ** math.floor(math.log2(n_heads))
    slopes = [2 ** (-8 * (i + 1) / power) for i in range(power)]
    # Between powers of two, every other slope of the next larger one.
    slopes += [2 ** (-8 * (2 * i + 1) / (2 * power)) for i in range(n_heads - power)]
    return torch.tensor(slopes)


def relative_bucket(
    distance: Int[Tensor, "query key"], *, both_ways: bool, buckets: int, furthest: int
) -> Int[Tensor, "query key"]:
    """T5's bucket of each distance key − query: one each for near ones, wider ones up to `furthest` (Raffel 2020)."""
    offset = torch.zeros_like(distance)
    if both_ways:
        buckets //= 2
        offset = (distance > 0).long() * buckets
        distance = distance.abs()
    else:
        distance = -distance.clamp(max=0)
    exact = buckets // 2
    far = (
        exact + ((distance.float().clamp(min=1) / exact).log() / math.log(furthest / exact) * (buckets - exact)).long()
    )
    return offset + torch.where(distance < exact, distance, far.clamp(max=buckets - 1))
