"""How much memory a model takes: its weights at each precision, its training, and its key-value cache."""

from __future__ import annotations

from dataclasses import dataclass

from cutaway.model.anatomy import ATTENTION, CROSS, EMBEDDING, MLP, UNEMBEDDING, Anatomy, LayeredNetwork, Matrices
from cutaway.model.config import ModelConfig, Sparsity

PRECISIONS = {"float32": 4.0, "bfloat16": 2.0, "int8": 34 / 32, "int4": 18 / 32}
"""Bytes a weight; float16 is as bfloat16.

The integers are GGUF's Q8_0 and Q4_0: blocks of 32 weights share one float16 scale, 2 + 32 · 1 or 2 + 32 · ½ bytes.
"""
CACHE_PRECISIONS = {"float32": 4, "bfloat16": 2, "int8": 1}
"""Bytes a number of the cache; scales of the integers, one for many numbers, are not counted."""


def weight_bytes(anatomy: Anatomy, precision: str) -> float:
    """Bytes of the weights, each stored once.

    At int8 and int4, as in a GGUF file, what is small or delicate stays float32: position tables, routers, biases and
    norms; embeddings are not cut below int8; and a matrix whose rows do not divide into blocks of 32 is float16.
    """
    if precision in ("float32", "bfloat16"):
        return anatomy.parameters * PRECISIONS[precision]
    small = sum(row.weights for row in anatomy.tables) + anatomy.biases + anatomy.norms
    return 4.0 * small + sum(row.weights * _size(row, precision) for row in anatomy.matrices if not row.tied)


def _size(row: Matrices, precision: str) -> float:
    """Bytes a weight of a matrix in a GGUF file."""
    if row.name == "router":
        return PRECISIONS["float32"]
    if row.shape[1] % 32:
        return PRECISIONS["bfloat16"]
    return PRECISIONS["int8" if row.name in (EMBEDDING, UNEMBEDDING) else precision]


def training_bytes(anatomy: Anatomy) -> dict[str, int]:
    """Bytes that weights, gradients and the optimiser's moments take, all float32; activations come on top.

    AdamW keeps two moments a weight: 16 bytes in all. Muon keeps one for the matrices that it moves, those of the
    blocks but for experts (`cutaway.train.optimizer`), and AdamW moves the rest.
    """
    adamw = 16 * anatomy.parameters
    moved = sum(
        row.weights
        for row in anatomy.matrices
        if row.part in (ATTENTION, CROSS, MLP) and not row.name.startswith("expert ")
    )
    return {"AdamW": adamw, "Muon": adamw - 4 * moved} if moved else {"AdamW": adamw}


@dataclass(frozen=True)
class Cache:
    """What a decoder has to keep of the tokens it has read: keys and values, in numbers."""

    per_token: int
    """Of each token, in all layers."""
    per_source_token: int
    """Of each token that the encoder has read; nothing in a decoder alone."""
    held: int
    """In all, once the context is full: layers with local attention need no more than what may still be read."""
    context: int


def cache_of(shape: ModelConfig | LayeredNetwork, context: int) -> Cache | None:
    """The cache of a text of `context` tokens, or of a source and a target of so many; None where nothing is kept."""
    if isinstance(shape, LayeredNetwork) or shape.kind == "encoder":
        return None
    layer = 2 * shape.n_kv_heads * shape.d_head
    source = layer * shape.n_layers if shape.kind == "encoder-decoder" else 0
    held = sum(layer * _kept(shape.sparsity, context, i in shape.local_layers) for i in range(shape.n_layers))
    return Cache(layer * shape.n_layers, source, held + source * context, context)


def _kept(sparsity: Sparsity | None, context: int, local: bool) -> int:
    """Tokens whose keys the next token may read, or itself."""
    if sparsity is None or not local:
        return context
    if sparsity.kind == "window":
        return min(context, sparsity.width + sparsity.global_tokens)
    blocks, begun = divmod(context - 1, sparsity.width)
    return blocks * sparsity.global_tokens + begun + 1
