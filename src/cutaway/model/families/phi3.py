"""Phi-3 (Abdin et al. 2024): a Llama whose matrices are fused, with a scaling of its own for long contexts."""

from __future__ import annotations

from typing import Any

from cutaway.model.config import ModelConfig
from cutaway.model.families import llama
from cutaway.model.families.family import Family, Json, window_everywhere
from cutaway.model.weights import Names


def read(config: Json) -> ModelConfig:
    """The shape that config.json describes."""
    return llama.read(config, family="phi3", **window_everywhere(config))


def write(config: ModelConfig) -> dict[str, Any]:
    """config.json."""
    return llama.write(config) | {"sliding_window": config.sparsity.width if config.sparsity else None}


def names(config: ModelConfig) -> Names:
    """Phi-3's names."""
    own = llama.names(config)
    return {ours: theirs for ours, theirs in own.items() if ".attn." not in ours and ".mlp." not in ours} | {
        "blocks.{i}.attn.q + blocks.{i}.attn.k + blocks.{i}.attn.v": "model.layers.{i}.self_attn.qkv_proj",
        "blocks.{i}.attn.o": "model.layers.{i}.self_attn.o_proj",
        "blocks.{i}.mlp.gate + blocks.{i}.mlp.up": "model.layers.{i}.mlp.gate_up_proj",
        "blocks.{i}.mlp.down": "model.layers.{i}.mlp.down_proj",
    }


PHI3 = Family("phi3", {"linear": "Phi3ForCausalLM"}, read, write, names)
