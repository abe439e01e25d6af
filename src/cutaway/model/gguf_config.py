"""A model's shape as GGUF metadata, and back.

Metadata is read as the `config.json` that the model's directory would have, so that a family's own reader does the
rest. What llama.cpp fixes in code (an activation, which layers have a window) is not in a file: the reader here says
it, and what it would say otherwise than a model has it cannot be written.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch

from cutaway.model.config import ModelConfig
from cutaway.model.families import FAMILIES, Unsupported
from cutaway.model.families.family import their_activation
from cutaway.model.gguf_facts import ARCHITECTURES, Facts
from cutaway.model.gguf_rope import FACTORS, read_scaling, write_scaling
from cutaway.model.positions import rotation
from cutaway.tokens.gguf_header import Value

Settings = dict[str, Any]

WHOLE_HEADS = ("llama", "qwen2", "qwen3", "qwen3moe", "olmo2", "smollm3")
"""Architectures that rotate all of a head."""
ODD_SCALES = {("gemma2", 46), ("gemma3", 62)}
"""Gemma's 27B models, known by their depth, scale scores by the model's width over its heads, not by a head's width."""
NEUTRAL: dict[str, Value] = {
    "attention.causal": True,
    "attention.clamp_kqv": 0.0,
    "attention.scale": 0.0,
    "expert_weights_scale": 1.0,
    "expert_shared_count": 0,
    "expert_group_count": 0,
    "logit_scale": 1.0,
    "rope.scaling.yarn_log_multiplier": 0.0,
}
"""What changes a model's numbers in ways that are not built, and the value of each at which it does not."""


def read_config(facts: Facts) -> ModelConfig:
    """The shape that a file describes.

    Raises:
        Unsupported: it asks for something that is not built.
        KeyError, TypeError, ValueError, ZeroDivisionError: it is no description of a model.
    """
    for key, neutral in NEUTRAL.items():
        if facts.metadata.get(f"{facts.architecture}.{key}", neutral) != neutral:
            raise Unsupported(f"{facts.architecture}.{key} = {facts.get(key)!r}")
    family, settings = READERS[facts.architecture](facts)
    return FAMILIES[family].read(settings)


