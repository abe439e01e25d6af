"""The block that every transformer is a stack of."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from cutaway.model.attention import Attention, Inputs
from cutaway.model.cache import KVCache
from cutaway.model.config import ModelConfig
from cutaway.model.mlp import MLP, MixtureOfExperts
from cutaway.model.norms import Norm
from cutaway.model.positions import Rotation
from cutaway.model.reach import EVERYTHING, Reach
from cutaway.model.taps import UNTOUCHED, Tap

HEADS_INPUTS = ("hook_attn_in", "hook_q_input", "hook_k_input", "hook_v_input")


@dataclass(frozen=True)
class Memory:
    """What a decoder reads of an encoder's output, `[batch, key, d_model]`, and which of it is padding."""

    states: Tensor | None
    reach: Reach = EVERYTHING


@dataclass(frozen=True)
class Sight:
    """What a layer's queries may read, and how they and the keys are turned."""

    reach: Reach
    rotation: Rotation | None


class Block(nn.Module):
    """Attention, then an MLP, each adding to the residual stream; a decoder's may attend to an encoder in between."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.config = config
        self.layer = layer
        self.dropout = 0.0
        self.attn = Attention(config)
        self.ln1, self.ln1_post = norms(config, first=layer == 0)
        if config.kind == "encoder-decoder":
            self.cross_attn = Attention(config)
            self.ln_cross, _ = norms(config)
        experts = config.experts if layer in config.expert_layers else None
        self.mlp = MixtureOfExperts(config, experts) if experts else MLP(config)
        self.ln2, self.ln2_post = norms(config)

    def forward(self, residual: Tensor, sight: Sight, memory: Memory | None, cache: KVCache | None, tap: Tap) -> Tensor:
        """The residual stream `[batch, position, d_model]` after this block."""
        turn = None if self.layer in self.config.unrotated_layers else sight.rotation
        start = residual = tap("hook_resid_pre", residual)
        x = self.before(self.ln1, residual, tap.under("ln1."))
        own, each = cache and cache.layers[self.layer], inputs_of_heads(self, start, tap)
        out = self.attn(x, sight.reach, turn, own, tap.under("attn."), each=each)
        out = tap("hook_attn_out", self.after(self.ln1_post, out, tap.under("ln1_post.")))
        residual = self.added(self.ln1, residual + out, tap.under("ln1."))
        if memory:
            residual = read_memory(self, residual, memory, cache, tap)
        elif not self.config.parallel:
            residual = tap("hook_resid_mid", residual)
        read = tap("hook_mlp_in", start if self.config.parallel else residual)
        x = self.before(self.ln2, read, tap.under("ln2."))
        out = self.mlp(x, tap.under("mlp."))
        out = tap("hook_mlp_out", self.after(self.ln2_post, out, tap.under("ln2_post.")))
        return tap("hook_resid_post", self.added(self.ln2, residual + out, tap.under("ln2.")))

    def before(self, norm: Norm | None, x: Tensor, tap: Tap) -> Tensor:
        """A branch's input."""
        return norm(x, tap) if norm and self.config.norm_place in ("before", "around") else x

    def after(self, norm: Norm | None, x: Tensor, tap: Tap) -> Tensor:
        """A branch's output."""
        if norm:
            x = norm(x, tap)
        return F.dropout(x, self.dropout, self.training) if self.dropout else x

    def added(self, norm: Norm | None, x: Tensor, tap: Tap) -> Tensor:
        """The stream with the branch's output added."""
        return norm(x, tap) if norm and self.config.norm_place == "after_sum" else x


def norms(config: ModelConfig, *, first: bool = False) -> tuple[Norm | None, Norm | None]:
    """A branch's two norms: that of its input (or of the sum), and that of its output."""
    main = config.norm_place != "after" and not (first and not config.first_norm)
    post = config.norm_place in ("after", "around")
    return (Norm(config, config.d_model) if main else None), (Norm(config, config.d_model) if post else None)


def read_memory(block: Block, residual: Tensor, memory: Memory, cache: KVCache | None, tap: Tap) -> Tensor:
    """The residual stream of a decoder's block after it has attended to the encoder's output."""
    # As TransformerLens has it: `mid` comes before what is read of the encoder, `mid2` after it.
    residual = tap("hook_resid_mid", residual)
    kept = cache.cross[block.layer] if cache else None
    states = None if kept is not None and kept.filled else memory.states
    x = block.before(block.ln_cross, residual, tap.under("ln_cross."))
    out = block.cross_attn(x, memory.reach, None, kept, tap.under("cross_attn."), states)
    residual = residual + tap("hook_cross_attn_out", block.after(None, out, tap))
    return tap("hook_resid_mid2", block.added(block.ln_cross, residual, tap.under("ln_cross.")))


def inputs_of_heads(block: Block, residual: Tensor, tap: Tap) -> Inputs | None:
    """The residual stream once for each head's query, key and value, normalised; None if nobody asks for these."""
    if not any(tap.wants(name) for name in HEADS_INPUTS):
        return None
    # [batch, position, head, d_model]
    copies = tap("hook_attn_in", residual[:, :, None].expand(-1, -1, block.config.n_heads, -1))
    shared = copies[:, :, : block.config.n_kv_heads]
    q, k, v = tap("hook_q_input", copies), tap("hook_k_input", shared), tap("hook_v_input", shared)
    return (
        block.before(block.ln1, q, UNTOUCHED),
        block.before(block.ln1, k, UNTOUCHED),
        block.before(block.ln1, v, UNTOUCHED),
    )
