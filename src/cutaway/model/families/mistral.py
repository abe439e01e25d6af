"""Mistral (Jiang et al. 2023), a Llama with a window, and Mixtral (2024), a Mistral with experts in every block."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cutaway.model.config import Experts, ModelConfig
from cutaway.model.families import llama
from cutaway.model.families.family import Family, Json, experts_of, window_everywhere
from cutaway.model.weights import Names


def read_mistral(config: Json) -> ModelConfig:
    """Mistral: every layer with a window, or none."""
    return llama.read(config, family="mistral", **window_everywhere(config))


def write_mistral(config: ModelConfig) -> dict[str, Any]:
    """Mistral's config.json."""
    return llama.write(config) | {"sliding_window": config.sparsity.width if config.sparsity else None}


def read_mixtral(config: Json) -> ModelConfig:
    """Mixtral: a Mistral with experts in every block."""
    shape = read_mistral(config)
    experts = Experts(config["num_local_experts"], config["num_experts_per_tok"], config["intermediate_size"])
    return replace(shape, family="mixtral", experts=experts, expert_layers=tuple(range(shape.n_layers)))


def write_mixtral(config: ModelConfig) -> dict[str, Any]:
    """Mixtral's config.json."""
    experts = experts_of(config)
    return write_mistral(config) | {
        "num_local_experts": experts.n,
        "num_experts_per_tok": experts.per_token,
        "intermediate_size": experts.d_mlp,
    }


def mixtral_names(config: ModelConfig) -> Names:
    """Mixtral's names."""
    return {
        **llama.names(config),
        "blocks.{i}.mlp.router": "model.layers.{i}.block_sparse_moe.gate",
        "blocks.{i}.mlp.gate": "model.layers.{i}.block_sparse_moe.experts.{e}.w1.weight",
        "blocks.{i}.mlp.down": "model.layers.{i}.block_sparse_moe.experts.{e}.w2.weight",
        "blocks.{i}.mlp.up": "model.layers.{i}.block_sparse_moe.experts.{e}.w3.weight",
    }


MISTRAL = Family("mistral", {"linear": "MistralForCausalLM"}, read_mistral, write_mistral, llama.names)
MIXTRAL = Family("mixtral", {"linear": "MixtralForCausalLM"}, read_mixtral, write_mixtral, mixtral_names)
