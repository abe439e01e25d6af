"""OLMo 2 (OLMo Team 2024): each branch's output is normalised, not its input, and all heads' queries at once."""

from __future__ import annotations

from typing import Any

from cutaway.model.config import ModelConfig
from cutaway.model.families import llama
from cutaway.model.families.family import Family, Json
from cutaway.model.weights import Names


def read(config: Json) -> ModelConfig:
    """The shape that config.json describes."""
    bias = config.get("attention_bias", False)
    return llama.read(config, family="olmo2", norm_place="after", qk_norm="all", qkv_bias=bias, output_bias=bias)


def write(config: ModelConfig) -> dict[str, Any]:
    """config.json."""
    return llama.write(config) | {"attention_bias": config.qkv_bias}


def names(config: ModelConfig) -> Names:
    """OLMo 2's names."""
    return {
        **{ours: theirs for ours, theirs in llama.names(config).items() if not ours.endswith((".ln1", ".ln2"))},
        "blocks.{i}.ln1_post": "model.layers.{i}.post_attention_layernorm",
        "blocks.{i}.ln2_post": "model.layers.{i}.post_feedforward_layernorm",
    }


OLMO2 = Family("olmo2", {"linear": "Olmo2ForCausalLM"}, read, write, names)
