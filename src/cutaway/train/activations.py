"""What a training step keeps of the way forward until the way back, in bytes, from a model's configuration alone.

Autograd keeps what it needs to work gradients out: a product with a matrix keeps what went in (of that follows the
matrix's gradient), a norm its input and what it made of it, an activation function its input, attention its queries,
keys, values and result. Nothing is kept of sums, nor of what is only turned or reshaped. The counting follows
`cutaway.model` tensor by tensor; the tests hold it against what autograd does keep (Korthikanti et al. 2022, section 4,
count a plain transformer in the same way).

Compiled, a step keeps less: what a norm, a product of two tensors or a change of precision made is worked out again on
the way back where that costs no matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

from cutaway.model.config import Activation, Experts, ModelConfig

FLOAT32 = 4
INTEGER = 8
IN_A_NORM = {"eager": 4, "compiled": 2}
"""Numbers for each that goes into a norm, on the way back: gradients by two ways and their factors are five, and one
that was kept is gone by then. Compiled, few of them are ever written."""
KEPT_OF_ACTIVATION: dict[Activation, int] = {"relu": 0, "gelu": 1, "gelu_tanh": 1, "quick_gelu": 2, "silu": 1}
"""Tensors that an activation function keeps beside its result: its input, and a sigmoid; relu needs only the result."""


@dataclass(frozen=True)
class Kept:
    """Bytes kept of a batch until the way back."""

    blocks: tuple[float, ...]
    """Of each block, in order; of an encoder–decoder the encoder's come first."""
    inputs: tuple[float, ...]
    """The residual stream that goes into each: all that is left of a block that is worked out again."""
    ends: float
    """Outside the blocks, but for the logits: embeddings, last norm, head."""
    logits: float
    """Log-probabilities, or compiled the logits, of the tokens that are learned."""
    loss: float
    """What comes on top of all this while the loss goes into its own gradient."""
    last_norm: float
    """What is there on the way back through the last norm, of what is kept outside the blocks and on top of it."""
    widest: float
    """The most that one block needs on the way back for gradients of its own tensors."""

    def all_blocks(self, *, recompute: bool) -> float:
        """What is kept of the blocks when the way forward has come to its end."""
        return sum(self.inputs if recompute else self.blocks)


@dataclass(frozen=True)
class Precision:
    """How a step is worked out."""

    compute: int
    """Bytes of a number in matrix products: 4, or 2 under autocast. The residual stream and norms are float32."""
    compiled: bool

    @property
    def copies(self) -> bool:
        """Whether each matrix makes a copy of what goes into it."""
        return not self.compiled and self.compute != FLOAT32

    def norm(self, width: int, source: int = FLOAT32) -> float:
        """Of a norm over `width` numbers that come in at `source` bytes each: what went in, and what came out of the
        division, before the gain.
        """
        if self.compiled:
            return source * width + FLOAT32
        return FLOAT32 * width + source * width + FLOAT32

    def into(self, width: int, matrices: int = 1) -> float:
        """Of what goes into so many matrices."""
        return float(self.compute * width * (matrices if self.copies else 1))


def kept_of(config: ModelConfig, rows: int, length: int, *, compute: int, compiled: bool) -> Kept:
    """What is kept of `rows` rows of `length` tokens, all of which are learned.

    Of an encoder–decoder, a row is a source and a target of that length. `compute` is 2 under autocast to bfloat16.
    """
    how, tokens = Precision(compute, compiled), rows * length
    blocks = tuple(
        tokens * block(stack, layer, length, how) + masks(stack, layer, length, how)
        for stack in stacks(config)
        for layer in range(stack.n_layers)
    )
    vocabulary = config.vocab_size if config.head in ("linear", "masked") else 0
    once = compute if compiled else FLOAT32
    return Kept(
        blocks,
        (float(FLOAT32 * tokens * config.d_model),) * len(blocks),
        sum(tokens * ends(stack, how) + angles(stack, length) for stack in stacks(config)) + tokens * head(config, how),
        float(tokens * vocabulary * once),
        # The loss's gradient by its logits is written over what was kept of them; without a compiler it is a second
        # copy, and that by the log-probabilities a third.
        0.0 if compiled else float(tokens * vocabulary * 2 * FLOAT32),
        float(tokens * in_last_norm(config, how)),
        float(max(tokens * on_the_way_back(stack, length, how) for stack in stacks(config))),
    )


def stacks(config: ModelConfig) -> list[ModelConfig]:
    """The stacks of blocks that a model consists of."""
    return [config.encoder(), config] if config.kind == "encoder-decoder" else [config]


def block(config: ModelConfig, layer: int, length: int, how: Precision) -> float:
    """Bytes a token that one block keeps."""
    before = config.norm_place in ("before", "around")
    after = how.norm(config.d_model, how.compute) if config.norm_place in ("after", "around") else 0.0
    summed = how.norm(config.d_model) if config.norm_place == "after_sum" else 0.0
    own = how.norm(config.d_model) if before else 0.0
    first = own if config.first_norm or layer else 0.0
    kept = first + how.into(config.d_model, 3) + attention(config, length, how, turned=True) + after + summed
    if config.kind == "encoder-decoder":
        copies = how.into(config.d_model, 2) if how.copies else 0.0
        kept += own + how.into(config.d_model) + copies + attention(config, length, how, turned=False) + summed
    kept += own + after + summed
    if config.parallel and before and config.norm == "rms":
        kept -= FLOAT32 * config.d_model  # both norms keep the same stream
    experts = config.experts if layer in config.expert_layers else None
    return kept + (mixture(config, experts, how) if experts else mlp(config, how))


