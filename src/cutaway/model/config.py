"""The choices that make one transformer out of the family."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

Activation = Literal["relu", "gelu", "gelu_tanh", "quick_gelu", "silu"]


@dataclass(frozen=True)
class RopeScaling:
    """How rotary frequencies are changed so that a model reads further than it was trained to.

    `linear`: all are divided by `factor` (Chen et al. 2023). `llama3`: the slow ones are, the fast ones are not, with a
    ramp between (Grattafiori et al. 2024). `yarn`: likewise by how often a dimension turns within the original context
    (Peng et al. 2023). `longrope`: each is divided by a factor of its own (Ding et al. 2024).
    """

    kind: Literal["linear", "llama3", "yarn", "longrope"]
    factor: float
    original_context: int = 0
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None
    short_factors: tuple[float, ...] = ()
    long_factors: tuple[float, ...] = ()


@dataclass(frozen=True)
class Sparsity:
    """Which keys a layer with local attention may read, beside the causal rule.

    `window`: those less than `width` positions away. With `global_tokens` also the first ones of the sequence, which in
    turn read everything (Longformer, Beltagy et al. 2020). `blocks`: those of its own block of `width` positions, and
    the last `global_tokens` of every block (the fixed pattern of Child et al. 2019, section 4.3).
    """

    kind: Literal["window", "blocks"]
    width: int
    global_tokens: int = 0


@dataclass(frozen=True)
class Experts:
    """A mixture of experts in place of the MLP (Shazeer et al. 2017; Mixtral, Jiang et al. 2024)."""

    n: int
    """Experts a layer."""
    per_token: int
    """How many of them each token goes through."""
    d_mlp: int
    """Width of each."""
    normalize: bool = True
    """Whether the chosen experts' weights are made to sum to one."""


@dataclass(frozen=True)
class ModelConfig:
    """Everything that tells one transformer from another. The defaults make a decoder of the Qwen3 family.

    That is: RMSNorm before each branch, rotary positions (Su et al. 2021), SwiGLU (Shazeer 2020), grouped-query
    attention (Ainslie et al. 2023) and an RMSNorm over each head's query and key (Henry et al. 2020; Qwen3, 2025).
    """

    vocab_size: int
    n_layers: int
    """Blocks; of an encoder–decoder, the decoder's."""
    d_model: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_mlp: int
    context: int = 512
    """Positions that can be read at once."""
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-6
    tied_embeddings: bool = True
    """Whether one matrix serves as input and output embedding."""

    family: str = "qwen3"
    """Which of `cutaway.model.families` its directory is written as."""
    kind: Literal["decoder", "encoder", "encoder-decoder"] = "decoder"
    n_encoder_layers: int = 0

    norm: Literal["rms", "layer"] = "rms"
    norm_bias: bool = False
    norm_gain_offset: float = 0.0
    """What is added to a norm's stored gain: 1 in Gemma."""
    norm_place: Literal["before", "after", "around", "after_sum"] = "before"
    """Where a branch is normalised: its input; its output (OLMo 2); both (Gemma 2); the sum (the 2017 Transformer)."""
    parallel: bool = False
    """Whether the MLP reads what attention reads instead of what it leaves (GPT-NeoX)."""
    first_norm: bool = True
    """Whether the first block has a norm before its attention (ModernBERT has none)."""
    final_norm: bool = True
    embedding_norm: bool = False
    embedding_scale: float = 1.0
    n_token_types: int = 0

    positions: Literal["rotary", "learned", "sinusoidal", "alibi", "relative", "none"] = "rotary"
    position_offset: int = 0
    """Rows of the learned positions that come before that of position 0 (2 in RoBERTa and BART)."""
    rotary_share: float = 1.0
    """The part of each head's dimensions that is rotated."""
    rope_scaling: RopeScaling | None = None
    local_rope_theta: float | None = None
    """Theta of the layers with local attention, where it differs; they are not scaled either."""
    unrotated_layers: tuple[int, ...] = ()
    """Layers that see no positions (SmolLM3)."""
    relative_buckets: int = 32
    relative_distance: int = 128

    sparsity: Sparsity | None = None
    local_layers: tuple[int, ...] = ()
    """The layers it holds for."""
    qk_norm: Literal["none", "head", "all"] = "head"
    """An RMSNorm over each head's queries and keys, or over all heads' at once (OLMo 2)."""
    qkv_bias: bool = False
    output_bias: bool = False
    attention_scale: float | None = None
    """What scores are multiplied by; None for 1/sqrt(d_head)."""
    attention_softcap: float | None = None
    """Scores s become cap·tanh(s/cap) (Gemma 2)."""

    gated: bool = True
    activation: Activation = "silu"
    mlp_bias: bool = False
    experts: Experts | None = None
    expert_layers: tuple[int, ...] = ()

    head: Literal["linear", "masked", "pooler", "none"] = "linear"
    """`masked`: a dense layer and a norm before the unembedding (BERT); `pooler`: BERT's, and no unembedding."""
    unembed_bias: bool = False
    head_bias: bool = True
    """Whether the dense layer of a `masked` head has a bias."""
    logit_scale: float = 1.0
    final_softcap: float | None = None

    @classmethod
    def from_depth(cls, depth: int, vocab_size: int, *, context: int = 512) -> ModelConfig:
        """The shape that the one dial gives: 48 of width per layer, an MLP 8/3 as wide as the model.

        Heads are 32 wide in small models: at a width of 192, six heads have more to say than three of the usual 64,
        for the same arithmetic. Every two query heads share one key and value head.
        """
        d_head = 32 if depth < 16 else 64
        d_model = 2 * d_head * max(1, round(48 * depth / (2 * d_head)))
        n_heads = d_model // d_head
        return cls(
            vocab_size=vocab_size,
            n_layers=depth,
            d_model=d_model,
            n_heads=n_heads,
            n_kv_heads=n_heads // 2,
            d_head=d_head,
            d_mlp=32 * round(d_model * 8 / 3 / 32),
            context=context,
            tied_embeddings=d_model < 2048,
        )

    @property
    def scale(self) -> float:
        """What attention scores are multiplied by."""
        return 1 / math.sqrt(self.d_head) if self.attention_scale is None else self.attention_scale

    @property
    def d_rotary(self) -> int:
        """How many dimensions of a head are rotated."""
        return int(self.d_head * self.rotary_share)

    def encoder(self) -> ModelConfig:
        """The encoder of an encoder–decoder, as a model of its own without a head."""
        return dataclasses.replace(
            self, kind="encoder", n_layers=self.n_encoder_layers, n_encoder_layers=0, head="none"
        )
