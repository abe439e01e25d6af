"""The smallest network that needs backpropagation, on the engine: XOR, by three hidden neurons, step by step.

    hidden = tanh(x W1 + b1)        output = sigmoid(hidden W2 + b2)        L = mean (output − y)²

x has four rows, the four pairs of 0 and 1; y is 1 where just one of a pair is. The graph of one step is small enough to
be read whole: each node's value was worked out from those before it, each gradient ∂L/∂node from those after it.
"""

from __future__ import annotations

import numpy as np

from cutaway.ladder.autograd import Tensor

HIDDEN = 3
INPUTS = ((0, 0), (0, 1), (1, 0), (1, 1))


class XorDescent:
    """The network and its way down.

    Attributes:
        parameters: W1 `[2, 3]`, b1 `[3]`, W2 `[3, 1]`, b2 `[1]`.
        losses: L before each step that was taken.
    """

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.parameters = (
            Tensor(rng.normal(0, 1, (2, HIDDEN)), "W1"),
            Tensor(np.zeros(HIDDEN), "b1"),
            Tensor(rng.normal(0, 1, (HIDDEN, 1)), "W2"),
            Tensor(np.zeros(1), "b2"),
        )
        self.losses: list[float] = []

    def loss(self) -> Tensor:
        """L, with the graph behind it and every gradient in it."""
        w1, b1, w2, b2 = self.parameters
        x = Tensor(INPUTS, "x")
        y = Tensor([[float(a != b)] for a, b in INPUTS], "y")
        hidden = (x @ w1 + b1).tanh()
        hidden.name = "hidden"
        output = (hidden @ w2 + b2).sigmoid()
        output.name = "output"
        loss = ((output - y) ** 2).mean()
        loss.name = "L"
        loss.backward()
        return loss

    def step(self, rate: float) -> None:
        """One step of descent: θ ← θ − rate · ∂L/∂θ."""
        self.losses.append(float(self.loss().data))
        for parameter in self.parameters:
            parameter.data = parameter.data - rate * parameter.gradient
