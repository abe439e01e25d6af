"""The networks of `backprop` and `backprop_transformer` once more, written with `autograd`: forward passes only.

The engine records them and finds the gradients. That these are the ones found by hand says that both are right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from cutaway.ladder.autograd import Tensor
from cutaway.ladder.backprop_transformer import EPSILON, causal_mask


def mlp(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: Callable[[Tensor], Tensor] = Tensor.sigmoid,
) -> list[Tensor]:
    """The input `[batch, in]` and what each layer gives, `[batch, out]`; weights are `[out, in]`, biases `[out]`.

    The last layer's weighted sums are left as they are: what is done with them belongs to the loss.
    """
    layers, last = [x], len(weights) - 1
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        z = layers[-1] @ weight.T + bias
        layers.append(activation(z) if i < last else z)
    return layers


def layer_norm(x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    """(x − mean) / σ over the last axis, times a gain, plus a bias."""
    centred = x - x.mean(-1, keepdims=True)
    return gain * centred / ((centred**2).mean(-1, keepdims=True) + EPSILON) ** 0.5 + bias


def transformer_block(x: Tensor, p: Mapping[str, Tensor], n_heads: int) -> Tensor:
    """The residual stream `[batch, position, d_model]` after the block, whose activation is ReLU."""
    batch, positions, width = x.shape

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def heads(name: str, x: Tensor) -> Tensor:
        return linear(name, x).reshape(batch, positions, n_heads, width // n_heads).swapaxes(1, 2)

    read = layer_norm(x, p["norm1.gain"], p["norm1.bias"])
    q, k, v = (heads(name, read) for name in ("query", "key", "value"))
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(width // n_heads) + causal_mask(positions)
    mixed = (scores.softmax() @ v).swapaxes(1, 2).reshape(batch, positions, width)
    middle = x + linear("output", mixed)
    read = layer_norm(middle, p["norm2.gain"], p["norm2.bias"])
    return middle + linear("down", linear("up", read).relu())
