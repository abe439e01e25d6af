"""Llama and its many children: Mistral, Mixtral, Qwen 2 and 3, SmolLM (a Llama) and SmolLM3."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cutaway.model.config import Experts, ModelConfig, Sparsity
from cutaway.model.families.family import (
    Family,
    Json,
    Unsupported,
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


def windows(config: Json, window: int | None) -> dict[str, Any]:
    """Our fields for the layers that `layer_types` says to have a window."""
    kinds = config.get("layer_types")
    if window is None or not kinds:
        return {}
    return {
        "sparsity": Sparsity("window", window),
        "local_layers": tuple(i for i, kind in enumerate(kinds) if kind == "sliding_attention"),
    }


def layer_types(config: ModelConfig) -> list[str]:
    """`layer_types` of config.json."""
    local = set(config.local_layers)
    return ["sliding_attention" if i in local else "full_attention" for i in range(config.n_layers)]


def read_mistral(config: Json) -> ModelConfig:
    """Mistral: every layer with a window, or none."""
    fields: dict[str, Any] = {"family": "mistral"}
    if window := config.get("sliding_window"):
        fields |= {
            "sparsity": Sparsity("window", window),
            "local_layers": tuple(range(config["num_hidden_layers"])),
        }
    return read(config, **fields)


def write_mistral(config: ModelConfig) -> dict[str, Any]:
    """Mistral's config.json."""
    return write(config) | {"sliding_window": config.sparsity.width if config.sparsity else None}


def read_mixtral(config: Json) -> ModelConfig:
    """Mixtral: a Mistral with experts in every block."""
    shape = read_mistral(config)
    experts = Experts(config["num_local_experts"], config["num_experts_per_tok"], config["intermediate_size"])
    return _with(shape, family="mixtral", experts=experts, expert_layers=tuple(range(shape.n_layers)))


def write_mixtral(config: ModelConfig) -> dict[str, Any]:
    """Mixtral's config.json."""
    experts = _experts(config)
    return write_mistral(config) | {
        "num_local_experts": experts.n,
        "num_experts_per_tok": experts.per_token,
        "intermediate_size": experts.d_mlp,
    }


def mixtral_names(config: ModelConfig) -> Names:
    """Mixtral's names."""
    return {
        **names(config),
        "blocks.{i}.mlp.router": "model.layers.{i}.block_sparse_moe.gate",
        "blocks.{i}.mlp.gate": "model.layers.{i}.block_sparse_moe.experts.{e}.w1.weight",
        "blocks.{i}.mlp.down": "model.layers.{i}.block_sparse_moe.experts.{e}.w2.weight",
        "blocks.{i}.mlp.up": "model.layers.{i}.block_sparse_moe.experts.{e}.w3.weight",
    }


def read_qwen2(config: Json) -> ModelConfig:
    """Qwen 2 and 2.5: biases on queries, keys and values."""
    return read(config, family="qwen2", qkv_bias=True, **qwen_windows(config))


def qwen_windows(config: Json) -> dict[str, Any]:
    """Qwen's windows: from `layer_types`, or in older directories from layer `max_window_layers` up."""
    window = config.get("sliding_window") if config.get("use_sliding_window") else None
    if window is None:
        return {}
    n, first = config["num_hidden_layers"], config.get("max_window_layers", 28)
    kinds = config.get("layer_types") or ["sliding_attention" if i >= first else "full_attention" for i in range(n)]
    return windows({"layer_types": kinds}, window)


def write_qwen2(config: ModelConfig) -> dict[str, Any]:
    """Qwen 2's config.json."""
    keys = write(config)
    if config.sparsity:
        keys |= {
            "use_sliding_window": True,
            "sliding_window": config.sparsity.width,
            "layer_types": layer_types(config),
            "max_window_layers": min(config.local_layers, default=config.n_layers),
        }
    return keys


def read_qwen3(config: Json) -> ModelConfig:
    """Qwen 3: a norm over each head's queries and keys."""
    bias = config.get("attention_bias", False)
    return read(config, family="qwen3", qk_norm="head", qkv_bias=bias, output_bias=bias, **qwen_windows(config))


def write_qwen3(config: ModelConfig) -> dict[str, Any]:
    """Qwen 3's config.json."""
    return write_qwen2(config) | {"attention_bias": config.output_bias}


