"""A decoder's weights in the order in which the native library keeps them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from cutaway.model import Transformer
from cutaway.model.attention import Attention
from cutaway.model.block import Block
from cutaway.model.mlp import MLP
from cutaway.model.norms import Norm

TILE = 16
"""Outputs that lie beside each other."""


def matrices(model: Transformer) -> Iterator[Callable[[], Float[Tensor, "output input"]]]:
    """What makes each of the model's matrices in float32: of every layer qkv, o, up and down, then the unembedding."""
    for block in model.blocks:
        attn, mlp = branches(block)
        yield lambda attn=attn: stacked(attn.q.weight, attn.k.weight, attn.v.weight)
        yield lambda attn=attn: stacked(attn.o.weight)
        yield lambda mlp=mlp: upwards(mlp.up.weight, mlp.gate.weight if mlp.gate else None)
        yield lambda mlp=mlp: stacked(mlp.down.weight)
    yield lambda: stacked(model.unembed.weight)


def branches(block: nn.Module) -> tuple[Attention, MLP]:
    """A block's attention and MLP, which is no mixture of experts."""
    assert isinstance(block, Block)
    assert isinstance(block.mlp, MLP)
    return block.attn, block.mlp


def stacked(*parts: Tensor) -> Tensor:
    """The parts one above the other, as float32 without gaps."""
    return torch.cat([part.detach().float() for part in parts]).contiguous()


def upwards(up: Tensor, gate: Tensor | None) -> Tensor:
    """The rows that make the MLP's hidden layer; a tile of the gate's before each of the others', where it has one."""
    if gate is None:
        return stacked(up)
    tiles = [padded(part).unflatten(0, (-1, TILE)) for part in (gate, up)]
    return torch.stack(tiles, 1).flatten(0, 2).contiguous()


def padded(rows: Tensor) -> Tensor:
    """Rows, or single numbers, up to a multiple of `TILE` of them, zeros at the end."""
    rows = rows.detach().float()
    missing = -len(rows) % TILE
    return F.pad(rows, (*[0, 0] * (rows.dim() - 1), 0, missing)).contiguous()


def gain(norm: Norm) -> Tensor:
    """What a norm multiplies by, in float32."""
    return (norm.weight.detach().float() + norm.offset).contiguous()


def bias_of(matrix: nn.Linear | None) -> Tensor | None:
    """A matrix's bias, if there is one."""
    return None if matrix is None else matrix.bias


def biases(block: nn.Module) -> dict[str, Tensor]:
    """A layer's biases, those that it has, by the names of their matrices and as long as these."""
    attn, mlp = branches(block)
    inputs = [bias for bias in map(bias_of, (attn.q, attn.k, attn.v)) if bias is not None]
    up = bias_of(mlp.up)
    found = {
        "qkv": stacked(*inputs) if inputs else None,
        "o": bias_of(attn.o),
        "up": None if up is None else upwards(up, bias_of(mlp.gate)),
        "down": bias_of(mlp.down),
    }
    return {name: padded(bias) for name, bias in found.items() if bias is not None}
