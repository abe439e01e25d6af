"""Rotary frequencies for longer contexts in GGUF: some in metadata, some as a tensor of one factor per frequency."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from cutaway.model.config import ModelConfig, RopeScaling
from cutaway.model.families import Unsupported
from cutaway.model.gguf_facts import Facts
from cutaway.model.positions import scaled
from cutaway.tokens.gguf_header import Value

FREQUENCIES, LONG, SHORT = "rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"
FACTORS: Mapping[str, Sequence[str]] = {"llama": (FREQUENCIES, LONG, SHORT), "phi3": (LONG, SHORT)}
"""Which of these tensors llama.cpp reads in files of which architecture."""


def read_scaling(facts: Facts) -> dict[str, Any] | None:
    """`rope_scaling` of config.json. Raises `Unsupported`."""
    original = facts.whole("rope.scaling.original_context_length", facts.whole("context_length"))
    factor = facts.real("rope.scaling.factor", facts.real("rope.scale_linear", 0.0)) or 1.0
    kind = facts.get("rope.scaling.type", "linear")
    size = facts.real("rope.scaling.attn_factor", 1.0)
    if FREQUENCIES in facts.factors:
        return _by_frequency(facts, facts.factors[FREQUENCIES])
    if LONG in facts.factors and SHORT in facts.factors:
        long = RopeScaling("longrope", facts.whole("context_length") / original, original, long_factors=(1.0,))
        usual = scaled(torch.ones(1), 1.0, long, original + 1)[1]
        return {
            "rope_type": "longrope",
            "factor": long.factor,
            "original_max_position_embeddings": original,
            "short_factor": facts.factors[SHORT],
            "long_factor": facts.factors[LONG],
            "attention_factor": None if math.isclose(size, usual, rel_tol=1e-5) else size,
        }
    if kind == "none" or (kind == "linear" and factor == 1):
        return None
    if kind == "linear":
        return {"rope_type": "linear", "factor": factor}
    if kind == "yarn":
        return {
            "rope_type": "yarn",
            "factor": factor,
            "original_max_position_embeddings": original,
            "beta_fast": facts.real("rope.scaling.yarn_beta_fast", 32.0),
            "beta_slow": facts.real("rope.scaling.yarn_beta_slow", 1.0),
            "attention_factor": None if size == 1 else size * _yarn_size(factor),
        }
    raise Unsupported(f"rotary scaling of type {kind} without its factors")


def _yarn_size(factor: float) -> float:
    return 0.1 * math.log(factor) + 1


def _by_frequency(facts: Facts, factors: Sequence[float]) -> dict[str, Any] | None:
    """Llama 3's four numbers from the factors they make, or where these were made otherwise the factors themselves."""
    if all(factor == 1 for factor in factors):
        return None
    theta = facts.real("rope.freq_base", 10_000.0)
    frequencies = theta ** (-torch.arange(len(factors), dtype=torch.float64) / len(factors))
    guess = _llama3(frequencies, torch.tensor(factors, dtype=torch.float64))
    if guess:
        again = frequencies / scaled(frequencies, theta, guess, 1)[0]
        if torch.allclose(again, torch.tensor(factors, dtype=torch.float64), rtol=1e-4):
            return {
                "rope_type": "llama3",
                "factor": guess.factor,
                "original_max_position_embeddings": guess.original_context,
                "low_freq_factor": guess.low_frequency_factor,
                "high_freq_factor": guess.high_frequency_factor,
            }
    return {
        "rope_type": "longrope",
        "factor": 1.0,
        "original_max_position_embeddings": facts.whole("context_length"),
        "short_factor": list(factors),
        "long_factor": list(factors),
        "attention_factor": 1.0,
    }


def _llama3(frequencies: torch.Tensor, factors: torch.Tensor) -> RopeScaling | None:
    """The scaling that makes these factors, if the slow frequencies are divided by one number.

    Between slow and fast the part of a frequency that is kept grows linearly with it: kept = (turns − low) / (high −
    low), where it turns frequency · original / 2π times within the original context. A line has two numbers and the
    scaling three; all that was ever published has high − low = 3.
    """
    factor = float(factors.max())
    between = (factors > 1 + 1e-6) & (factors < factor * (1 - 1e-6))
    if factor <= 1 or not bool(between.any()):
        return None
    kept = (1 / factors[between] - 1 / factor) / (1 - 1 / factor)
    x, span = frequencies[between], 3.0
    if len(x) == 1:
        low, slope = 1.0, float((kept[0] + 1 / span) / x[0])
    else:
        slope = float((kept[0] - kept[-1]) / (x[0] - x[-1]))
        low = float((slope * x[0] - kept[0]) * span)
    original = round(slope * span * 2 * math.pi)
    low = round(low, 3)
    return RopeScaling("llama3", round(factor, 4), original, low_frequency_factor=low, high_frequency_factor=low + span)


def write_scaling(config: ModelConfig, readable: Sequence[str]) -> tuple[dict[str, Value], dict[str, list[float]]]:
    """Metadata and tensors of a scaling, the tensors only where llama.cpp would read them."""
    scaling = config.rope_scaling
    if scaling is None:
        return {}, {}
    original: dict[str, Value] = {"rope.scaling.original_context_length": scaling.original_context}
    match scaling.kind:
        case "linear":
            return {"rope.scaling.type": "linear", "rope.scaling.factor": scaling.factor}, {}
        case "yarn":
            size = scaling.attention_factor or _yarn_size(scaling.factor)
            return original | {
                "rope.scaling.type": "yarn",
                "rope.scaling.factor": scaling.factor,
                "rope.scaling.attn_factor": size / _yarn_size(scaling.factor),
                "rope.scaling.yarn_beta_fast": scaling.beta_fast,
                "rope.scaling.yarn_beta_slow": scaling.beta_slow,
            }, {}
        case "llama3" if FREQUENCIES in readable:
            half = config.d_rotary // 2
            frequencies = config.rope_theta ** (-torch.arange(half, dtype=torch.float64) / half)
            return {}, {FREQUENCIES: (frequencies / scaled(frequencies, config.rope_theta, scaling, 1)[0]).tolist()}
        case "longrope" if LONG in readable:
            size = scaled(torch.ones(len(scaling.short_factors)), config.rope_theta, scaling, 1)[1]
            values: dict[str, Value] = {"rope.scaling.type": "longrope", "rope.scaling.attn_factor": size}
            return original | values, {LONG: list(scaling.long_factors), SHORT: list(scaling.short_factors)}
        case _:
            return {}, {}
