"""GPT-NeoX and Pythia (Black et al. 2022): attention and MLP side by side, a quarter of each head rotated."""

from __future__ import annotations

from typing import Any

from cutaway.model.config import ModelConfig
from cutaway.model.families.family import Family, Json, activation, rope, their_activation
from cutaway.model.weights import Names, interleaved


def read(config: Json) -> ModelConfig:
    """The shape that config.json describes."""
    n_heads = config["num_attention_heads"]
    # Older directories say `rotary_pct` and `rotary_emb_base`.
    older = {
        "rope_theta": config.get("rotary_emb_base", 10_000),
        "partial_rotary_factor": config.get("rotary_pct", 0.25),
    }
    return ModelConfig(
        vocab_size=config["vocab_size"],
        n_layers=config["num_hidden_layers"],
        d_model=config["hidden_size"],
        n_heads=n_heads,
        n_kv_heads=n_heads,
        d_head=config["hidden_size"] // n_heads,
        d_mlp=config["intermediate_size"],
        context=config["max_position_embeddings"],
        norm_eps=config["layer_norm_eps"],
        tied_embeddings=config.get("tie_word_embeddings", False),
        family="gpt_neox",
        norm="layer",
        norm_bias=True,
        parallel=config.get("use_parallel_residual", True),
        qk_norm="none",
        qkv_bias=config.get("attention_bias", True),
        output_bias=config.get("attention_bias", True),
        gated=False,
        activation=activation(config["hidden_act"]),
        mlp_bias=True,
        **rope({**older, **config}),
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
        "layer_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied_embeddings,
        "use_parallel_residual": config.parallel,
        "attention_bias": config.qkv_bias,
        "hidden_act": their_activation(config.activation),
        "rotary_pct": config.rotary_share,
        "rotary_emb_base": config.rope_theta,
    }


def names(config: ModelConfig) -> Names:
    """GPT-NeoX's names."""
    return {
        "embed": "gpt_neox.embed_in",
        "blocks.{i}.ln1": "gpt_neox.layers.{i}.input_layernorm",
        "blocks.{i}.attn.q + blocks.{i}.attn.k + blocks.{i}.attn.v": (
            "gpt_neox.layers.{i}.attention.query_key_value",
            interleaved(config),
        ),
        "blocks.{i}.attn.o": "gpt_neox.layers.{i}.attention.dense",
        "blocks.{i}.ln2": "gpt_neox.layers.{i}.post_attention_layernorm",
        "blocks.{i}.mlp.up": "gpt_neox.layers.{i}.mlp.dense_h_to_4h",
        "blocks.{i}.mlp.down": "gpt_neox.layers.{i}.mlp.dense_4h_to_h",
        "ln_final": "gpt_neox.final_layer_norm",
        "unembed": "embed_out",
    }


GPT_NEOX = Family(
    "gpt_neox",
    {"linear": "GPTNeoXForCausalLM"},
    read,
    write,
    names,
    ignored=(".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq"),
)
