"""What one example asks of a layer: three levers that would lower its cost.

An output that should be larger can become so in three ways. With z = w₁a₁ + … + wₙaₙ + b,

    raise the bias                b      by an amount in proportion to                          −δ
    raise weights                 wₖ     each in proportion to what it is multiplied with:      −δ aₖ
    raise earlier activations     aₖ     each in proportion to the weight it passes:            −δ wₖ

where δ = ∂C/∂z. Nothing can change the activations but the layers before: what all outputs ask of each, added up, is
what the same three levers of the layer before are then pulled by. That is the step back of backpropagation.

The second lever has a shape of its own: the changes asked of a layer's weights are −δ aᵀ, a column times a row. Weights
grow most between a neuron that is active and one that should be more so. That is Hebb's rule ("The Organization of
Behavior", 1949), in later words: what fires together wires together, with "should fire" in the place of "fires".
"""

from __future__ import annotations

from dataclasses import dataclass

from cutaway.ladder.backprop import MLP, Array
from cutaway.runs import BadInput


@dataclass(frozen=True)
class Levers:
    """The negative gradients at one layer, for one example: the way in which each number should move.

    Attributes:
        before: activations that come into the layer, `[in]`.
        after: activations it gives, `[out]`.
        bias: −∂C/∂b = −δ, `[out]`.
        weights: −∂C/∂W = −δ aᵀ, `[out, in]`.
        earlier_by_output: −δⱼ wⱼₖ, `[out, in]`: what each of the layer's neurons asks of each one before it.
    """

    before: Array
    after: Array
    bias: Array
    weights: Array
    earlier_by_output: Array

    @property
    def earlier(self) -> Array:
        """−∂C/∂a, `[in]`: what all neurons of the layer together ask of each one before it."""
        return self.earlier_by_output.sum(axis=0)


def levers(network: MLP, x: Array, y: Array, layer: int) -> Levers:
    """The levers of a layer (0 is the first, -1 the last) for one example: x `[in]`, y `[out]`.

    Raises:
        BadInput: it is not one example, or the network has no such layer.
    """
    layers = len(network.weights)
    if x.ndim != 1 or not -layers <= layer < layers:
        raise BadInput(f"levers are of one example [in], not {list(x.shape)}, and of a layer from 0 to {layers - 1}")
    layer %= layers
    activations = network.forward(x[None])
    _, by_weights, by_biases = network.gradients(x[None], y[None])
    delta = by_biases[layer]  # of a single example, by equation (3)
    return Levers(
        before=activations[layer][0],
        after=activations[layer + 1][0],
        bias=-delta,
        weights=-by_weights[layer],
        earlier_by_output=-delta[:, None] * network.weights[layer],
    )