def _llama_like(facts: Facts) -> Settings:
    """The keys that the grandchildren of Llama share."""
    n_heads, width = facts.whole("attention.head_count"), facts.whole("embedding_length")
    d_head = facts.whole("attention.key_length", width // n_heads)
    if facts.whole("attention.value_length", d_head) != d_head:
        raise Unsupported("values of another width than keys")
    rotated = facts.whole("rope.dimension_count", d_head)
    if rotated != d_head and facts.architecture in WHOLE_HEADS:
        raise Unsupported(f"{facts.architecture}.rope.dimension_count = {rotated} with heads of {d_head}")
    return {
        "vocab_size": facts.shapes["token_embd.weight"][0],
        "hidden_size": width,
        "intermediate_size": facts.whole("feed_forward_length"),
        "num_hidden_layers": facts.whole("block_count"),
        "num_attention_heads": n_heads,
        "num_key_value_heads": facts.whole("attention.head_count_kv", n_heads),
        "head_dim": d_head,
        "max_position_embeddings": facts.whole("context_length"),
        "rms_norm_eps": facts.real("attention.layer_norm_rms_epsilon"),
        "tie_word_embeddings": "output.weight" not in facts.shapes,
        "rope_theta": facts.real("rope.freq_base", 10_000.0),
        "rope_scaling": read_scaling(facts),
        "partial_rotary_factor": share(rotated, d_head),
    }


def share(rotated: int, d_head: int) -> float:
    """The part of a head that is rotated, such that it comes out as a whole number of dimensions again."""
    part = rotated / d_head
    return part if int(d_head * part) == rotated else (rotated + 0.5) / d_head


def _llama(facts: Facts) -> tuple[str, Settings]:
    settings = _llama_like(facts)
    if facts.get("expert_count", 0):
        experts = {"num_local_experts": facts.whole("expert_count")}
        return "mixtral", settings | experts | {"num_experts_per_tok": facts.whole("expert_used_count")}
    bias, output_bias = facts.has("attn_q.bias") or facts.has("attn_qkv.bias"), facts.has("attn_output.bias")
    if bias and not output_bias:
        # The one family that has these and not the other: the rest of it is a Llama.
        return "qwen2", settings
    return "llama", settings | {"attention_bias": bias, "mlp_bias": facts.has("ffn_up.bias")}


def _even(facts: Facts) -> Settings:
    """A grandchild of Llama whose heads together are as wide as the model."""
    settings = _llama_like(facts)
    if settings["head_dim"] * settings["num_attention_heads"] != settings["hidden_size"]:
        raise Unsupported(f"heads of {settings['head_dim']} in a {facts.architecture} {settings['hidden_size']} wide")
    return settings


def _qwen3(facts: Facts) -> tuple[str, Settings]:
    if facts.has("attn_q.bias"):
        raise Unsupported("a qwen3 with attention biases")
    return "qwen3", _llama_like(facts)


def _qwen3moe(facts: Facts) -> tuple[str, Settings]:
    experts = {
        "num_experts": facts.whole("expert_count"),
        "num_experts_per_tok": facts.whole("expert_used_count"),
        "moe_intermediate_size": facts.whole("expert_feed_forward_length"),
        "norm_topk_prob": True,
    }
    return "qwen3_moe", _llama_like(facts) | experts


def _smollm3(facts: Facts) -> tuple[str, Settings]:
    return "smollm3", _llama_like(facts) | {"no_rope_layer_interval": 4}


def _phi3(facts: Facts) -> tuple[str, Settings]:
    return "phi3", _even(facts) | {"sliding_window": facts.whole("attention.sliding_window", 0) or None}


def _olmo2(facts: Facts) -> tuple[str, Settings]:
    if facts.whole("attention.sliding_window", 0):
        raise Unsupported("olmo2.attention.sliding_window")
    return "olmo2", _even(facts)


def _gemma(facts: Facts) -> Settings:
    settings = _llama_like(facts)
    n_layers = settings["num_hidden_layers"]
    odd = (facts.architecture, n_layers) in ODD_SCALES
    scalar = settings["hidden_size"] // settings["num_attention_heads"] if odd else settings["head_dim"]
    return settings | {"hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": scalar}


def _layer_types(facts: Facts, every: int) -> list[str]:
    """Which layers have a window: those that the file lists, or all but each `every`-th."""
    n_layers = facts.whole("block_count")
    local = facts.metadata.get(f"{facts.architecture}.attention.sliding_window_pattern", every)
    if isinstance(local, int):
        local = [(i + 1) % local != 0 for i in range(n_layers)]
    if not isinstance(local, list) or len(local) < n_layers:
        raise Unsupported("a list of windows that is shorter than the layers")
    return ["sliding_attention" if has else "full_attention" for has in local[:n_layers]]


def _gemma2(facts: Facts) -> tuple[str, Settings]:
    return "gemma2", _gemma(facts) | {
        "tie_word_embeddings": True,
        "sliding_window": facts.whole("attention.sliding_window", 4096),
        "layer_types": _layer_types(facts, 2),
        "attn_logit_softcapping": facts.real("attn_logit_softcapping", 50.0),
        "final_logit_softcapping": facts.real("final_logit_softcapping", 30.0) or None,
    }


def _gemma3(facts: Facts) -> tuple[str, Settings]:
    window = facts.whole("attention.sliding_window", 0)
    settings = _gemma(facts)
    n_layers = settings["num_hidden_layers"]
    return "gemma3_text", settings | {
        "sliding_window": window or None,
        "layer_types": _layer_types(facts, 6) if window else ["full_attention"] * n_layers,
        "final_logit_softcapping": facts.real("final_logit_softcapping", 0.0) or None,
        "rope_local_base_freq": facts.real("rope.freq_base_swa", 10_000.0),
    }


def _gpt2(facts: Facts) -> tuple[str, Settings]:
    return "gpt2", {
        "vocab_size": facts.shapes["token_embd.weight"][0],
        "n_embd": facts.whole("embedding_length"),
        "n_head": facts.whole("attention.head_count"),
        "n_layer": facts.whole("block_count"),
        "n_inner": facts.whole("feed_forward_length"),
        "n_positions": facts.whole("context_length"),
        "layer_norm_epsilon": facts.real("attention.layer_norm_epsilon"),
        "tie_word_embeddings": "output.weight" not in facts.shapes,
    }


def _gptneox(facts: Facts) -> tuple[str, Settings]:
    n_heads, width = facts.whole("attention.head_count"), facts.whole("embedding_length")
    return "gpt_neox", {
        "vocab_size": facts.shapes["token_embd.weight"][0],
        "hidden_size": width,
        "num_attention_heads": n_heads,
        "num_hidden_layers": facts.whole("block_count"),
        "intermediate_size": facts.whole("feed_forward_length"),
        "max_position_embeddings": facts.whole("context_length"),
        "layer_norm_eps": facts.real("attention.layer_norm_epsilon"),
        "use_parallel_residual": bool(facts.get("use_parallel_residual")),
        # llama.cpp works out an approximation of it; the models were trained with this.
        "hidden_act": facts.get("hidden_activation", "gelu"),
        "rotary_pct": share(facts.whole("rope.dimension_count", width // n_heads), width // n_heads),
        "rotary_emb_base": facts.real("rope.freq_base", 10_000.0),
        "rope_scaling": read_scaling(facts),
        "tie_word_embeddings": "output.weight" not in facts.shapes,
    }


def _bloom(facts: Facts) -> tuple[str, Settings]:
    return "bloom", {
        "vocab_size": facts.shapes["token_embd.weight"][0],
        "hidden_size": facts.whole("embedding_length"),
        "n_head": facts.whole("attention.head_count"),
        "n_layer": facts.whole("block_count"),
        "seq_length": facts.whole("context_length"),
        "layer_norm_epsilon": facts.real("attention.layer_norm_epsilon"),
        "tie_word_embeddings": "output.weight" not in facts.shapes,
    }


READERS: dict[str, Callable[[Facts], tuple[str, Settings]]] = {
    "llama": _llama,
    "qwen2": lambda facts: ("qwen2", _even(facts)),
    "qwen3": _qwen3,
    "qwen3moe": _qwen3moe,
    "smollm3": _smollm3,
    "phi3": _phi3,
    "olmo2": _olmo2,
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "gpt2": _gpt2,
    "gptneox": _gptneox,
    "bloom": _bloom,
}
"""Family and config.json of each architecture's files."""


def write_config(config: ModelConfig) -> tuple[dict[str, Value], dict[str, list[float]]]:
    """Metadata of a shape, and the tensors that change its rotary frequencies. Raises `Unsupported`."""
    architecture = ARCHITECTURES[config.family]
    norm = "layer_norm_rms_epsilon" if config.norm == "rms" else "layer_norm_epsilon"
    values: dict[str, Value] = {
        "vocab_size": config.vocab_size,
        "block_count": config.n_layers,
        "context_length": config.context,
        "embedding_length": config.d_model,
        "feed_forward_length": config.d_mlp,
        "attention.head_count": config.n_heads,
        "attention.head_count_kv": config.n_kv_heads,
        f"attention.{norm}": config.norm_eps,
    }
    factors: dict[str, list[float]] = {}
    if config.positions == "rotary":
        values |= {
            "attention.key_length": config.d_head,
            "attention.value_length": config.d_head,
            "rope.dimension_count": config.d_rotary,
            "rope.freq_base": config.rope_theta,
        }
        scaling, factors = write_scaling(config, FACTORS.get(architecture, ()))
        values |= scaling
    if architecture == "gptneox":
        values |= {"use_parallel_residual": config.parallel, "hidden_activation": their_activation(config.activation)}
    if config.experts:
        values |= {"expert_count": config.experts.n, "expert_used_count": config.experts.per_token}
        values |= {"expert_feed_forward_length": config.experts.d_mlp}
    if config.sparsity:
        values["attention.sliding_window"] = config.sparsity.width
        if architecture in ("gemma2", "gemma3"):
            local = set(config.local_layers)
            values["attention.sliding_window_pattern"] = [i in local for i in range(config.n_layers)]
    elif architecture == "phi3":
        values["attention.sliding_window"] = 0
    if architecture == "gemma3":
        if config.rope_scaling and config.rope_scaling.kind != "linear":
            raise Unsupported(f"a gemma3 with {config.rope_scaling.kind} positions")
        values["rope.freq_base_swa"] = config.local_rope_theta or 10_000.0
    if architecture == "gemma2":
        values["attn_logit_softcapping"] = config.attention_softcap or 0.0
        values["final_logit_softcapping"] = config.final_softcap or 0.0
    elif config.final_softcap:
        values["final_logit_softcapping"] = config.final_softcap
    return {f"{architecture}.{key}": value for key, value in values.items()}, factors


def must_say(config: ModelConfig, said: ModelConfig) -> None:
    """Raise `Unsupported` with the first choice of `config` that a file, read again as `said`, would not keep."""
    config, said = _plain(config), _plain(said)
    for field in dataclasses.fields(ModelConfig):
        wanted, got = getattr(config, field.name), getattr(said, field.name)
        if field.name in TURNING:
            continue
        if isinstance(wanted, float) and isinstance(got, float) and math.isclose(wanted, got, rel_tol=1e-6):
            continue
        if wanted != got:
            raise Unsupported(f"{field.name} = {wanted!r}")
    if config.positions == "rotary":
        where = torch.tensor([1, 7, config.context - 1])
        for furthest in (1, config.context, 10 * config.context):
            for local in (False, True) if config.local_layers else (False,):
                turns = [rotation(where, one, furthest, local=local) for one in (config, said)]
                if turns[0][0].shape != turns[1][0].shape or not all(
                    torch.allclose(a, b, atol=1e-4) for a, b in zip(*turns, strict=True)
                ):
                    raise Unsupported(f"rope_scaling = {config.rope_scaling!r}")


TURNING = ("family", "rope_theta", "local_rope_theta", "rope_scaling", "rotary_share")
"""Fields that are compared by what they do, or need not be the same."""


def _plain(config: ModelConfig) -> ModelConfig:
    """The same model without a window that is as wide as the context, and with its scale in one way."""
    if config.sparsity and config.local_rope_theta is None and config.sparsity.width >= config.context:
        config = dataclasses.replace(config, sparsity=None, local_layers=())
    if config.sparsity and not config.local_layers:
        config = dataclasses.replace(config, sparsity=None)
    return dataclasses.replace(config, attention_scale=config.scale)
