"""BLOOM (Le Scao et al. 2022): no positions but ALiBi's, and a norm right after the embedding."""

from __future__ import annotations

from typing import Any

from cutaway.model.config import ModelConfig
from cutaway.model.families.family import PLAIN, Family, Json, must_be
from cutaway.model.weights import Names, interleaved


def read(config: Json) -> ModelConfig:
    """The shape that config.json describes."""
    must_be(config, apply_residual_connection_post_layernorm=False, slow_but_exact=False)
    width = config.get("hidden_size") or config["n_embed"]
    n_heads = config["n_head"]
    return ModelConfig(
        vocab_size=config["vocab_size"],
        n_layers=config["n_layer"],
        d_model=width,
        n_heads=n_heads,
        n_kv_heads=n_heads,
        d_head=width // n_heads,
        d_mlp=4 * width,
        # It names none: ALiBi reads past what was trained.
        context=config.get("seq_length", 2048),
        norm_eps=config.get("layer_norm_epsilon", 1e-5),
        tied_embeddings=config.get("tie_word_embeddings", True),
        family="bloom",
        embedding_norm=True,
        positions="alibi",
        activation="gelu_tanh",
        **PLAIN,
    )


def write(config: ModelConfig) -> dict[str, Any]:
    """config.json."""
    return {
        "vocab_size": config.vocab_size,
        "n_layer": config.n_layers,
        "hidden_size": config.d_model,
        "n_head": config.n_heads,
        "seq_length": config.context,
        "layer_norm_epsilon": config.norm_eps,
        "tie_word_embeddings": config.tied_embeddings,
    }


def names(config: ModelConfig) -> Names:
    """BLOOM's names."""
    return {
        "embed": "transformer.word_embeddings",
        "ln_embed": "transformer.word_embeddings_layernorm",
        "blocks.{i}.ln1": "transformer.h.{i}.input_layernorm",
        "blocks.{i}.attn.q + blocks.{i}.attn.k + blocks.{i}.attn.v": (
            "transformer.h.{i}.self_attention.query_key_value",
            interleaved(config),
        ),
        "blocks.{i}.attn.o": "transformer.h.{i}.self_attention.dense",
        "blocks.{i}.ln2": "transformer.h.{i}.post_attention_layernorm",
        "blocks.{i}.mlp.up": "transformer.h.{i}.mlp.dense_h_to_4h",
        "blocks.{i}.mlp.down": "transformer.h.{i}.mlp.dense_4h_to_h",
        "ln_final": "transformer.ln_f",
        "unembed": "lm_head",
    }


BLOOM = Family("bloom", {"linear": "BloomForCausalLM"}, read, write, names, prefix="transformer.")
