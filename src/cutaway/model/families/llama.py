"""Llama 1 to 3 (Touvron et al. 2023; Grattafiori et al. 2024), SmolLM and SmolLM2; the parent of many others here."""

from __future__ import annotations

from typing import Any

from cutaway.model.config import ModelConfig
from cutaway.model.families.family import (
    Family,
    Json,
    activation,
    must_be,
    rope,
    their_activation,
    their_rope,
)
from cutaway.model.weights import Names


def read(config: Json, **fields: Any) -> ModelConfig:
    """The shape that a Llama's config.json describes; `fields` are what a child does otherwise."""
    n_heads = config["num_attention_heads"]
    common: dict[str, Any] = {
        "vocab_size": config["vocab_size"],
        "n_layers": config["num_hidden_layers"],
        "d_model": config["hidden_size"],
        "n_heads": n_heads,
        "n_kv_heads": config.get("num_key_value_heads") or n_heads,
        "d_head": config.get("head_dim") or config["hidden_size"] // n_heads,
        "d_mlp": config["intermediate_size"],
        "context": config["max_position_embeddings"],
        "norm_eps": config["rms_norm_eps"],
        "activation": activation(config.get("hidden_act", "silu")),
        "tied_embeddings": config.get("tie_word_embeddings", False),
        "qk_norm": "none",
        "family": "llama",
        **rope(config),
    }
    return ModelConfig(**(common | fields))


def write(config: ModelConfig) -> dict[str, Any]:
    """config.json's keys that all of them share."""
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.d_model,
        "intermediate_size": config.d_mlp,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.d_head,
        "hidden_act": their_activation(config.activation),
        "max_position_embeddings": config.context,
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied_embeddings,
        **their_rope(config),
    }


def names(config: ModelConfig) -> Names:
    """Llama's names, which most of its children have kept."""
    return {
        "embed": "model.embed_tokens",
        "blocks.{i}.ln1": "model.layers.{i}.input_layernorm",
        "blocks.{i}.attn.q": "model.layers.{i}.self_attn.q_proj",
        "blocks.{i}.attn.k": "model.layers.{i}.self_attn.k_proj",
        "blocks.{i}.attn.v": "model.layers.{i}.self_attn.v_proj",
        "blocks.{i}.attn.o": "model.layers.{i}.self_attn.o_proj",
        "blocks.{i}.attn.q_norm": "model.layers.{i}.self_attn.q_norm",
        "blocks.{i}.attn.k_norm": "model.layers.{i}.self_attn.k_norm",
        "blocks.{i}.ln2": "model.layers.{i}.post_attention_layernorm",
        "blocks.{i}.mlp.gate": "model.layers.{i}.mlp.gate_proj",
        "blocks.{i}.mlp.up": "model.layers.{i}.mlp.up_proj",
        "blocks.{i}.mlp.down": "model.layers.{i}.mlp.down_proj",
        "ln_final": "model.norm",
        "unembed": "lm_head",
    }


def read_llama(config: Json) -> ModelConfig:
    """Llama 1 to 3, SmolLM and SmolLM2."""
    must_be(config, pretraining_tp=1)
    bias = config.get("attention_bias", False)
    return read(config, qkv_bias=bias, output_bias=bias, mlp_bias=config.get("mlp_bias", False))


def write_llama(config: ModelConfig) -> dict[str, Any]:
    """Llama's config.json."""
    return write(config) | {"attention_bias": config.output_bias, "mlp_bias": config.mlp_bias}


LLAMA = Family(
    "llama", {"linear": "LlamaForCausalLM"}, read_llama, write_llama, names, ignored=("rotary_emb.inv_freq",)
)
