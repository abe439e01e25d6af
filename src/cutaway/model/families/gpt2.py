"""GPT-2 (Radford et al. 2019): learned positions, LayerNorm, an MLP without a gate, matrices with inputs first."""

from __future__ import annotations

from typing import Any

from cutaway.model.config import ModelConfig
from cutaway.model.families.family import PLAIN, Family, Json, activation, must_be
from cutaway.model.weights import STACKED_TRANSPOSED, TRANSPOSED, Names


def read(config: Json) -> ModelConfig:
    """The shape that config.json describes."""
    must_be(config, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False)
    width, n_heads = config["n_embd"], config["n_head"]
    return ModelConfig(
        vocab_size=config["vocab_size"],
        n_layers=config["n_layer"],
        d_model=width,
        n_heads=n_heads,
        n_kv_heads=n_heads,
        d_head=width // n_heads,
        d_mlp=config.get("n_inner") or 4 * width,
        context=config["n_positions"],
        norm_eps=config.get("layer_norm_epsilon", 1e-5),
        tied_embeddings=config.get("tie_word_embeddings", True),
        family="gpt2",
        positions="learned",
        activation=activation(config.get("activation_function", "gelu_new")),
        **PLAIN,
    )


def write(config: ModelConfig) -> dict[str, Any]:
    """config.json."""
    return {
        "vocab_size": config.vocab_size,
        "n_layer": config.n_layers,
        "n_embd": config.d_model,
        "n_head": config.n_heads,
        "n_inner": config.d_mlp,
        "n_positions": config.context,
        "n_ctx": config.context,
        "layer_norm_epsilon": config.norm_eps,
        "activation_function": "gelu_new" if config.activation == "gelu_tanh" else config.activation,
        "tie_word_embeddings": config.tied_embeddings,
    }


def names(config: ModelConfig) -> Names:
    """GPT-2's names."""
    return {
        "embed": "transformer.wte",
        "pos_embed": "transformer.wpe",
        "blocks.{i}.ln1": "transformer.h.{i}.ln_1",
        "blocks.{i}.attn.q + blocks.{i}.attn.k + blocks.{i}.attn.v": (
            "transformer.h.{i}.attn.c_attn",
            STACKED_TRANSPOSED,
        ),
        "blocks.{i}.attn.o": ("transformer.h.{i}.attn.c_proj", TRANSPOSED),
        "blocks.{i}.ln2": "transformer.h.{i}.ln_2",
        "blocks.{i}.mlp.up": ("transformer.h.{i}.mlp.c_fc", TRANSPOSED),
        "blocks.{i}.mlp.down": ("transformer.h.{i}.mlp.c_proj", TRANSPOSED),
        "ln_final": "transformer.ln_f",
        "unembed": "lm_head",
    }


GPT2 = Family(
    "gpt2",
    {"linear": "GPT2LMHeadModel"},
    read,
    write,
    names,
    prefix="transformer.",
    ignored=(".attn.bias", ".attn.masked_bias"),
)
