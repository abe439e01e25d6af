"""BART (Lewis et al. 2019): the 2017 Transformer with learned positions."""

from __future__ import annotations

import math
from typing import Any

from cutaway.model.config import ModelConfig
from cutaway.model.families.family import PLAIN, Family, Json, Unsupported, activation, must_be, their_activation
from cutaway.model.weights import ROW, Names


def read(config: Json, **fields: Any) -> ModelConfig:
    """The shape that config.json describes."""
    must_be(config, normalize_before=False, normalize_embedding=True, add_final_layer_norm=False)
    n_heads = config["decoder_attention_heads"]
    if n_heads != config["encoder_attention_heads"] or config["decoder_ffn_dim"] != config["encoder_ffn_dim"]:
        raise Unsupported("an encoder and a decoder of different widths")
    common: dict[str, Any] = {
        **PLAIN,
        "vocab_size": config["vocab_size"],
        "n_layers": config["decoder_layers"],
        "n_encoder_layers": config["encoder_layers"],
        "d_model": config["d_model"],
        "n_heads": n_heads,
        "n_kv_heads": n_heads,
        "d_head": config["d_model"] // n_heads,
        "d_mlp": config["decoder_ffn_dim"],
        "context": config["max_position_embeddings"],
        "norm_eps": 1e-5,
        "tied_embeddings": config.get("tie_word_embeddings", True),
        "family": "bart",
        "kind": "encoder-decoder",
        "norm_place": "after_sum",
        "final_norm": False,
        "embedding_norm": True,
        "embedding_scale": math.sqrt(config["d_model"]) if config.get("scale_embedding") else 1.0,
        "positions": "learned",
        "position_offset": 2,
        "activation": activation(config.get("activation_function", "gelu")),
        "unembed_bias": True,
    }
    return ModelConfig(**(common | fields))


def write(config: ModelConfig) -> dict[str, Any]:
    """config.json."""
    return {
        "vocab_size": config.vocab_size,
        "decoder_layers": config.n_layers,
        "encoder_layers": config.n_encoder_layers,
        "d_model": config.d_model,
        "decoder_attention_heads": config.n_heads,
        "encoder_attention_heads": config.n_heads,
        "decoder_ffn_dim": config.d_mlp,
        "encoder_ffn_dim": config.d_mlp,
        "max_position_embeddings": config.context,
        "tie_word_embeddings": config.tied_embeddings,
        "scale_embedding": config.embedding_scale != 1,
        "activation_function": their_activation(config.activation),
        "is_encoder_decoder": True,
    }


def names(config: ModelConfig) -> Names:
    """BART's names; the bias of the unembedding is a tensor of its own."""
    found: dict[str, Any] = {"embed": "model.shared", "unembed.bias": ("final_logits_bias", ROW), "unembed": "lm_head"}
    for ours, theirs in (("", "model.decoder"), ("encoder.", "model.encoder")):
        layer, block = f"{theirs}.layers.{{i}}", f"{ours}blocks.{{i}}"
        found |= {
            f"{ours}pos_embed": f"{theirs}.embed_positions",
            f"{ours}ln_embed": f"{theirs}.layernorm_embedding",
            f"{block}.ln1": f"{layer}.self_attn_layer_norm",
            f"{block}.ln_cross": f"{layer}.encoder_attn_layer_norm",
            f"{block}.mlp.up": f"{layer}.fc1",
            f"{block}.mlp.down": f"{layer}.fc2",
            f"{block}.ln2": f"{layer}.final_layer_norm",
        }
        for matrix, name in (("q", "q_proj"), ("k", "k_proj"), ("v", "v_proj"), ("o", "out_proj")):
            found[f"{block}.attn.{matrix}"] = f"{layer}.self_attn.{name}"
            found[f"{block}.cross_attn.{matrix}"] = f"{layer}.encoder_attn.{name}"
    return found


BART = Family(
    "bart",
    {"linear": "BartForConditionalGeneration"},
    read,
    write,
    names,
    ignored=("encoder.embed_tokens.weight", "decoder.embed_tokens.weight"),
)
