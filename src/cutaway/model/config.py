"""The numbers that fix a transformer's shape."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelConfig:
    """Shape of a decoder-only transformer of the Qwen3 family.

    Pre-RMSNorm, rotary positions (Su et al. 2021), SwiGLU (Shazeer 2020), grouped-query attention (Ainslie et al.
    2023) and an RMSNorm over each head's query and key (Henry et al. 2020; Qwen3, 2025).
    """

    vocab_size: int
    n_layers: int
    d_model: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_mlp: int
    context: int = 512
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-6
    tied_embeddings: bool = True

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