def read_qwen3_moe(config: Json) -> ModelConfig:
    """Qwen 3 with experts in some or all blocks."""
    shape = read_qwen3(config)
    dense: list[int] = config.get("mlp_only_layers") or []
    step = config.get("decoder_sparse_step", 1)
    experts = Experts(
        config.get("num_experts") or config["num_local_experts"],
        config["num_experts_per_tok"],
        config["moe_intermediate_size"],
        normalize=config.get("norm_topk_prob", False),
    )
    layers = tuple(i for i in range(shape.n_layers) if i not in dense and (i + 1) % step == 0)
    return _with(shape, family="qwen3_moe", experts=experts, expert_layers=layers)


def write_qwen3_moe(config: ModelConfig) -> dict[str, Any]:
    """Its config.json."""
    experts = _experts(config)
    return write_qwen3(config) | {
        "num_experts": experts.n,
        "num_experts_per_tok": experts.per_token,
        "moe_intermediate_size": experts.d_mlp,
        "norm_topk_prob": experts.normalize,
        "decoder_sparse_step": 1,
        "mlp_only_layers": sorted(set(range(config.n_layers)).difference(config.expert_layers)),
    }


def qwen3_moe_names(config: ModelConfig) -> Names:
    """Its names: blocks with experts have names of their own for them, the others those of a Llama."""
    dense = {key: name for key, name in names(config).items() if ".mlp." not in key}
    for i in range(config.n_layers):
        each = "experts.{e}." if i in config.expert_layers else ""
        end = ".weight" if each else ""
        dense |= {
            f"blocks.{i}.mlp.router": f"model.layers.{i}.mlp.gate",
            f"blocks.{i}.mlp.gate": f"model.layers.{i}.mlp.{each}gate_proj{end}",
            f"blocks.{i}.mlp.up": f"model.layers.{i}.mlp.{each}up_proj{end}",
            f"blocks.{i}.mlp.down": f"model.layers.{i}.mlp.{each}down_proj{end}",
        }
    return dense


def read_smollm3(config: Json) -> ModelConfig:
    """SmolLM3: every fourth layer sees no positions."""
    n, every = config["num_hidden_layers"], config.get("no_rope_layer_interval", 4)
    # The key says of each layer, despite its name, whether it has them.
    turned = config.get("no_rope_layers") or [int((i + 1) % every != 0) for i in range(n)]
    window = config.get("sliding_window") if config.get("use_sliding_window") else None
    kinds = config.get("layer_types") or ["full_attention" if turns else "sliding_attention" for turns in turned]
    bias = config.get("attention_bias", False)
    return read(
        config,
        family="smollm3",
        qkv_bias=bias,
        output_bias=bias,
        mlp_bias=config.get("mlp_bias", False),
        tied_embeddings=config.get("tie_word_embeddings", True),
        unrotated_layers=tuple(i for i, turns in enumerate(turned) if not turns),
        **rope(config, theta=2_000_000.0),
        **windows({"layer_types": kinds}, window),
    )


def write_smollm3(config: ModelConfig) -> dict[str, Any]:
    """SmolLM3's config.json."""
    return write_llama(config) | {
        "no_rope_layers": [int(i not in config.unrotated_layers) for i in range(config.n_layers)],
        "layer_types": layer_types(config),
        "use_sliding_window": config.sparsity is not None,
        "sliding_window": config.sparsity.width if config.sparsity else None,
    }


def _with(config: ModelConfig, **fields: Any) -> ModelConfig:
    return replace(config, **fields)


def _experts(config: ModelConfig) -> Experts:
    if config.experts is None:
        raise Unsupported(f"a {config.family} without experts")
    return config.experts


LLAMA = Family(
    "llama", {"linear": "LlamaForCausalLM"}, read_llama, write_llama, names, ignored=("rotary_emb.inv_freq",)
)
MISTRAL = Family("mistral", {"linear": "MistralForCausalLM"}, read_mistral, write_mistral, names)
MIXTRAL = Family("mixtral", {"linear": "MixtralForCausalLM"}, read_mixtral, write_mixtral, mixtral_names)
QWEN2 = Family("qwen2", {"linear": "Qwen2ForCausalLM"}, read_qwen2, write_qwen2, names)
QWEN3 = Family("qwen3", {"linear": "Qwen3ForCausalLM"}, read_qwen3, write_qwen3, names)
QWEN3_MOE = Family("qwen3_moe", {"linear": "Qwen3MoeForCausalLM"}, read_qwen3_moe, write_qwen3_moe, qwen3_moe_names)
SMOLLM3 = Family("smollm3", {"linear": "SmolLM3ForCausalLM"}, read_smollm3, write_smollm3, names)
