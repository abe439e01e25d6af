"""What llama.cpp calls our tensors, and how they lie in its files."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cutaway.model.config import ModelConfig
from cutaway.model.weights import AS_IT_IS, Layout, Names

PAIRED = ("llama", "smollm3")
"""Architectures whose rotary pairs lie next to each other, (x[2i], x[2i+1]), where ours are half a head apart."""
FUSED = ("gpt2", "gptneox", "bloom", "phi3")
"""Architectures with one matrix for query, key and value; the others may have one."""
NORMS = ("ln1", "ln1_post", "attn.q_norm", "attn.k_norm", "ln2", "ln2_post")


def paired(n_heads: int) -> Layout:
    """Each head's rows reordered so that those rotated together are neighbours."""

    def join(ours: Sequence[Tensor]) -> Tensor:
        return ours[0].unflatten(0, (n_heads, 2, -1)).transpose(1, 2).flatten(0, 2)

    def split(theirs: Tensor, shapes: Sequence[torch.Size]) -> Sequence[Tensor]:
        return [theirs.unflatten(0, (n_heads, -1, 2)).transpose(1, 2).flatten(0, 2)]

    return Layout(join, split)


def below_each_other(layouts: Sequence[Layout]) -> Layout:
    """One below the other, each in its own layout."""

    def join(ours: Sequence[Tensor]) -> Tensor:
        return torch.cat([layout.join([x]) for layout, x in zip(layouts, ours, strict=True)])

    def split(theirs: Tensor, shapes: Sequence[torch.Size]) -> Sequence[Tensor]:
        parts = theirs.split([shape[0] for shape in shapes])
        return [layout.split(x, [shape])[0] for layout, x, shape in zip(layouts, parts, shapes, strict=True)]

    return Layout(join, split)


def raised(by: float) -> Layout:
    """A number added to every entry: a gain is stored whole, where we keep what it is more than one."""
    return Layout(lambda ours: ours[0].float() + by, lambda theirs, shapes: [theirs.float() - by])


def names(architecture: str, config: ModelConfig, *, fused: bool) -> Names:
    """llama.cpp's module names by ours, for a file with (`fused`) or without one matrix for query, key and value."""
    block, theirs = "blocks.{i}", "blk.{i}"
    pairs = architecture in PAIRED
    q = paired(config.n_heads) if pairs else AS_IT_IS
    k = paired(config.n_kv_heads) if pairs else AS_IT_IS
    found: dict[str, str | tuple[str, Layout]] = {
        "embed": "token_embd",
        "pos_embed": "position_embd",
        "ln_embed": "token_embd_norm",
        f"{block}.ln1": f"{theirs}.attn_norm",
        f"{block}.attn.q_norm": f"{theirs}.attn_q_norm",
        f"{block}.attn.k_norm": f"{theirs}.attn_k_norm",
        f"{block}.attn.o": f"{theirs}.attn_output",
        f"{block}.ln1_post": f"{theirs}.post_attention_norm",
        f"{block}.ln2": f"{theirs}.ffn_norm",
        f"{block}.mlp.router": f"{theirs}.ffn_gate_inp",
        f"{block}.mlp.down": f"{theirs}.ffn_down",
        f"{block}.ln2_post": f"{theirs}.post_ffw_norm",
        "ln_final": "output_norm",
        "unembed": "output",
    }
    if fused:
        stack = f"{block}.attn.q + {block}.attn.k + {block}.attn.v"
        found[stack] = (f"{theirs}.attn_qkv", below_each_other([q, k, AS_IT_IS])) if pairs else f"{theirs}.attn_qkv"
    else:
        found[f"{block}.attn.q"] = (f"{theirs}.attn_q", q)
        found[f"{block}.attn.k"] = (f"{theirs}.attn_k", k)
        found[f"{block}.attn.v"] = f"{theirs}.attn_v"
    if architecture == "phi3":
        found[f"{block}.mlp.gate + {block}.mlp.up"] = f"{theirs}.ffn_up"
    else:
        found[f"{block}.mlp.gate"] = f"{theirs}.ffn_gate"
        found[f"{block}.mlp.up"] = f"{theirs}.ffn_up"
    if config.experts:
        # All experts of a block in one tensor, as ours are.
        found |= {f"{block}.mlp.{part}": f"{theirs}.ffn_{part}_exps.weight" for part in ("gate", "up", "down")}
    if config.norm_gain_offset:
        gain = raised(config.norm_gain_offset)
        for norm in ("ln_final", *(f"{block}.{name}" for name in NORMS)):
            found[norm] = (str(found[norm]), gain)
    return found
