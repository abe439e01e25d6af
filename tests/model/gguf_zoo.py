"""Small random models whose rows are multiples of 32 long, which quantised kinds need, of all that GGUF can say."""

from __future__ import annotations

from typing import Any

import zoo

V = 352
WIDE: dict[str, Any] = {
    "vocab_size": V,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
EVEN = {key: value for key, value in WIDE.items() if key not in ("num_key_value_heads", "head_dim")}
GEMMA = {**WIDE, "num_hidden_layers": 7, "query_pre_attn_scalar": 16}
LONG: dict[str, Any] = {
    "rope_type": "longrope",
    "short_factor": [1 + i / 8 for i in range(8)],
    "long_factor": [1.0 + i for i in range(8)],
    "original_max_position_embeddings": 256,
    "factor": 4.0,
    "rope_theta": 1e4,
}
OVERRIDES: dict[str, dict[str, Any]] = {
    "gpt2": {"vocab_size": V, "n_embd": 64, "n_head": 4},
    "gpt_neox": EVEN,
    "gpt_neox-serial": EVEN,
    "bloom": {"vocab_size": V, "hidden_size": 64, "n_head": 4},
    "mistral": {**WIDE, "sliding_window": None},
    "qwen3_moe": {**WIDE, "moe_intermediate_size": 32, "mlp_only_layers": []},
    "phi3-long": {
        **WIDE,
        "max_position_embeddings": 1024,
        "rope_parameters": LONG,
        "original_max_position_embeddings": 256,
    },
    "gemma2": GEMMA,
    "gemma3": GEMMA,
    "gemma3-scaled": GEMMA,
}
UNSAYABLE = ("qwen2-window",)
"""Those of the zoo that are left out: a window that llama.cpp does not have."""


def names() -> list[str]:
    """The models that there are here."""
    return [name for name in zoo.DECODERS if name not in UNSAYABLE]


def build(name: str, *, seed: int = 0, **more: Any) -> Any:
    """A random model, as `transformers` builds it."""
    architecture, settings = zoo.DECODERS[name]
    return zoo.made(architecture, {**settings, **OVERRIDES.get(name, WIDE), **more}, seed)
