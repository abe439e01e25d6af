"""What a model is made of, counted from its configuration alone.

Nothing is built and no weight is allocated, so a model of 400 billion weights is counted as quickly as a small one.

Two totals are given, for they answer two questions. *The table* lists every matrix in every place where it is used: a
token passes an embedding and an unembedding even where one stored matrix serves as both, as in GPT-2 and GPT-3. *The
parameters* are what is stored and trained: each number once, and with position tables, biases and norms, which the
table leaves out. Queries, keys and values are counted a head at a time, for that is what acts on its own; output, up
and down a layer at a time, experts one by one. So GPT-3's table has 96 layers · 96 heads · 3 = 27,648 matrices of
queries, keys and values, 96 each of output, up and down, and 2 embeddings: 27,938, of 175,181,291,520 weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from cutaway.model.config import ModelConfig

EMBEDDING, UNEMBEDDING, ATTENTION, CROSS, MLP = "embedding", "unembedding", "attention", "cross-attention", "MLP"


@dataclass(frozen=True)
class LayeredNetwork:
    """A plain network of fully connected layers with biases, such as the one that reads handwritten digits."""

    widths: tuple[int, ...]
    """Numbers that go in, numbers after each layer."""


@dataclass(frozen=True)
class Matrices:
    """All matrices of one name and shape."""

    name: str
    part: str
    n: int
    shape: tuple[int, int]
    """Rows (numbers that come out) and columns (numbers that go in) of each; of a look-up table, entries and width."""
    stack: str = ""
    """`encoder` or `decoder`, in a model that has both."""
    idle: int = 0
    """How many of them a token passes by: the experts that are not chosen for it."""
    tied: bool = False
    """Whether they are stored elsewhere already: the unembedding that is the embedding."""

    @property
    def label(self) -> str:
        """The name in full."""
        return f"{self.stack} {self.name}".lstrip()

    @property
    def weights(self) -> int:
        """Numbers in all of them."""
        return self.n * math.prod(self.shape)

    @property
    def active(self) -> int:
        """Numbers in those that one token goes through."""
        return (self.n - self.idle) * math.prod(self.shape)


@dataclass(frozen=True)
class Anatomy:
    """The parameters of a model, by matrix."""

    shape: ModelConfig | LayeredNetwork
    matrices: tuple[Matrices, ...]
    tables: tuple[Matrices, ...]
    """Tables of positions and token types, whose rows are looked up and added."""
    biases: int
    norms: int
    """Gains of the norms, and their biases."""

    @property
    def n_matrices(self) -> int:
        """How many matrices the table lists."""
        return sum(row.n for row in self.matrices)

    @property
    def listed(self) -> int:
        """Weights in the table: tied matrices in each place where they are used."""
        return sum(row.weights for row in self.matrices)

    @property
    def tied(self) -> int:
        """Weights that the table lists a second time."""
        return sum(row.weights for row in self.matrices if row.tied)

    @property
    def parameters(self) -> int:
        """All that is stored, each number once."""
        return self.listed - self.tied + sum(row.weights for row in self.tables) + self.biases + self.norms

    @property
    def active(self) -> int:
        """Those of the parameters that one token goes through; fewer than all only in a mixture of experts."""
        return self.parameters - sum(row.weights - row.active for row in self.matrices)

    @property
    def by_part(self) -> dict[str, int]:
        """The parameters that each part of the model stores; together they are all."""
        parts: dict[str, int] = {}
        for row in (*self.matrices, *self.tables):
            if not row.tied:
                parts[row.part] = parts.get(row.part, 0) + row.weights
        return {part: n for part, n in (parts | {"biases": self.biases, "norms": self.norms}).items() if n}


def anatomy_of(shape: ModelConfig | LayeredNetwork) -> Anatomy:
    """Count the parameters of a transformer or of a layered network."""
    if isinstance(shape, LayeredNetwork):
        layers = list(zip(shape.widths, shape.widths[1:], strict=False))
        rows = tuple(Matrices(f"layer {i}", "layers", 1, (n_out, n_in)) for i, (n_in, n_out) in enumerate(layers, 1))
        return Anatomy(shape, rows, (), biases=sum(shape.widths[1:]), norms=0)
    both = shape.kind == "encoder-decoder"
    stacks = [("encoder", shape.encoder()), ("decoder", shape)] if both else [("", shape)]
    return Anatomy(
        shape,
        (
            Matrices(EMBEDDING, "embeddings", 1, (shape.vocab_size, shape.d_model)),
            *(row for name, stack in stacks for row in _blocks(stack, name)),
            *_head(shape),
        ),
        tuple(row for name, stack in stacks for row in _tables(stack, name)),
        sum(_block_biases(stack) for _, stack in stacks) + _head_biases(shape),
        sum(_stack_norms(stack) for _, stack in stacks) + _norm_size(shape) * (shape.head == "masked"),
    )


def _blocks(config: ModelConfig, stack: str) -> Iterator[Matrices]:
    width, d_head, n = config.d_model, config.d_head, config.n_layers
    for part, crossing in ((ATTENTION, ""), (CROSS, "cross "))[: _attentions(config)]:
        yield Matrices(f"{crossing}query", part, n * config.n_heads, (d_head, width), stack)
        yield Matrices(f"{crossing}key", part, n * config.n_kv_heads, (d_head, width), stack)
        yield Matrices(f"{crossing}value", part, n * config.n_kv_heads, (d_head, width), stack)
        yield Matrices(f"{crossing}output", part, n, (width, config.n_heads * d_head), stack)
    names = ("gate", "up", "down") if config.gated else ("up", "down")
    if dense := n - _expert_layers(config):
        for name in names:
            yield Matrices(name, MLP, dense, _mlp_shape(name, width, config.d_mlp), stack)
    if (experts := config.experts) and (sparse := _expert_layers(config)):
        yield Matrices("router", MLP, sparse, (experts.n, width), stack)
        idle = sparse * (experts.n - experts.per_token)
        for name in ("gate", "up", "down"):
            shape = _mlp_shape(name, width, experts.d_mlp)
            yield Matrices(f"expert {name}", MLP, sparse * experts.n, shape, stack, idle)


def _head(config: ModelConfig) -> Iterator[Matrices]:
    if config.head in ("masked", "pooler"):
        name = "head" if config.head == "masked" else "pooler"
        yield Matrices(name, "head", 1, (config.d_model, config.d_model))
    if config.head in ("linear", "masked"):
        shape = (config.vocab_size, config.d_model)
        yield Matrices(UNEMBEDDING, "embeddings", 1, shape, tied=config.tied_embeddings)


def _tables(config: ModelConfig, stack: str) -> Iterator[Matrices]:
    if config.positions == "learned":
        shape = (config.position_offset + config.context, config.d_model)
        yield Matrices("positions", "positions", 1, shape, stack)
    if config.positions == "relative":
        yield Matrices("distances", "positions", 1, (config.relative_buckets, config.n_heads), stack)
    if config.n_token_types:
        yield Matrices("token types", "token types", 1, (config.n_token_types, config.d_model), stack)


def _block_biases(config: ModelConfig) -> int:
    in_attention = (config.n_heads + 2 * config.n_kv_heads) * config.d_head * config.qkv_bias
    in_attention += config.d_model * config.output_bias
    in_mlp = ((1 + config.gated) * config.d_mlp + config.d_model) * config.mlp_bias  # experts have none
    return config.n_layers * _attentions(config) * in_attention + (config.n_layers - _expert_layers(config)) * in_mlp


def _head_biases(config: ModelConfig) -> int:
    dense = config.head == "pooler" or (config.head == "masked" and config.head_bias)
    unembedding = config.head in ("linear", "masked") and config.unembed_bias
    return config.d_model * dense + config.vocab_size * unembedding


def _stack_norms(config: ModelConfig) -> int:
    n, attentions = config.n_layers, _attentions(config)
    # A norm of the input or of the sum for each branch, and one of the output for attention and the MLP alone.
    main = (attentions + 1) * n - (not config.first_norm) if config.norm_place != "after" else 0
    post = 2 * n if config.norm_place in ("after", "around") else 0
    own = _norm_size(config) * (main + post + config.embedding_norm + config.final_norm)
    sizes = {"none": 0, "head": 2 * config.d_head, "all": (config.n_heads + config.n_kv_heads) * config.d_head}
    return own + n * attentions * sizes[config.qk_norm]


def _norm_size(config: ModelConfig) -> int:
    return config.d_model * (1 + (config.norm == "layer" and config.norm_bias))


def _attentions(config: ModelConfig) -> int:
    return 2 if config.kind == "encoder-decoder" else 1


def _expert_layers(config: ModelConfig) -> int:
    return sum(layer < config.n_layers for layer in config.expert_layers) if config.experts else 0


def _mlp_shape(name: str, width: int, d_mlp: int) -> tuple[int, int]:
    return (width, d_mlp) if name == "down" else (d_mlp, width)
