"""The transformer, from token ids to logits, read from top to bottom.

One block makes decoders, encoders and encoder–decoders. Every tensor on the way has the name that TransformerLens gives
it; see `cutaway.model.taps`.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from cutaway.model.attention import told
from cutaway.model.block import Block, Memory, Sight
from cutaway.model.cache import KVCache
from cutaway.model.config import ModelConfig
from cutaway.model.mlp import ACTIVATIONS
from cutaway.model.norms import Norm
from cutaway.model.positions import Rotation, bias_by_distance, rotation, sinusoidal
from cutaway.model.reach import EVERYTHING, Reach, reach
from cutaway.model.taps import UNTOUCHED, Tap


class Stack(nn.Module):
    """Embeddings, blocks and a last norm: an encoder, or a decoder without its head."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.dropout = 0.0
        self.embed = nn.Embedding(config.vocab_size, config.d_model)
        if config.positions == "learned":
            self.pos_embed = nn.Embedding(config.position_offset + config.context, config.d_model)
        if config.positions == "relative":
            self.relative = nn.Embedding(config.relative_buckets, config.n_heads)
        if config.n_token_types:
            self.type_embed = nn.Embedding(config.n_token_types, config.d_model)
        if config.embedding_norm:
            self.ln_embed = Norm(config, config.d_model)
        self.blocks = nn.ModuleList(Block(config, i) for i in range(config.n_layers))
        self.ln_final = Norm(config, config.d_model) if config.final_norm else None

    def hidden(
        self,
        tokens: Int[Tensor, "batch position"],
        *,
        present: Bool[Tensor, "batch position"] | None = None,
        token_types: Int[Tensor, "batch position"] | None = None,
        memory: Memory | None = None,
        cache: KVCache | None = None,
        tap: Tap = UNTOUCHED,
    ) -> Float[Tensor, "batch position d_model"]:
        """The residual stream after the last block, normalised; with a cache, `tokens` continue what it holds.

        `present` is False where a token is padding, which nothing then reads.
        """
        if cache:
            columns = cache.next_columns(tokens.shape[1])
            positions, keys = cache.positions(columns), torch.arange(len(columns) + cache.length, device=columns.device)
            present = cache.present(keys)
        else:
            columns = keys = torch.arange(tokens.shape[1], device=tokens.device)
            positions = columns if present is None else (present.cumsum(-1) - 1).clamp(min=0)
        residual = self.embedded(tokens, positions, token_types, tap)
        furthest = cache.capacity if cache else len(columns)
        turn = near_turn = self.turn(positions, furthest, tap.under("rotary_emb."), local=False)
        if self.config.local_rope_theta is not None:
            near_turn = self.turn(positions, furthest, tap.under("rotary_emb_local."), local=True)
        far = near = Sight(self.reach(columns, keys, present, local=False), turn)
        if self.config.local_layers:
            near = Sight(self.reach(columns, keys, present, local=True), near_turn)
        for i, block in enumerate(self.blocks):
            sight = near if i in self.config.local_layers else far
            residual = block(residual, sight, memory, cache, tap.under(f"blocks.{i}."))
        if cache:
            cache.advance(tokens.shape[1])
        return self.ln_final(residual, tap.under("ln_final.")) if self.ln_final else residual

    def embedded(self, tokens: Tensor, positions: Tensor, token_types: Tensor | None, tap: Tap) -> Tensor:
        """The residual stream before the first block, `[batch, position, d_model]`."""
        config = self.config
        residual = self.embed(tap("embed.hook_in", tokens))
        if config.embedding_scale != 1:
            residual = residual * config.embedding_scale
        residual = tap("hook_embed", residual)
        if config.positions in ("learned", "sinusoidal"):
            places = self.placed(positions, tap).to(residual.dtype)
            residual = residual + tap("hook_pos_embed", places.expand_as(residual))
        if config.n_token_types:
            types = torch.zeros_like(tokens) if token_types is None else token_types
            residual = residual + tap("hook_token_type_embed", self.type_embed(types))
        if config.embedding_norm:
            residual = self.ln_embed(residual, tap.under("ln_embed."))
        return F.dropout(residual, self.dropout, self.training) if self.dropout else residual

    def placed(self, positions: Tensor, tap: Tap) -> Tensor:
        """What the embeddings of positions add, `[position, d_model]`, or one a sequence of the batch."""
        if self.config.positions == "sinusoidal":
            return sinusoidal(positions, self.config.d_model)
        positions = tap("pos_embed.hook_in", positions if positions.dim() > 1 else positions[None])
        return self.pos_embed(positions + self.config.position_offset)

    def turn(self, positions: Tensor, furthest: int, tap: Tap, *, local: bool) -> Rotation | None:
        """How queries and keys are turned in layers with local attention, or in the others."""
        if self.config.positions != "rotary":
            return None
        return told(rotation(positions, self.config, furthest, local=local), tap)

    def reach(self, columns: Tensor, keys: Tensor, present: Tensor | None, *, local: bool) -> Reach:
        """What queries may read in layers with local attention, or in the others."""
        both_ways, sparsity = self.config.kind == "encoder", self.config.sparsity if local else None
        bias = bias_by_distance(keys - columns[:, None], self.config, getattr(self, "relative", None))
        return reach(columns, keys, both_ways=both_ways, sparsity=sparsity, present=present, bias=bias)


