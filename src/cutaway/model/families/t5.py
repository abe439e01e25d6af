"""T5 and T5 1.1 (Raffel et al. 2020): positions as a bias by distance, no scaling of scores, no biases elsewhere."""

from __future__ import annotations

from typing import Any

from cutaway.model.config import ModelConfig
from cutaway.model.families.family import Family, Json, activation
from cutaway.model.weights import Names


def read(config: Json) -> ModelConfig:
    """The shape that config.json describes."""
    kind = config.get("feed_forward_proj", "relu")
    gated, act = kind.startswith("gated-"), kind.removeprefix("gated-")
    # The first T5 shrinks what it unembeds with its tied matrix. Directories of 1.1 say that theirs is not tied.
    scaled = config.get("scale_decoder_outputs", config.get("tie_word_embeddings") is not False)
    return ModelConfig(
        vocab_size=config["vocab_size"],
        n_layers=config.get("num_decoder_layers") or config["num_layers"],
        n_encoder_layers=config["num_layers"],
        d_model=config["d_model"],
        n_heads=config["num_heads"],
        n_kv_heads=config["num_heads"],
        d_head=config["d_kv"],
        d_mlp=config["d_ff"],
        # It names none: distances past the furthest share a bucket.
        context=config.get("n_positions", 512),
        norm_eps=config.get("layer_norm_epsilon", 1e-6),
        tied_embeddings=config.get("tie_word_embeddings", True),
        family="t5",
        kind="encoder-decoder",
        positions="relative",
        relative_buckets=config["relative_attention_num_buckets"],
        relative_distance=config.get("relative_attention_max_distance", 128),
        qk_norm="none",
        attention_scale=1.0,
        gated=gated,
        activation="gelu_tanh" if kind == "gated-gelu" else activation(act),
        logit_scale=config["d_model"] ** -0.5 if scaled else 1.0,
    )


def write(config: ModelConfig) -> dict[str, Any]:
    """config.json."""
    act = "gelu" if config.gated and config.activation == "gelu_tanh" else config.activation
    return {
        "vocab_size": config.vocab_size,
        "num_layers": config.n_encoder_layers,
        "num_decoder_layers": config.n_layers,
        "d_model": config.d_model,
        "num_heads": config.n_heads,
        "d_kv": config.d_head,
        "d_ff": config.d_mlp,
        "n_positions": config.context,
        "layer_norm_epsilon": config.norm_eps,
        "tie_word_embeddings": config.tied_embeddings,
        "scale_decoder_outputs": config.logit_scale != 1,
        "relative_attention_num_buckets": config.relative_buckets,
        "relative_attention_max_distance": config.relative_distance,
        "feed_forward_proj": f"gated-{act}" if config.gated else act,
        "is_encoder_decoder": True,
    }


def names(config: ModelConfig) -> Names:
    """T5's names."""
    found = {"embed": "shared", "unembed": "lm_head"}
    for ours, theirs, mlp in (("", "decoder", 2), ("encoder.", "encoder", 1)):
        block = f"{theirs}.block.{{i}}.layer"
        wide = "wi_0" if config.gated else "wi"
        found |= {
            f"{ours}relative": f"{theirs}.block.0.layer.0.SelfAttention.relative_attention_bias",
            f"{ours}blocks.{{i}}.ln1": f"{block}.0.layer_norm",
            f"{ours}blocks.{{i}}.ln_cross": f"{block}.1.layer_norm",
            **{f"{ours}blocks.{{i}}.attn.{m}": f"{block}.0.SelfAttention.{m}" for m in "qkvo"},
            **{f"{ours}blocks.{{i}}.cross_attn.{m}": f"{block}.1.EncDecAttention.{m}" for m in "qkvo"},
            f"{ours}blocks.{{i}}.ln2": f"{block}.{mlp}.layer_norm",
            f"{ours}blocks.{{i}}.mlp.gate": f"{block}.{mlp}.DenseReluDense.wi_0",
            f"{ours}blocks.{{i}}.mlp.up": f"{block}.{mlp}.DenseReluDense.{'wi_1' if config.gated else wide}",
            f"{ours}blocks.{{i}}.mlp.down": f"{block}.{mlp}.DenseReluDense.wo",
            f"{ours}ln_final": f"{theirs}.final_layer_norm",
        }
    return found


T5 = Family(
    "t5",
    {"linear": "T5ForConditionalGeneration"},
    read,
    write,
    names,
    ignored=(
        "encoder.embed_tokens.weight",
        "decoder.embed_tokens.weight",
        "EncDecAttention.relative_attention_bias.weight",
    ),
)
