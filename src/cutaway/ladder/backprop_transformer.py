"""Backpropagation by hand through a whole transformer block, in numpy.

What `backprop` does for layer upon layer, done for what a transformer is a stack of: causal self-attention, then a
feed-forward network, each reading the residual stream through a layer norm and adding to it.

    m = x + attention(norm₁(x))        y = m + feedforward(norm₂(m))

Each piece is a function forward and a function backward beside it. Backward takes ∂C/∂(what the piece gave), written
`d_out`, and returns ∂C/∂(each thing it was given). The block strings them together, in reverse. Where the stream splits
(it goes around each branch, and into it) the gradients of both ways add up: so the residual stream carries the gradient
to the start undiminished, however little comes back through the branches.

Vaswani et al., "Attention Is All You Need" (2017), with the norms before the branches: Xiong et al., "On Layer
Normalization in the Transformer Architecture" (2020).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from cutaway.ladder.backprop import ACTIVATIONS, Array
from cutaway.runs import BadInput

EPSILON = 1e-5
"""Added to the variance in a layer norm: a row of equal numbers must not divide by nought."""


def linear(x: Array, weight: Array, bias: Array) -> Array:
    """Each row of x times Wᵀ, plus b: x `[batch, position, in]`, W `[out, in]`, b `[out]`."""
    return x @ weight.T + bias


def linear_backward(d_out: Array, x: Array, weight: Array) -> tuple[Array, Array, Array]:
    """∂C/∂x, ∂C/∂W, ∂C/∂b: equations (2), (4) and (3) of `backprop`, each position being an example."""
    rows, d_rows = x.reshape(-1, x.shape[-1]), d_out.reshape(-1, d_out.shape[-1])
    return d_out @ weight, d_rows.T @ rows, d_rows.sum(axis=0)


class Norm(NamedTuple):
    """What a layer norm keeps for the way back: x̂ `[batch, position, d_model]`, and 1/σ `[batch, position, 1]`."""

    normalised: Array
    inverse: Array


def layer_norm(x: Array, gain: Array, bias: Array) -> tuple[Array, Norm]:
    """x̂ = (x − mean) / σ over the last axis, then g ⊙ x̂ + b (Ba, Kiros and Hinton 2016)."""
    centred = x - x.mean(axis=-1, keepdims=True)
    inverse = 1 / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + EPSILON)
    normalised = centred * inverse
    return gain * normalised + bias, Norm(normalised, inverse)


def layer_norm_backward(d_out: Array, gain: Array, kept: Norm) -> tuple[Array, Array, Array]:
    """∂C/∂x, ∂C/∂g, ∂C/∂b.

    With d = ∂C/∂x̂:  ∂C/∂x = (d − mean(d) − x̂ mean(d ⊙ x̂)) / σ. What is taken off is what the norm ignores: moving all
    of x alike (mean) or stretching it (along x̂) changes nothing, so no gradient may lie along these two directions.
    """
    d = d_out * gain
    along = (d * kept.normalised).mean(axis=-1, keepdims=True)
    d_x = (d - d.mean(axis=-1, keepdims=True) - kept.normalised * along) * kept.inverse
    return d_x, (d_out * kept.normalised).sum(axis=(0, 1)), d_out.sum(axis=(0, 1))


def attention(q: Array, k: Array, v: Array) -> tuple[Array, Array]:
    """P v with P = softmax(q kᵀ / √d_head), and the pattern P: no position attends to a later one.

    q, k, v and the result are `[batch, head, position, d_head]`, P is `[batch, head, query, key]`.
    """
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1])
    scores += causal_mask(q.shape[-2])
    pattern = np.exp(scores - scores.max(axis=-1, keepdims=True))
    pattern /= pattern.sum(axis=-1, keepdims=True)
    return pattern @ v, pattern


def attention_backward(d_out: Array, q: Array, k: Array, v: Array, pattern: Array) -> tuple[Array, Array, Array]:
    """∂C/∂q, ∂C/∂k, ∂C/∂v.

    Through the softmax, row by row:  ∂C/∂s = P ⊙ (∂C/∂P − Σ ∂C/∂P ⊙ P). A score gains only if its value is better than
    what the row gets on average. Where the mask made P nought, ∂C/∂s is nought by itself: the mask needs no line here.
    """
    d_v = pattern.swapaxes(-1, -2) @ d_out
    d_pattern = d_out @ v.swapaxes(-1, -2)
    d_scores = pattern * (d_pattern - (d_pattern * pattern).sum(axis=-1, keepdims=True))
    d_scores /= math.sqrt(q.shape[-1])
    return d_scores @ k, d_scores.swapaxes(-1, -2) @ q, d_v


def causal_mask(positions: int) -> Array:
    """What is added to scores `[query, key]`: 0 where the key is no later than the query, else −∞."""
    return np.triu(np.full((positions, positions), -np.inf), 1)


class TransformerBlock:
    """One block, its forward pass and its backward pass.

    Attributes:
        parameters: by name: `norm1.gain`, `norm1.bias`, `query.weight` `[d_model, d_model]`, `query.bias`, `key.…`,
            `value.…`, `output.…`, `norm2.…`, `up.weight` `[d_hidden, d_model]`, `up.bias`, `down.…`.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        d_hidden: int,
        activation: str = "relu",
        dtype: DTypeLike = np.float64,
        seed: int = 0,
    ) -> None:
        """A block whose feed-forward network has `d_hidden` neurons with one of `backprop`'s activations.

        Raises:
            BadInput: the heads do not divide the width, or there is no such activation.
        """
        if d_model % n_heads:
            raise BadInput(f"{n_heads} heads cannot share a width of {d_model}; give a divisor of it")
        if activation not in ACTIVATIONS:
            raise BadInput(f"no activation {activation!r}; there are {', '.join(ACTIVATIONS)}")
        self.n_heads = n_heads
        self.activation = ACTIVATIONS[activation]
        rng = np.random.default_rng(seed)
        self.parameters: dict[str, Array] = {}
        for name in ("norm1", "norm2"):
            self.parameters[f"{name}.gain"] = np.ones(d_model, dtype)
            self.parameters[f"{name}.bias"] = np.zeros(d_model, dtype)
        shapes = dict.fromkeys(("query", "key", "value", "output"), (d_model, d_model))
        shapes |= {"up": (d_hidden, d_model), "down": (d_model, d_hidden)}
        for name, (outputs, inputs) in shapes.items():
            weight = rng.normal(0, 1 / math.sqrt(inputs), (outputs, inputs))
            self.parameters[f"{name}.weight"] = weight.astype(dtype)
            self.parameters[f"{name}.bias"] = np.zeros(outputs, dtype)

    def forward(self, x: Array) -> tuple[Array, dict[str, Any]]:
        """The residual stream `[batch, position, d_model]` after the block, and what the way back needs."""
        p = self.parameters
        kept: dict[str, Any] = {}
        kept["read"], kept["norm1"] = layer_norm(x, p["norm1.gain"], p["norm1.bias"])
        for name in ("query", "key", "value"):
            kept[name] = self._split(linear(kept["read"], p[f"{name}.weight"], p[f"{name}.bias"]))
        mixed, kept["pattern"] = attention(kept["query"], kept["key"], kept["value"])
        kept["mixed"] = self._merge(mixed)
        middle = x + linear(kept["mixed"], p["output.weight"], p["output.bias"])

        kept["read2"], kept["norm2"] = layer_norm(middle, p["norm2.gain"], p["norm2.bias"])
        kept["sums"] = linear(kept["read2"], p["up.weight"], p["up.bias"])
        kept["hidden"] = self.activation.value(kept["sums"])
        return middle + linear(kept["hidden"], p["down.weight"], p["down.bias"]), kept

    def backward(self, d_out: Array, kept: Mapping[str, Any]) -> tuple[Array, dict[str, Array]]:
        """∂C/∂x and ∂C/∂(each parameter), from ∂C/∂(the stream after the block) and what `forward` kept."""
        p, grads = self.parameters, dict[str, Array]()

        def through(name: str, d: Array, x: Array) -> Array:
            d_x, grads[f"{name}.weight"], grads[f"{name}.bias"] = linear_backward(d, x, p[f"{name}.weight"])
            return d_x

        # The feed-forward branch, last to first.
        d = through("down", d_out, kept["hidden"])
        d = d * self.activation.slope(kept["sums"], kept["hidden"])
        d = through("up", d, kept["read2"])
        d, grads["norm2.gain"], grads["norm2.bias"] = layer_norm_backward(d, p["norm2.gain"], kept["norm2"])
        d_middle = d_out + d  # around the branch, and through it

        # The attention branch.
        d = self._split(through("output", d_middle, kept["mixed"]))
        parts = attention_backward(d, kept["query"], kept["key"], kept["value"], kept["pattern"])
        # Queries, keys and values were all made of the same input: three ways, added up.
        by_query, by_key, by_value = (
            through(name, self._merge(part), kept["read"])
            for name, part in zip(("query", "key", "value"), parts, strict=True)
        )
        d = by_query + by_key + by_value
        d, grads["norm1.gain"], grads["norm1.bias"] = layer_norm_backward(d, p["norm1.gain"], kept["norm1"])
        return d_middle + d, grads

    def _split(self, x: Array) -> Array:
        """`[batch, position, d_model]` as `[batch, head, position, d_head]`."""
        batch, positions, width = x.shape
        return x.reshape(batch, positions, self.n_heads, width // self.n_heads).swapaxes(1, 2)

    def _merge(self, x: Array) -> Array:
        """And back."""
        batch, heads, positions, width = x.shape
        return x.swapaxes(1, 2).reshape(batch, positions, heads * width)
