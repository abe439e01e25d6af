"""Gemma 2 and 3 (Gemma Team 2024, 2025): norms around each branch, layers with a window between those without."""

from __future__ import annotations

import math
from typing import Any

from cutaway.model.config import ModelConfig
from cutaway.model.families import llama
from cutaway.model.families.family import (
    Family,
    Json,
    activation,
    layer_types,
    must_be,
    rope_scaling,
    their_scaling,
    windows,
)
from cutaway.model.weights import Names


def read(config: Json, kinds: list[str], **fields: Any) -> ModelConfig:
    """What both have in common; `kinds` are the layers'."""
    must_be(config, use_bidirectional_attention=False)
    common: dict[str, Any] = {
        "norm_gain_offset": 1.0,
        "norm_place": "around",
        "embedding_scale": math.sqrt(config["hidden_size"]),
        "attention_scale": config["query_pre_attn_scalar"] ** -0.5,
        "attention_softcap": config.get("attn_logit_softcapping"),
        "final_softcap": config.get("final_logit_softcapping"),
        "activation": activation(config.get("hidden_activation") or "gelu_pytorch_tanh"),
        "tied_embeddings": config.get("tie_word_embeddings", True),
        "qkv_bias": config.get("attention_bias", False),
        "output_bias": config.get("attention_bias", False),
        **windows({"layer_types": kinds}, config.get("sliding_window")),
    }
    return llama.read(config, **(common | fields))


def write(config: ModelConfig) -> dict[str, Any]:
    """config.json's keys that both share."""
    keys = llama.write(config)
    del keys["hidden_act"]
    return keys | {
        "hidden_activation": "gelu_pytorch_tanh" if config.activation == "gelu_tanh" else config.activation,
        "query_pre_attn_scalar": round(config.scale**-2),
        "attn_logit_softcapping": config.attention_softcap,
        "final_logit_softcapping": config.final_softcap,
        "attention_bias": config.qkv_bias,
        "sliding_window": config.sparsity.width if config.sparsity else None,
        "layer_types": layer_types(config),
    }


def names(config: ModelConfig) -> Names:
    """Their names: a Llama's, with two norms more."""
    return {
        **llama.names(config),
        "blocks.{i}.ln1_post": "model.layers.{i}.post_attention_layernorm",
        "blocks.{i}.ln2": "model.layers.{i}.pre_feedforward_layernorm",
        "blocks.{i}.ln2_post": "model.layers.{i}.post_feedforward_layernorm",
    }


def read_gemma2(config: Json) -> ModelConfig:
    """Gemma 2: every other layer has a window; scores and logits are capped."""
    n = config["num_hidden_layers"]
    kinds = config.get("layer_types") or ["full_attention" if i % 2 else "sliding_attention" for i in range(n)]
    return read(config, kinds, family="gemma2")


def read_gemma3(config: Json) -> ModelConfig:
    """Gemma 3's text model: five layers with a window to one without, which has rotary positions of its own."""
    n, every = config["num_hidden_layers"], config.get("sliding_window_pattern", 6)
    kinds = config.get("layer_types") or [
        "full_attention" if (i + 1) % every == 0 else "sliding_attention" for i in range(n)
    ]
    parameters = config.get("rope_parameters") or {}
    far = parameters.get("full_attention") or {
        "rope_theta": config.get("rope_theta", 1_000_000.0),
        **(config.get("rope_scaling") or {}),
    }
    near = parameters.get("sliding_attention") or {"rope_theta": config.get("rope_local_base_freq", 10_000.0)}
    # Its rotary keys are read here, where they are one for each kind of layer.
    plain = {key: value for key, value in config.items() if key not in ("rope_parameters", "rope_scaling")}
    return read(
        plain,
        kinds,
        family="gemma3_text",
        qk_norm="head",
        rope_theta=float(far["rope_theta"]),
        rope_scaling=rope_scaling(far, config),
        local_rope_theta=float(near["rope_theta"]),
    )


def write_gemma3(config: ModelConfig) -> dict[str, Any]:
    """Gemma 3's config.json."""
    keys = write(config)
    if config.rope_scaling:
        keys["rope_scaling"] = their_scaling(config.rope_scaling)
    return keys | {"rope_theta": config.rope_theta, "rope_local_base_freq": config.local_rope_theta or 10_000.0}


GEMMA2 = Family("gemma2", {"linear": "Gemma2ForCausalLM"}, read_gemma2, write, names)
GEMMA3 = Family("gemma3_text", {"linear": "Gemma3ForCausalLM"}, read_gemma3, write_gemma3, names)
