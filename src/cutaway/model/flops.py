"""Floating-point operations of a model, for one token.

A product with a matrix is two operations a weight, a multiplication and an addition: 2 a weight forward, and twice that
backward, for the gradients of the input and of the weight. So a token costs about 2N operations forward and 6N in
training, N being the parameters that it goes through (Kaplan et al. 2020, section 2.1 and table 1). The exact count
leaves out what is only looked up, counts a matrix wherever it is used, and adds attention's own two products: each of
the keys that a query reads costs 4 · heads · d_head operations, 2 for its score and 2 for mixing its value (Hoffmann
et al. 2022, appendix F, which lets every query read all keys; here causal and local attention read what they do read).
Norms, activations, softmax and rotations are left out: they are few beside the products.
"""

from __future__ import annotations

from dataclasses import dataclass

from cutaway.model.anatomy import CROSS, EMBEDDING, UNEMBEDDING, Anatomy, LayeredNetwork, Matrices
from cutaway.model.config import ModelConfig


@dataclass(frozen=True)
class Flops:
    """Operations of the forward pass for one token, on average over a text."""

    of: str
    """What it is one of: a `token`; the `source token` or `target token` of an encoder–decoder; an `image`."""
    layers: int
    """Products with the matrices of the blocks."""
    attention: float
    """Attention's own products."""
    unembedding: int
    """Products with the unembedding, and the head before it."""

    @property
    def forward(self) -> float:
        """All of them."""
        return self.layers + self.attention + self.unembedding

    @property
    def backward(self) -> float:
        """Those of the backward pass: each product gives two."""
        return 2 * self.forward


def flops_of(anatomy: Anatomy, length: int) -> tuple[Flops, ...]:
    """Operations for one token of a text of `length` tokens; of an encoder–decoder, whose two texts are of that
    length, for one of the source and one of the target.
    """
    shape = anatomy.shape
    if isinstance(shape, LayeredNetwork):
        return (Flops("image", 2 * sum(row.active for row in anatomy.matrices), 0, 0),)
    read = _attention(shape, length)
    if shape.kind != "encoder-decoder":
        return (_flops("token", list(anatomy.matrices), read),)
    source = [row for row in anatomy.matrices if _of_source(row)]
    target = [row for row in anatomy.matrices if not _of_source(row)]
    crossing = shape.n_layers * 4.0 * shape.n_heads * shape.d_head * length
    return (
        _flops("source token", source, _attention(shape.encoder(), length)),
        _flops("target token", target, read + crossing),
    )


def _flops(of: str, rows: list[Matrices], attention: float) -> Flops:
    head = sum(2 * row.active for row in rows if row.name in (UNEMBEDDING, "head"))
    # A pooler reads one token of a whole text.
    layers = sum(2 * row.active for row in rows if row.name not in (EMBEDDING, UNEMBEDDING, "head", "pooler"))
    return Flops(of, layers, attention, head)


def _of_source(row: Matrices) -> bool:
    # What cross-attention reads of the encoder is worked out once for each token of the source.
    return row.stack == "encoder" or (row.part == CROSS and row.name in ("cross key", "cross value"))


def _attention(config: ModelConfig, length: int) -> float:
    local = sum(i in config.local_layers for i in range(config.n_layers))
    pairs = local * pairs_read(config, length, local=True)
    pairs += (config.n_layers - local) * pairs_read(config, length, local=False)
    return 4 * config.n_heads * config.d_head * pairs / max(length, 1)


def pairs_read(config: ModelConfig, length: int, *, local: bool) -> int:
    """How many pairs of a query and a key that it may read a text has, in a layer with local attention or another.

    The masks that these count are in `cutaway.model.reach`.
    """
    both_ways = config.kind == "encoder"
    sparsity = config.sparsity if local else None
    if sparsity is None:
        return length**2 if both_ways else length * (length + 1) // 2
    width, shared = sparsity.width, sparsity.global_tokens
    if sparsity.kind == "window":
        far = max(0, length - shared - width)
        unread = far * (far + 1)
        return length**2 - unread if both_ways else (length * (length + 1) - unread) // 2
    blocks, rest = divmod(length, width)
    shared = min(shared, width)
    if both_ways:
        own = blocks * width**2 + rest**2
        return own + blocks * shared * (length - width) + max(0, rest - width + shared) * (length - rest)
    own = (blocks * width * (width + 1) + rest * (rest + 1)) // 2
    return own + shared * (width * blocks * (blocks - 1) // 2 + rest * blocks)