class Transformer(Stack):
    """A decoder, an encoder, or with `encoder` both; its head gives logits over the vocabulary.

    Its output and input embeddings share one matrix when `config.tied_embeddings` is set.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.encoder = Stack(config.encoder()) if config.kind == "encoder-decoder" else None
        if self.encoder:
            self.encoder.embed.weight = self.embed.weight
        if config.head == "masked":
            self.head = nn.Linear(config.d_model, config.d_model, bias=config.head_bias)
            self.ln_head = Norm(config, config.d_model)
        elif config.head == "pooler":
            self.pooler = nn.Linear(config.d_model, config.d_model)
        if config.head in ("linear", "masked"):
            self.unembed = nn.Linear(config.d_model, config.vocab_size, bias=config.unembed_bias)
            if config.tied_embeddings:
                self.unembed.weight = self.embed.weight
        self.initialize()

    def initialize(self) -> None:
        """Draw the weights anew: normal with standard deviation 0.02, residual outputs smaller by 1/sqrt(2 layers).

        The scaling of the matrices that write into the residual stream is GPT-2's (Radford et al. 2019, section 2.3).
        """
        residual = 0.02 / math.sqrt(2 * self.config.n_layers)
        for name, weight in self.named_parameters():
            if weight.dim() >= 2:
                writes = name.removesuffix(".weight").endswith(("attn.o", "mlp.down"))
                nn.init.normal_(weight, std=residual if writes else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(weight)

    def forward(
        self,
        tokens: Int[Tensor, "batch position"],
        target: Int[Tensor, "batch target"] | None = None,
        *,
        present: Bool[Tensor, "batch position"] | None = None,
        token_types: Int[Tensor, "batch position"] | None = None,
        cache: KVCache | None = None,
        tap: Tap = UNTOUCHED,
    ) -> Float[Tensor, "batch position vocab"]:
        """Logits at each position; a decoder's are for the token after it.

        An encoder–decoder reads `tokens` and gives the logits of `target`. An encoder without an unembedding gives its
        hidden states, `[batch, position, d_model]`.
        """
        if self.encoder:
            assert target is not None, "an encoder–decoder takes model(source, target)"
            memory = self.encode(tokens, present=present, tap=tap)
            hidden = self.hidden(target, memory=memory, cache=cache, tap=tap)
        else:
            hidden = self.hidden(tokens, present=present, token_types=token_types, cache=cache, tap=tap)
        return self.logits(hidden, tap) if self.config.head in ("linear", "masked") else hidden

    def encode(
        self,
        tokens: Int[Tensor, "batch position"],
        *,
        present: Bool[Tensor, "batch position"] | None = None,
        tap: Tap = UNTOUCHED,
    ) -> Memory:
        """An encoder–decoder's encoder over its source."""
        assert self.encoder is not None
        states = self.encoder.hidden(tokens, present=present, tap=tap.under("encoder."))
        return Memory(states, EVERYTHING if present is None else Reach(present[:, None, None, :]))

    def logits(self, hidden: Float[Tensor, "... d_model"], tap: Tap = UNTOUCHED) -> Float[Tensor, "... vocab"]:
        """What the final hidden states say of the vocabulary."""
        config = self.config
        if config.head == "masked":
            hidden = self.ln_head(ACTIVATIONS[config.activation](self.head(hidden)), tap.under("ln_head."))
        if config.logit_scale != 1:
            hidden = hidden * config.logit_scale
        logits = tap("unembed.hook_out", self.unembed(tap("unembed.hook_in", hidden)))
        if config.final_softcap:
            logits = config.final_softcap * torch.tanh(logits / config.final_softcap)
        return logits

    def pooled(
        self, hidden: Float[Tensor, "batch position d_model"], present: Bool[Tensor, "batch position"] | None = None
    ) -> Float[Tensor, "batch d_model"]:
        """One vector a sequence: the mean of its tokens' hidden states, at unit length (Reimers and Gurevych 2019)."""
        if present is None:
            return F.normalize(hidden.mean(1), dim=-1)
        shares = present[..., None].to(hidden.dtype)
        return F.normalize((hidden * shares).sum(1) / shares.sum(1).clamp(min=1), dim=-1)

    def n_parameters(self) -> int:
        """Number of weights, each counted once."""
        return sum(weight.numel() for weight in self.parameters())
