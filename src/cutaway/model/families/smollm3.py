"""SmolLM3 (2025): a Llama in which every fourth layer sees no positions."""

from __future__ import annotations

from typing import Any

from cutaway.model.config import ModelConfig
from cutaway.model.families import llama
from cutaway.model.families.family import Family, Json, layer_types, rope, windows


def read(config: Json) -> ModelConfig:
    """SmolLM3: every fourth layer sees no positions."""
    n, every = config["num_hidden_layers"], config.get("no_rope_layer_interval", 4)
    # The key says of each layer, despite its name, whether it has them.
    turned = config.get("no_rope_layers") or [int((i + 1) % every != 0) for i in range(n)]
    window = config.get("sliding_window") if config.get("use_sliding_window") else None
    kinds = config.get("layer_types") or ["full_attention" if turns else "sliding_attention" for turns in turned]
    bias = config.get("attention_bias", False)
    return llama.read(
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


def write(config: ModelConfig) -> dict[str, Any]:
    """SmolLM3's config.json."""
    return llama.write_llama(config) | {
        "no_rope_layers": [int(i not in config.unrotated_layers) for i in range(config.n_layers)],
        "layer_types": layer_types(config),
        "use_sliding_window": config.sparsity is not None,
        "sliding_window": config.sparsity.width if config.sparsity else None,
    }


SMOLLM3 = Family("smollm3", {"linear": "SmolLM3ForCausalLM"}, read, write, llama.names)
