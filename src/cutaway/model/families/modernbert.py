"""ModernBERT (Warner et al. 2024): an encoder with rotary positions and a gated MLP, most of whose layers look near."""

from __future__ import annotations

from typing import Any

from cutaway.model.config import ModelConfig
from cutaway.model.families.family import Family, Json, activation, layer_types, must_be, their_activation, windows
from cutaway.model.weights import Names


def read(config: Json) -> ModelConfig:
    """The shape that config.json describes."""
    must_be(config, classifier_activation="gelu")
    n, n_heads = config["num_hidden_layers"], config["num_attention_heads"]
    every = config.get("global_attn_every_n_layers", 3)
    kinds = config.get("layer_types") or ["sliding_attention" if i % every else "full_attention" for i in range(n)]
    parameters = config.get("rope_parameters") or {}
    far, near = parameters.get("full_attention") or {}, parameters.get("sliding_attention") or {}
    bias = config.get("attention_bias", False)
    architecture = (config.get("architectures") or ["ModernBertModel"])[0]
    return ModelConfig(
        vocab_size=config["vocab_size"],
        n_layers=n,
        d_model=config["hidden_size"],
        n_heads=n_heads,
        n_kv_heads=n_heads,
        d_head=config["hidden_size"] // n_heads,
        d_mlp=config["intermediate_size"],
        context=config["max_position_embeddings"],
        rope_theta=float(far.get("rope_theta", config.get("global_rope_theta", 160_000.0))),
        local_rope_theta=float(near.get("rope_theta", config.get("local_rope_theta") or 10_000.0)),
        norm_eps=config.get("norm_eps", 1e-5),
        tied_embeddings=config.get("tie_word_embeddings", True),
        family="modernbert",
        kind="encoder",
        norm="layer",
        norm_bias=config.get("norm_bias", False),
        first_norm=False,
        embedding_norm=True,
        qk_norm="none",
        qkv_bias=bias,
        output_bias=bias,
        activation=activation(config.get("hidden_activation", "gelu")),
        mlp_bias=config.get("mlp_bias", False),
        head="masked" if architecture.endswith("ForMaskedLM") else "none",
        head_bias=config.get("classifier_bias", False),
        unembed_bias=config.get("decoder_bias", True),
        # `local_attention` counts both sides; a key half of it away is still read.
        **windows({"layer_types": kinds}, config.get("local_attention", 128) // 2 + 1),
    )


def write(config: ModelConfig) -> dict[str, Any]:
    """config.json."""
    return {
        "vocab_size": config.vocab_size,
        "num_hidden_layers": config.n_layers,
        "hidden_size": config.d_model,
        "num_attention_heads": config.n_heads,
        "intermediate_size": config.d_mlp,
        "max_position_embeddings": config.context,
        "global_rope_theta": config.rope_theta,
        "local_rope_theta": config.local_rope_theta,
        "norm_eps": config.norm_eps,
        "norm_bias": config.norm_bias,
        "tie_word_embeddings": config.tied_embeddings,
        "attention_bias": config.qkv_bias,
        "hidden_activation": their_activation(config.activation),
        "mlp_bias": config.mlp_bias,
        "classifier_bias": config.head_bias,
        "decoder_bias": config.unembed_bias,
        "local_attention": 2 * (config.sparsity.width - 1) if config.sparsity else 128,
        "layer_types": layer_types(config),
    }


def names(config: ModelConfig) -> Names:
    """ModernBERT's names; the part of `Wi` that goes through the activation comes first."""
    return {
        "embed": "model.embeddings.tok_embeddings",
        "ln_embed": "model.embeddings.norm",
        "blocks.{i}.ln1": "model.layers.{i}.attn_norm",
        "blocks.{i}.attn.q + blocks.{i}.attn.k + blocks.{i}.attn.v": "model.layers.{i}.attn.Wqkv",
        "blocks.{i}.attn.o": "model.layers.{i}.attn.Wo",
        "blocks.{i}.ln2": "model.layers.{i}.mlp_norm",
        "blocks.{i}.mlp.gate + blocks.{i}.mlp.up": "model.layers.{i}.mlp.Wi",
        "blocks.{i}.mlp.down": "model.layers.{i}.mlp.Wo",
        "ln_final": "model.final_norm",
        "head": "head.dense",
        "ln_head": "head.norm",
        "unembed": "decoder",
    }


MODERNBERT = Family(
    "modernbert", {"masked": "ModernBertForMaskedLM", "none": "ModernBertModel"}, read, write, names, prefix="model."
)
