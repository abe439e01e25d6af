"""The shapes of well-known models, from their papers and published configurations, by name.

They are shapes alone, without weights: to count, to plan with, or to train anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from cutaway.model.anatomy import LayeredNetwork
from cutaway.model.config import Experts, ModelConfig, RopeScaling, Sparsity


@dataclass(frozen=True)
class Preset:
    """One of them."""

    name: str
    about: str
    shape: ModelConfig | LayeredNetwork


def _gpt2(width: int, n_layers: int, n_heads: int, context: int = 1024) -> ModelConfig:
    return ModelConfig(
        vocab_size=50_257,
        n_layers=n_layers,
        d_model=width,
        n_heads=n_heads,
        n_kv_heads=n_heads,
        d_head=width // n_heads,
        d_mlp=4 * width,
        context=context,
        norm_eps=1e-5,
        family="gpt2",
        norm="layer",
        norm_bias=True,
        positions="learned",
        qk_norm="none",
        qkv_bias=True,
        output_bias=True,
        gated=False,
        activation="gelu_tanh",
        mlp_bias=True,
    )


def _llama(
    width: int, n_layers: int, n_heads: int, n_kv_heads: int, d_mlp: int, vocab_size: int, **fields: Any
) -> ModelConfig:
    common: dict[str, Any] = {"norm_eps": 1e-5, "tied_embeddings": False, "family": "llama", "qk_norm": "none"}
    return ModelConfig(
        vocab_size=vocab_size,
        n_layers=n_layers,
        d_model=width,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        d_head=width // n_heads,
        d_mlp=d_mlp,
        **(common | fields),
    )


def _llama3(width: int, n_layers: int, n_heads: int, d_mlp: int) -> ModelConfig:
    scaling = RopeScaling("llama3", 8.0, 8192, low_frequency_factor=1.0, high_frequency_factor=4.0)
    further = {"context": 131_072, "rope_theta": 500_000.0, "rope_scaling": scaling}
    return _llama(width, n_layers, n_heads, 8, d_mlp, 128_256, **further)


def _qwen3(
    width: int, n_layers: int, n_heads: int, d_mlp: int, *, n_kv_heads: int = 8, tied: bool = False, **fields: Any
) -> ModelConfig:
    return ModelConfig(
        vocab_size=151_936,
        n_layers=n_layers,
        d_model=width,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        d_head=128,
        d_mlp=d_mlp,
        context=40_960,
        rope_theta=1_000_000.0,
        tied_embeddings=tied,
        **fields,
    )


def _gemma(
    width: int, n_layers: int, n_heads: int, n_kv_heads: int, d_mlp: int, window: int, every: int, **fields: Any
) -> ModelConfig:
    """Layers with a window, but for each `every`th."""
    common: dict[str, Any] = {"vocab_size": 262_144, "qk_norm": "none"}
    return ModelConfig(
        n_layers=n_layers,
        d_model=width,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        d_head=256,
        d_mlp=d_mlp,
        norm_gain_offset=1.0,
        norm_place="around",
        embedding_scale=math.sqrt(width),
        attention_scale=256**-0.5,
        activation="gelu_tanh",
        sparsity=Sparsity("window", window),
        local_layers=tuple(i for i in range(n_layers) if (i + 1) % every),
        **(common | fields),
    )


def _gemma2(width: int, n_layers: int, n_heads: int, d_mlp: int) -> ModelConfig:
    caps = {"attention_softcap": 50.0, "final_softcap": 30.0}
    own = {"vocab_size": 256_000, "context": 8192, "family": "gemma2"} | caps
    return _gemma(width, n_layers, n_heads, n_heads // 2, d_mlp, 4096, 2, **own)


GEMMA3: dict[str, Any] = {
    "family": "gemma3_text",
    "qk_norm": "head",
    "rope_theta": 1_000_000.0,
    "local_rope_theta": 10_000.0,
    "context": 32_768,
}
GEMMA3_LONG = GEMMA3 | {"context": 131_072, "rope_scaling": RopeScaling("linear", 8.0), "vocab_size": 262_208}


def _t5(width: int, n_layers: int, n_heads: int, d_mlp: int) -> ModelConfig:
    return ModelConfig(
        vocab_size=32_128,
        n_layers=n_layers,
        n_encoder_layers=n_layers,
        d_model=width,
        n_heads=n_heads,
        n_kv_heads=n_heads,
        d_head=64,
        d_mlp=d_mlp,
        family="t5",
        kind="encoder-decoder",
        positions="relative",
        qk_norm="none",
        attention_scale=1.0,
        gated=False,
        activation="relu",
        logit_scale=width**-0.5,
    )


BERT_BASE = ModelConfig(
    vocab_size=30_522,
    n_layers=12,
    d_model=768,
    n_heads=12,
    n_kv_heads=12,
    d_head=64,
    d_mlp=3072,
    norm_eps=1e-12,
    family="bert",
    kind="encoder",
    norm="layer",
    norm_bias=True,
    norm_place="after_sum",
    final_norm=False,
    embedding_norm=True,
    n_token_types=2,
    positions="learned",
    qk_norm="none",
    qkv_bias=True,
    output_bias=True,
    gated=False,
    activation="gelu",
    mlp_bias=True,
    head="masked",
    unembed_bias=True,
)

# By the paper's equations, in which attention has no biases. Its own table 3 rounds to 65 million.
TRANSFORMER_BASE = ModelConfig(
    vocab_size=37_000,
    n_layers=6,
    n_encoder_layers=6,
    d_model=512,
    n_heads=8,
    n_kv_heads=8,
    d_head=64,
    d_mlp=2048,
    norm_eps=1e-6,
    family="marian",
    kind="encoder-decoder",
    norm="layer",
    norm_bias=True,
    norm_place="after_sum",
    final_norm=False,
    embedding_scale=math.sqrt(512),
    positions="sinusoidal",
    qk_norm="none",
    gated=False,
    activation="relu",
    mlp_bias=True,
)

MISTRAL: dict[str, Any] = {"family": "mistral", "sparsity": Sparsity("window", 4096), "local_layers": tuple(range(32))}
MIXTRAL: dict[str, Any] = {
    "family": "mixtral",
    "rope_theta": 1_000_000.0,
    "experts": Experts(8, 2, 14_336),
    "expert_layers": tuple(range(32)),
}
QWEN3_MOE: dict[str, Any] = {"family": "qwen3_moe", "experts": Experts(128, 8, 768), "expert_layers": tuple(range(48))}

PRESETS = {
    preset.name: preset
    for preset in (
        Preset("digits-784-16-16-10", "handwritten digits, 28 × 28 pixels", LayeredNetwork((784, 16, 16, 10))),
        Preset("cutaway-demo", "what `cutaway demo` trains", ModelConfig.from_depth(4, 4096)),
        Preset("transformer-2017-base", "Vaswani et al. 2017, translation", TRANSFORMER_BASE),
        Preset("bert-base", "Devlin et al. 2018, uncased", BERT_BASE),
        Preset("gpt2", "Radford et al. 2019, small", _gpt2(768, 12, 12)),
        Preset("gpt2-medium", "Radford et al. 2019", _gpt2(1024, 24, 16)),
        Preset("gpt2-large", "Radford et al. 2019", _gpt2(1280, 36, 20)),
        Preset("gpt2-xl", "Radford et al. 2019", _gpt2(1600, 48, 25)),
        Preset("t5-small", "Raffel et al. 2020", _t5(512, 6, 8, 2048)),
        Preset("t5-base", "Raffel et al. 2020", _t5(768, 12, 12, 3072)),
        # Every other layer of theirs attends locally, in a pattern whose width was not published.
        Preset("gpt3-175b", "Brown et al. 2020; all layers as dense", _gpt2(12_288, 96, 96, context=2048)),
        Preset("llama2-7b", "Touvron et al. 2023", _llama(4096, 32, 32, 32, 11_008, 32_000, context=4096)),
        Preset("llama3-8b", "Llama 3.1, Grattafiori et al. 2024", _llama3(4096, 32, 32, 14_336)),
        Preset("llama3-70b", "Llama 3.1, Grattafiori et al. 2024", _llama3(8192, 80, 64, 28_672)),
        Preset("llama3-405b", "Llama 3.1, Grattafiori et al. 2024", _llama3(16_384, 126, 128, 53_248)),
        Preset(
            "mistral-7b",
            "version 0.1, Jiang et al. 2023",
            _llama(4096, 32, 32, 8, 14_336, 32_000, context=32_768, **MISTRAL),
        ),
        Preset("mixtral-8x7b", "Jiang et al. 2024", _llama(4096, 32, 32, 8, 14_336, 32_000, context=32_768, **MIXTRAL)),
        Preset("gemma2-2b", "Gemma Team 2024", _gemma2(2304, 26, 8, 9216)),
        Preset("gemma2-9b", "Gemma Team 2024", _gemma2(3584, 42, 16, 14_336)),
        Preset("gemma3-270m", "Gemma Team 2025", _gemma(640, 18, 4, 1, 2048, 512, 6, **GEMMA3)),
        Preset("gemma3-1b", "Gemma Team 2025", _gemma(1152, 26, 4, 1, 6912, 512, 6, **GEMMA3)),
        Preset("gemma3-4b", "Gemma Team 2025; its text part", _gemma(2560, 34, 8, 4, 10_240, 1024, 6, **GEMMA3_LONG)),
        Preset(
            "smollm2-135m",
            "Allal et al. 2025",
            _llama(576, 30, 9, 3, 1536, 49_152, context=8192, rope_theta=100_000.0, tied_embeddings=True),
        ),
        Preset("qwen3-0.6b", "Qwen Team 2025", _qwen3(1024, 28, 16, 3072, tied=True)),
        Preset("qwen3-1.7b", "Qwen Team 2025", _qwen3(2048, 28, 16, 6144, tied=True)),
        Preset("qwen3-4b", "Qwen Team 2025", _qwen3(2560, 36, 32, 9728, tied=True)),
        Preset("qwen3-8b", "Qwen Team 2025", _qwen3(4096, 36, 32, 12_288)),
        Preset("qwen3-14b", "Qwen Team 2025", _qwen3(5120, 40, 40, 17_408)),
        Preset("qwen3-32b", "Qwen Team 2025", _qwen3(5120, 64, 64, 25_600)),
        Preset("qwen3-30b-a3b", "Qwen Team 2025", _qwen3(2048, 48, 32, 6144, n_kv_heads=4, **QWEN3_MOE)),
    )
}