def attention(config: ModelConfig, length: int, how: Precision, *, turned: bool) -> float:
    """Bytes a token of queries, keys, values and the result; `turned` is False where another text is read."""
    q, kv = config.n_heads * config.d_head, config.n_kv_heads * config.d_head
    normed = 0.0
    if config.qk_norm != "none":
        normed = how.norm(q, how.compute) + how.norm(kv, how.compute)
        if config.qk_norm == "head":  # a division for each head
            normed += FLOAT32 * (config.n_heads + config.n_kv_heads - 2)
    # Turned queries lie head by head in memory, and so does the result then: it is kept, and laid out anew for `o`.
    result = how.compute * q * (2 if turned and config.positions == "rotary" else 1)
    scores = config.n_heads * length
    if config.attention_softcap:
        # Here each query head has keys and values of its own, and the scores exist: capped, as shares, and in bfloat16.
        return normed + 4 * how.compute * q + scores * (FLOAT32 + how.compute * (1 if how.compute == 4 else 2))
    if turned and config.positions in ("alibi", "relative"):
        # PyTorch has no fused attention with a bias for each head: the shares are worked out and kept, in float32.
        return normed + 3 * FLOAT32 * q + result + scores * FLOAT32
    return normed + how.compute * (q + 2 * kv) + result + FLOAT32 * config.n_heads


def masks(config: ModelConfig, layer: int, length: int, how: Precision) -> float:
    """Bytes of a layer's own mask, one for all rows."""
    if config.attention_softcap:
        return float(length**2)
    windowed = config.sparsity is not None and layer in config.local_layers
    if windowed and config.sparsity and config.sparsity.kind == "window" and length <= config.sparsity.width:
        windowed = False
    return float(how.compute * length**2) if windowed and config.positions not in ("alibi", "relative") else 0.0


def mlp(config: ModelConfig, how: Precision) -> float:
    """Bytes a token of an MLP."""
    of_activation = KEPT_OF_ACTIVATION[config.activation]
    if not config.gated:
        tensors = 1 + of_activation
    else:
        tensors = 3 if how.compiled else 3 + of_activation
    return how.into(config.d_model, 2 if config.gated else 1) + how.compute * tensors * config.d_mlp


def mixture(config: ModelConfig, experts: Experts, how: Precision) -> float:
    """Bytes a token of a mixture of experts: its router, and the experts that it goes through."""
    router = how.into(config.d_model) + FLOAT32 * (experts.n + experts.per_token + 1) + INTEGER * experts.per_token
    # Each takes its tokens out of the batch, and weighs what it made of them.
    of_expert = how.into(config.d_model, 2) + how.compute * (3 + KEPT_OF_ACTIVATION[config.activation]) * experts.d_mlp
    weighed = 2 * how.compute * config.d_model + FLOAT32 + 2 * INTEGER
    return router + experts.per_token * (of_expert + weighed)


def ends(config: ModelConfig, how: Precision) -> float:
    """Bytes a token of what is before and after a stack's blocks."""
    norms = config.embedding_norm + config.final_norm
    # In float32 all decoder blocks read one tensor of the encoder's; under autocast each makes copies of its own.
    read = how.into(config.d_model) if config.kind == "encoder-decoder" and not how.copies else 0.0
    return INTEGER + norms * how.norm(config.d_model) + read


def angles(config: ModelConfig, length: int) -> float:
    """Bytes of what all rows and blocks share: the angles of rotary positions, T5's buckets and their mask."""
    if config.positions == "rotary":
        return float(FLOAT32 * length * config.d_rotary)
    return float((INTEGER + 1) * length**2) if config.positions == "relative" else 0.0


def head(config: ModelConfig, how: Precision) -> float:
    """Bytes a token of what leads from the stack to the logits, and of its target."""
    if config.head not in ("linear", "masked"):
        return 0.0
    kept = how.into(config.d_model) + INTEGER
    if config.head == "masked":
        kept += how.compute * KEPT_OF_ACTIVATION[config.activation] * config.d_model
        kept += how.norm(config.d_model, how.compute) + how.into(config.d_model)
    if config.final_softcap:
        kept += how.compute * config.vocab_size
    return kept


def in_last_norm(config: ModelConfig, how: Precision) -> float:
    """Bytes a token of what is kept outside the blocks and what comes on top of it in the last norm's way back."""
    numbers = IN_A_NORM["compiled" if how.compiled else "eager"]
    return ends(config, how) + numbers * FLOAT32 * config.d_model if config.final_norm else 0.0


def on_the_way_back(config: ModelConfig, length: int, how: Precision) -> float:
    """Bytes a token of the gradients that are there at once in a block, less what has been let go of by then.

    That is most in the MLP, which comes first: the stream's gradient, and with gates those of both factors. Where the
    scores of attention exist, their gradients may be more.
    """
    wide = config.d_mlp
    if config.experts and config.expert_layers:
        wide = max(wide, config.experts.per_token * config.experts.d_mlp)
    most = how.compute * (2 if config.gated else 1) * wide
    if config.attention_softcap or config.positions in ("alibi", "relative"):
        most = max(most, 2 * FLOAT32 * config.n_heads * length - mlp(config, how))
    return FLOAT32 * config.d_model + most
