"""Qwen 2 (2024), Qwen 3 (2025) and Qwen 3 with experts: Llamas with biases, or with norms on queries and keys."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cutaway.model.config import Experts, ModelConfig
from cutaway.model.families import llama
from cutaway.model.families.family import Family, Json, experts_of, layer_types, windows
from cutaway.model.weights import Names


def read_qwen2(config: Json) -> ModelConfig:
    """Qwen 2 and 2.5: biases on queries, keys and values."""
    return llama.read(config, family="qwen2", qkv_bias=True, **qwen_windows(config))


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
    keys = llama.write(config)
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
    return llama.read(config, family="qwen3", qk_norm="head", qkv_bias=bias, output_bias=bias, **qwen_windows(config))


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
    return replace(shape, family="qwen3_moe", experts=experts, expert_layers=layers)


def write_qwen3_moe(config: ModelConfig) -> dict[str, Any]:
    """Its config.json."""
    experts = experts_of(config)
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
    dense = {key: name for key, name in llama.names(config).items() if ".mlp." not in key}
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


QWEN2 = Family("qwen2", {"linear": "Qwen2ForCausalLM"}, read_qwen2, write_qwen2, llama.names)
QWEN3 = Family("qwen3", {"linear": "Qwen3ForCausalLM"}, read_qwen3, write_qwen3, llama.names)
QWEN3_MOE = Family("qwen3_moe", {"linear": "Qwen3MoeForCausalLM"}, read_qwen3_moe, write_qwen3_moe, qwen3_moe_names)
