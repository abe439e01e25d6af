"""Small random models of every family, as `transformers` builds them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

transformers = pytest.importorskip("transformers")

V = 211
COMMON: dict[str, Any] = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
LLAMA: dict[str, Any] = {
    **COMMON,
    "vocab_size": V,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
BERT: dict[str, Any] = {
    **COMMON,
    "vocab_size": V,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "max_position_embeddings": 128,
}
SEQ2SEQ: dict[str, Any] = {
    **COMMON,
    "vocab_size": V,
    "d_model": 48,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 6,
    "decoder_attention_heads": 6,
    "encoder_ffn_dim": 80,
    "decoder_ffn_dim": 80,
    "max_position_embeddings": 128,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": None,
}
ROPE3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
LONG = {
    "rope_type": "longrope",
    "short_factor": [1.0, 1.1, 1.2, 1.3],
    "long_factor": [1.0, 2.0, 3.0, 4.0],
    "original_max_position_embeddings": 32,
    "factor": 4.0,
}

DECODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": (
        "GPT2LMHeadModel",
        {**COMMON, "vocab_size": V, "n_embd": 48, "n_layer": 3, "n_head": 6, "n_positions": 128},
    ),
    "gpt_neox": (
        "GPTNeoXForCausalLM",
        {
            **BERT,
            "rotary_pct": 0.5,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5},
        },
    ),
    "gpt_neox-serial": ("GPTNeoXForCausalLM", {**BERT, "use_parallel_residual": False, "hidden_act": "gelu_new"}),
    "bloom": ("BloomForCausalLM", {**COMMON, "vocab_size": V, "hidden_size": 48, "n_layer": 3, "n_head": 6}),
    "llama": ("LlamaForCausalLM", {**LLAMA}),
    "llama-biased": ("LlamaForCausalLM", {**LLAMA, "attention_bias": True, "mlp_bias": True, "head_dim": 16}),
    "llama3": (
        "LlamaForCausalLM",
        {**LLAMA, "rope_parameters": {**ROPE3, "rope_theta": 5e5}, "tie_word_embeddings": True},
    ),
    "llama-linear": (
        "LlamaForCausalLM",
        {**LLAMA, "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}},
    ),
    "llama-yarn": (
        "LlamaForCausalLM",
        {
            **LLAMA,
            "head_dim": 32,
            "rope_parameters": {
                "rope_type": "yarn",
                "factor": 4.0,
                "rope_theta": 1e4,
                "original_max_position_embeddings": 32,
            },
        },
    ),
    "mistral": ("MistralForCausalLM", {**LLAMA, "sliding_window": 7}),
    "mixtral": (
        "MixtralForCausalLM",
        {**LLAMA, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None},
    ),
    "qwen2": ("Qwen2ForCausalLM", {**LLAMA}),
    "qwen2-window": (
        "Qwen2ForCausalLM",
        {**LLAMA, "use_sliding_window": True, "sliding_window": 7, "max_window_layers": 1},
    ),
    "qwen3": ("Qwen3ForCausalLM", {**LLAMA, "head_dim": 16, "tie_word_embeddings": True}),
    "qwen3_moe": (
        "Qwen3MoeForCausalLM",
        {
            **LLAMA,
            "head_dim": 16,
            "num_experts": 5,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 24,
            "mlp_only_layers": [1],
            "norm_topk_prob": True,
        },
    ),
    "smollm3": ("SmolLM3ForCausalLM", {**LLAMA, "num_hidden_layers": 4}),
    "phi3": ("Phi3ForCausalLM", {**LLAMA}),
    "phi3-long": (
        "Phi3ForCausalLM",
        {**LLAMA, "rope_parameters": {**LONG, "rope_theta": 1e4}, "original_max_position_embeddings": 32},
    ),
    "gemma2": (
        "Gemma2ForCausalLM",
        {**LLAMA, "head_dim": 16, "sliding_window": 7, "query_pre_attn_scalar": 24, "num_hidden_layers": 4},
    ),
    "gemma3": (
        "Gemma3ForCausalLM",
        {**LLAMA, "head_dim": 16, "sliding_window": 7, "query_pre_attn_scalar": 24, "num_hidden_layers": 7},
    ),
    "gemma3-scaled": (
        "Gemma3ForCausalLM",
        {
            **LLAMA,
            "head_dim": 16,
            "sliding_window": 7,
            "query_pre_attn_scalar": 16,
            "num_hidden_layers": 7,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            },
        },
    ),
    "olmo2": ("Olmo2ForCausalLM", {**LLAMA}),
}
ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("BertForMaskedLM", {**BERT}),
    "bert-body": ("BertModel", {**BERT}),
    "roberta": ("RobertaForMaskedLM", {**BERT, "pad_token_id": 1, "bos_token_id": 0, "type_vocab_size": 1}),
    "modernbert": ("ModernBertForMaskedLM", {**BERT, "local_attention": 8, "num_hidden_layers": 4}),
    "modernbert-body": ("ModernBertModel", {**BERT, "local_attention": 8, "num_hidden_layers": 4}),
}
SEQ2SEQS: dict[str, tuple[str, dict[str, Any]]] = {
    "t5": (
        "T5ForConditionalGeneration",
        {
            "vocab_size": V,
            "d_model": 48,
            "d_kv": 8,
            "d_ff": 80,
            "num_layers": 2,
            "num_decoder_layers": 3,
            "num_heads": 6,
            "decoder_start_token_id": 0,
        },
    ),
    "t5-1.1": (
        "T5ForConditionalGeneration",
        {
            "vocab_size": V,
            "d_model": 48,
            "d_kv": 8,
            "d_ff": 80,
            "num_layers": 2,
            "num_decoder_layers": 3,
            "num_heads": 6,
            "decoder_start_token_id": 0,
            "feed_forward_proj": "gated-gelu",
            "tie_word_embeddings": False,
            "relative_attention_num_buckets": 8,
            "relative_attention_max_distance": 20,
        },
    ),
    "bart": ("BartForConditionalGeneration", {**SEQ2SEQ}),
    "marian": ("MarianMTModel", {**SEQ2SEQ, "scale_embedding": True, "activation_function": "silu"}),
}
ALL = {**DECODERS, **ENCODERS, **SEQ2SEQS}


def build(name: str, seed: int = 0) -> Any:
    """A random model of the zoo."""
    return made(*ALL[name], seed)


def made(architecture: str, settings: dict[str, Any], seed: int = 0) -> Any:
    """A random model, its weights large enough that no part of it is without effect."""
    cls = getattr(transformers, architecture)
    torch.manual_seed(seed)
    model = cls(cls.config_class(**settings, attn_implementation="eager"))
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for key, weight in model.named_parameters():
            if "embed_positions" in key and not weight.requires_grad:
                continue
            noise = torch.randn(weight.shape, generator=generator)
            # Wide enough to be felt, narrow enough that softmax does not saturate.
            weight.copy_(weight + 0.2 * noise if weight.dim() == 1 else noise * 1.2 / weight.shape[-1] ** 0.5)
        for buffer_name, buffer in model.named_buffers():
            if buffer_name.endswith("final_logits_bias"):
                buffer.copy_(torch.randn(buffer.shape, generator=generator))
    return model.eval()
