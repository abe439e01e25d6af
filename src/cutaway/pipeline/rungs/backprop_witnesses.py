"""Gradients by hand beside what two automatic engines find: rung 2's and torch's. All in float64."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from cutaway.ladder.autograd import Tensor, cross_entropy
from cutaway.ladder.autograd_networks import mlp, transformer_block
from cutaway.ladder.backprop import MLP, Array, one_hot
from cutaway.ladder.backprop_transformer import EPSILON, TransformerBlock

PAIRS = (("sigmoid", "squared"), ("tanh", "squared"), ("relu", "cross-entropy"), ("sigmoid", "cross-entropy"))
"""Activations and losses whose gradients are compared."""
ENGINES = {"sigmoid": Tensor.sigmoid, "tanh": Tensor.tanh, "relu": Tensor.relu}
TORCHS = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}
Differences = tuple[float, float]
"""The largest difference of any gradient by hand from the engine's, and from torch's."""


def compare_networks(
    sizes: Sequence[int], x: NDArray[np.float64], labels: NDArray[np.int64], seed: int
) -> dict[str, Differences]:
    """For each pair, over a batch x `[n, in]`."""
    found: dict[str, Differences] = {}
    for activation, loss in PAIRS:
        network = MLP(sizes, activation, loss, np.float64, seed)
        _, by_weights, by_biases = network.gradients(x, one_hot(labels, sizes[-1], np.float64))
        ours = [*by_weights, *by_biases]
        by_engine = _mlp_by_engine(network, x, labels, activation, loss)
        by_torch = _mlp_by_torch(network, x, labels, activation, loss)
        found[f"{activation}, {loss}"] = (_farthest(ours, by_engine), _farthest(ours, by_torch))
    return found


def _mlp_by_engine(
    network: MLP, x: NDArray[np.float64], labels: NDArray[np.int64], activation: str, loss: str
) -> list[Array]:
    weights, biases = [Tensor(w) for w in network.weights], [Tensor(b) for b in network.biases]
    bend = ENGINES[activation]
    sums = mlp(Tensor(x), weights, biases, bend)[-1]
    if loss == "squared":
        cost = ((bend(sums) - one_hot(labels, sums.shape[1])) ** 2).sum() / len(x)
    else:
        cost = cross_entropy(sums, labels)
    cost.backward()
    return [tensor.gradient for tensor in (*weights, *biases)]


def _mlp_by_torch(
    network: MLP, x: NDArray[np.float64], labels: NDArray[np.int64], activation: str, loss: str
) -> list[Array]:
    parts = (network.weights, network.biases)
    weights, biases = ([torch.tensor(values, requires_grad=True) for values in part] for part in parts)
    bend, sums = TORCHS[activation], torch.from_numpy(x)
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        sums = F.linear(bend(sums) if layer else sums, weight, bias)
    wanted = torch.from_numpy(labels)
    if loss == "squared":
        cost = F.mse_loss(bend(sums), F.one_hot(wanted, sums.shape[1]).double(), reduction="sum") / len(x)
    else:
        cost = F.cross_entropy(sums, wanted)
    cost.backward()
    return [np.asarray(parameter.grad) for parameter in (*weights, *biases)]


def compare_blocks(x: NDArray[np.float64], n_heads: int, seed: int) -> Differences:
    """For a transformer block over x `[batch, position, d_model]`, with respect to x too."""
    rng, width = np.random.default_rng([seed, 1]), x.shape[2]
    block = TransformerBlock(width, n_heads, 2 * width, seed=seed)
    for value in block.parameters.values():
        # Away from the ones and noughts that some start as: no mistake shall hide behind these.
        value += rng.normal(0, 0.1, value.shape)
    d_out = rng.normal(size=x.shape)
    d_x, gradients = block.backward(d_out, block.forward(x)[1])
    ours = [d_x, *(gradients[name] for name in block.parameters)]

    # The sum of the outputs, each times its number in d_out, has d_out as its gradient.
    stream, tensors = Tensor(x), {name: Tensor(value) for name, value in block.parameters.items()}
    (transformer_block(stream, tensors, n_heads) * d_out).sum().backward()
    by_engine = [tensor.gradient for tensor in (stream, *tensors.values())]

    start = torch.tensor(x, requires_grad=True)
    parameters = {name: torch.tensor(value, requires_grad=True) for name, value in block.parameters.items()}
    _torch_block(start, parameters, n_heads).backward(torch.from_numpy(d_out))
    by_torch = [np.asarray(tensor.grad) for tensor in (start, *parameters.values())]
    return _farthest(ours, by_engine), _farthest(ours, by_torch)


def _torch_block(x: torch.Tensor, p: dict[str, torch.Tensor], n_heads: int) -> torch.Tensor:
    """The block with torch's own layer norm and attention."""

    def linear(name: str, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, p[f"{name}.weight"], p[f"{name}.bias"])

    width = [x.shape[-1]]
    read = F.layer_norm(x, width, p["norm1.gain"], p["norm1.bias"], EPSILON)
    q, k, v = (linear(name, read).unflatten(-1, (n_heads, -1)).transpose(1, 2) for name in ("query", "key", "value"))
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
    x = x + linear("output", mixed)
    read = F.layer_norm(x, width, p["norm2.gain"], p["norm2.bias"], EPSILON)
    return x + linear("down", torch.relu(linear("up", read)))


def _farthest(some: Sequence[Array], others: Sequence[Array]) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(some, others, strict=True))
