"""Phi-3 (Abdin et al. 2024): a Llama whose matrices are fused, with a scaling of its own for long contexts."""

from __future__ import annotations

from typing import Any

from cutaway.model.config import ModelConfig, Sparsity
from cutaway.model.families import llama
from cutaway.model.families.family import Family, Json
from cutaway.model.weights import Names


def read(config: Json) -> ModelConfig:
    """The shape that config.json describes."""
    fields: dict[str, Any] = {"family": "phi3"}
    if window := config.get("sliding_window"):
        fields |= {"sparsity": Sparsity("window", window), "local_layers": tuple(range(config["num_hidden_layers"]))}
    return llama.read(config, **fields)


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
