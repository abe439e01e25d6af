"""Whether a gradient is right: ask the function itself, by moving each of its inputs a little.

    ∂f/∂xᵢ ≈ (f(x + h eᵢ) − f(x − h eᵢ)) / 2h

The error of this central difference falls with h² until rounding takes over, near h = 1e-5 in float64, where about ten
digits are right. It costs two runs of f for every single number, which is why nobody trains that way, and why it is the
best witness: it knows nothing of derivatives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from cutaway.ladder.autograd import Array, Tensor


def finite_differences(function: Callable[[Array], float], x: Array, step: float = 1e-5) -> Array:
    """∂function/∂x for each number of x, by central differences, in the shape of x."""
    gradient = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        there, back = x.copy(), x.copy()
        there[place] += step
        back[place] -= step
        gradient[place] = (function(there) - function(back)) / (2 * step)
    return gradient


class Operation(NamedTuple):
    """An operation to check: what it does, to inputs of which shapes, drawn from where.

    `apply` uses only what tensors of `autograd` and of `torch` have in common, so that it does the same with both.
    """

    apply: Callable[..., Any]
    shapes: Sequence[tuple[int, ...]]
    low: float = -2.0
    high: float = 2.0

    def inputs(self, rng: np.random.Generator) -> list[Array]:
        """Random inputs. None lies at a kink of the operation, but by a chance of nought."""
        return [rng.uniform(self.low, self.high, shape) for shape in self.shapes]


TWICE = np.array([0, 2, 2])
OPERATIONS: dict[str, Operation] = {
    "a + b": Operation(lambda a, b: a + b, [(3, 4), (3, 4)]),
    "a + b, b broadcast": Operation(lambda a, b: a + b, [(2, 3, 4), (3, 1)]),
    "a − b": Operation(lambda a, b: 1.5 - a - b, [(3, 4), (4,)]),
    "a × b": Operation(lambda a, b: 2.0 * a * b, [(3, 1), (1, 4)]),
    "a × a": Operation(lambda a: a * a, [(3, 4)]),
    "a ÷ b": Operation(lambda a, b: 1.0 / a + a / b, [(3, 4), ()], 0.5),
    "aⁿ": Operation(lambda a: a**3 + a**0.5, [(3, 4)], 0.5),
    "−a": Operation(lambda a: -a, [(3, 4)]),
    "exp": Operation(lambda a: a.exp(), [(3, 4)]),
    "log": Operation(lambda a: a.log(), [(3, 4)], 0.5),
    "tanh": Operation(lambda a: a.tanh(), [(3, 4)]),
    "sigmoid": Operation(lambda a: a.sigmoid(), [(3, 4)]),
    "relu": Operation(lambda a: a.relu(), [(3, 4)]),
    "matrix @ matrix": Operation(lambda a, b: a @ b, [(3, 4), (4, 2)]),
    "matrix @ vector": Operation(lambda a, b: a @ b, [(3, 4), (4,)]),
    "vector @ matrix": Operation(lambda a, b: a @ b, [(3,), (3, 2)]),
    "vector @ vector": Operation(lambda a, b: a @ b, [(3,), (3,)]),
    "batches @ matrix": Operation(lambda a, b: a @ b, [(2, 3, 4), (4, 2)]),
    "sum": Operation(lambda a: a.sum(), [(3, 4)]),
    "sum over an axis": Operation(lambda a: a.sum(1) * a.sum(1, True).sum(), [(2, 3, 4)]),
    "mean": Operation(lambda a: a.mean() + a.mean((0, 2)), [(2, 3, 4)]),
    "reshape": Operation(lambda a: a.reshape(4, -1), [(3, 4)]),
    "transpose": Operation(lambda a: a.T, [(3, 4)]),
    "swapaxes": Operation(lambda a: a.swapaxes(0, 2), [(2, 3, 4)]),
    "indexing, a slice": Operation(lambda a: a[1:, None, ::2], [(3, 4)]),
    "indexing, rows twice": Operation(lambda a: a[TWICE], [(3, 4)]),
    "softmax": Operation(lambda a: a.softmax(-1), [(3, 4)]),
    "log-softmax": Operation(lambda a: a.log_softmax(-1), [(3, 4)]),
}


def weighed(operation: Operation, inputs: Sequence[Any], constant: Callable[[Array], Any] = lambda x: x) -> Any:
    """One number out of all that the operation gives: each times a weight of its own, added up.

    A plain sum would hide mistakes: that of a softmax is always 1. `constant` makes of an array what can be multiplied
    with a result.
    """
    result = operation.apply(*inputs)
    shape = tuple(result.shape)
    weights = np.cos(np.arange(math.prod(shape), dtype=float)).reshape(shape)
    return (result * constant(weights)).sum()


def engine_gradients(operation: Operation, inputs: Sequence[Array]) -> list[Array]:
    """The gradient of `weighed` with respect to each input, as `autograd` finds it."""
    tensors = [Tensor(x) for x in inputs]
    weighed(operation, tensors).backward()
    return [tensor.gradient for tensor in tensors]


def measured_gradients(operation: Operation, inputs: Sequence[Array]) -> list[Array]:
    """The same by finite differences."""

    def with_input(i: int, x: Array) -> float:
        return float(weighed(operation, [Tensor(x if i == j else other) for j, other in enumerate(inputs)]).data)

    return [finite_differences(partial(with_input, i), x) for i, x in enumerate(inputs)]
