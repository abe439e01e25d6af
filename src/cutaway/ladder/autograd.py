"""Automatic differentiation: an engine that works out the gradient of whatever numpy code you write with it.

Every operation on a `Tensor` does two things: it works out its value, and it notes which tensors that came from. The
notes are the computation graph: an arrow from each input of an operation to its result. Wherever a number `L` was
worked out in this way, `L.backward()` walks the graph from L back to the start and leaves ∂L/∂t in every tensor t.

One rule does it. Say that t = f(a, b) is somewhere on the way to L. Whoever used t has already found

    upstream      ∂L/∂t    how L changes with t,

and the operation itself knows how t changes with a and with b. The chain rule makes of the two

    downstream    ∂L/∂a = ∂L/∂t · ∂t/∂a    and    ∂L/∂b = ∂L/∂t · ∂t/∂b,

which are upstream for the operations that made a and b. So an operation never needs to know where it stands in the
whole; and for L one number, all gradients together cost a small multiple of working out L, whatever the number of
parameters: this is reverse mode. (Forward mode, from the inputs on, needs a walk for each input.)

Linnainmaa (1970) had the idea; Speelpenning (1980) the compiler; Baydin et al., "Automatic Differentiation in Machine
Learning: a Survey", JMLR 18 (2018), tell the story. All numbers are float64, so that gradients can be checked closely.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cutaway.runs import BadInput

Array = NDArray[np.float64]
Pull = Callable[[Array], Sequence[Array]]
"""The backward half of an operation: from ∂L/∂result to ∂L/∂parent for each of its parents."""
Axis = int | tuple[int, ...] | None


class Tensor:
    """An array that knows what it was made of.

    Attributes:
        data: its value.
        gradient: ∂L/∂data, of the same shape, for the L that last ran `backward`; nought until then.
        parents: the tensors that it was worked out from; none for an input or a parameter.
        operation: how, as a drawing of the graph says it.
        name: what a drawing calls it; may be set at any time.
    """

    # numpy leaves `array * tensor` to Tensor.__rmul__ instead of multiplying by every element of the array.
    __array_ufunc__ = None

    def __init__(
        self,
        data: ArrayLike,
        name: str = "",
        operation: str = "",
        parents: tuple[Tensor, ...] = (),
        pull: Pull = lambda upstream: (),
    ) -> None:
        self.data: Array = np.asarray(data, np.float64)
        self.gradient: Array = np.zeros_like(self.data)
        self.name = name
        self.operation = operation
        self.parents = parents
        self._pull = pull

    def __repr__(self) -> str:
        named = f"{self.name}: " if self.name else ""
        return f"Tensor({named}{np.array2string(self.data, precision=4, threshold=20)})"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the value and of the gradient."""
        return self.data.shape

    def graph(self) -> list[Tensor]:
        """This tensor and all that it came from, in topological order: each after its parents, itself the last.

        Depth first: a tensor is put down once everything it was made of has been. (With a list of what is still to do
        instead of a function that calls itself, for graphs may be deeper than Python lets functions nest.)
        """
        order, seen = list[Tensor](), set[int]()
        to_do: list[tuple[Tensor, bool]] = [(self, False)]
        while to_do:
            tensor, parents_are_down = to_do.pop()
            if parents_are_down:
                order.append(tensor)
            elif id(tensor) not in seen:
                seen.add(id(tensor))
                to_do.append((tensor, True))
                to_do += [(parent, False) for parent in tensor.parents]
        return order

    def backward(self) -> None:
        """Set the gradient of every tensor that this one came from to ∂(this one) / ∂(that one).

        Raises:
            BadInput: this is not one number.
        """
        if self.data.size != 1:
            raise BadInput(f"there are gradients of one number only, not of shape {self.shape}; take its sum()")
        order = self.graph()
        for tensor in order:
            tensor.gradient = np.zeros_like(tensor.data)
        self.gradient = np.ones_like(self.data)  # ∂L/∂L
        # From the end. In this order everyone who used a tensor comes before it, so when its turn comes, its upstream
        # gradient is complete. Passed on any earlier, a part would be missing from all that follows.
        for tensor in reversed(order):
            upstream = tensor.gradient
            for parent, downstream in zip(tensor.parents, tensor._pull(upstream), strict=True):
                # A tensor used more than once moves L in more than one way: the ways add up.
                parent.gradient += _summed_to(downstream, parent.shape)

    # Arithmetic, element by element. Shapes are broadcast as numpy does; `_summed_to` takes care of the way back.

    def __add__(self, other: Tensor | ArrayLike) -> Tensor:
        a, b = self, lift(other)
        return Tensor(a.data + b.data, "", "+", (a, b), lambda g: (g, g))

    def __sub__(self, other: Tensor | ArrayLike) -> Tensor:
        a, b = self, lift(other)
        return Tensor(a.data - b.data, "", "−", (a, b), lambda g: (g, -g))

    def __mul__(self, other: Tensor | ArrayLike) -> Tensor:
        a, b = self, lift(other)
        return Tensor(a.data * b.data, "", "×", (a, b), lambda g: (g * b.data, g * a.data))

    def __truediv__(self, other: Tensor | ArrayLike) -> Tensor:
        a, b = self, lift(other)
        return Tensor(a.data / b.data, "", "÷", (a, b), lambda g: (g / b.data, -g * a.data / b.data**2))

    def __pow__(self, n: float) -> Tensor:
        return Tensor(self.data**n, "", f"^{n:g}", (self,), lambda g: (g * n * self.data ** (n - 1),))

    def __neg__(self) -> Tensor:
        return Tensor(-self.data, "", "−", (self,), lambda g: (-g,))

    def __radd__(self, other: ArrayLike) -> Tensor:
        return lift(other) + self

    def __rsub__(self, other: ArrayLike) -> Tensor:
        return lift(other) - self

    def __rmul__(self, other: ArrayLike) -> Tensor:
        return lift(other) * self

    def __rtruediv__(self, other: ArrayLike) -> Tensor:
        return lift(other) / self

    def exp(self) -> Tensor:
        """eˣ, which is its own derivative."""
        value = np.exp(self.data)
        return Tensor(value, "", "exp", (self,), lambda g: (g * value,))

    def log(self) -> Tensor:
        """The natural logarithm, with derivative 1/x."""
        return Tensor(np.log(self.data), "", "log", (self,), lambda g: (g / self.data,))

    def tanh(self) -> Tensor:
        """(e²ˣ − 1) / (e²ˣ + 1), with derivative 1 − tanh²."""
        value = np.tanh(self.data)
        return Tensor(value, "", "tanh", (self,), lambda g: (g * (1 - value**2),))

    def sigmoid(self) -> Tensor:
        """σ = 1 / (1 + e⁻ˣ), with derivative σ (1 − σ); by way of tanh, which never overflows."""
        value = 0.5 * (1 + np.tanh(0.5 * self.data))
        return Tensor(value, "", "sigmoid", (self,), lambda g: (g * value * (1 - value),))

    def relu(self) -> Tensor:
        """max(x, 0), with derivative 1 above nought and 0 elsewhere."""
        return Tensor(np.maximum(self.data, 0), "", "relu", (self,), lambda g: (g * (self.data > 0),))

    # Matrices and shapes.

    def __matmul__(self, other: Tensor | ArrayLike) -> Tensor:
        """A B, over the last two axes of each; a vector is a row on the left and a column on the right.

        With G = ∂L/∂(A B): ∂L/∂A = G Bᵀ and ∂L/∂B = Aᵀ G. No other order of these has the right shape.
        """
        a, b = self, lift(other)
        if b.data.ndim == 1:
            return (a @ b.reshape(-1, 1))[..., 0]
        if a.data.ndim == 1:
            return (a.reshape(1, -1) @ b)[..., 0, :]
        return Tensor(
            a.data @ b.data, "", "@", (a, b), lambda g: (g @ b.data.swapaxes(-1, -2), a.data.swapaxes(-1, -2) @ g)
        )

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Every summand moves the sum as much as it moves itself: each gets the sum's gradient."""

        def pull(g: Array) -> tuple[Array]:
            lost = () if keepdims else tuple(range(self.data.ndim)) if axis is None else axis
            return (np.broadcast_to(np.expand_dims(g, lost), self.shape),)

        return Tensor(self.data.sum(axis=axis, keepdims=keepdims), "", "sum", (self,), pull)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The sum, divided by how many there are."""
        total = self.sum(axis, keepdims)
        return total / (self.data.size / total.data.size)

    def reshape(self, *shape: int) -> Tensor:
        """The same numbers in another shape; so are their gradients."""
        return Tensor(self.data.reshape(shape), "", "reshape", (self,), lambda g: (g.reshape(self.shape),))

    def swapaxes(self, i: int, j: int) -> Tensor:
        """Two axes exchanged."""
        return Tensor(self.data.swapaxes(i, j), "", "swap", (self,), lambda g: (g.swapaxes(i, j),))

    @property
    def T(self) -> Tensor:  # noqa: N802  as numpy and torch call it
        """A matrix transposed: all axes in reverse order."""
        return Tensor(self.data.T, "", "T", (self,), lambda g: (g.T,))

    def __getitem__(self, index: Any) -> Tensor:
        """Some of the numbers, by any of numpy's indices.

        Those not taken have gradient nought; one taken several times (a row of an embedding) gets the sum.
        """

        def pull(g: Array) -> tuple[Array]:
            gradient = np.zeros_like(self.data)
            np.add.at(gradient, index, g)
            return (gradient,)

        return Tensor(self.data[index], "", "[ ]", (self,), pull)

    # Made of the above, and so without a backward half of their own.

    def log_softmax(self, axis: int = -1) -> Tensor:
        """Of softmax, ln: x − ln Σ eˣ. The largest x is taken off first, as a constant, so that no eˣ overflows."""
        shifted = self - self.data.max(axis=axis, keepdims=True)
        return shifted - shifted.exp().sum(axis, keepdims=True).log()

    def softmax(self, axis: int = -1) -> Tensor:
        """eˣ / Σ eˣ: positive numbers that add up to 1."""
        shifted = self - self.data.max(axis=axis, keepdims=True)
        powers = shifted.exp()
        return powers / powers.sum(axis, keepdims=True)


def cross_entropy(logits: Tensor, labels: NDArray[np.integer[Any]]) -> Tensor:
    """The mean of −ln softmax at each row's label: logits `[n, class]`, labels `[n]`.

    Its gradient with respect to the logits is (softmax − one-hot) / n; nobody had to work that out.

    Raises:
        BadInput: there is not one label, from 0 to the number of classes, for each row.
    """
    rows, classes = logits.shape
    if labels.shape != (rows,) or not 0 <= labels.min() <= labels.max() < classes:
        raise BadInput(f"{rows} rows of logits need as many labels, each from 0 to {classes - 1}")
    return -logits.log_softmax()[np.arange(len(labels)), labels].mean()


def lift(value: Tensor | ArrayLike) -> Tensor:
    """A tensor as it is; anything else as a constant."""
    return value if isinstance(value, Tensor) else Tensor(value)


def _summed_to(gradient: Array, shape: tuple[int, ...]) -> Array:
    """The gradient of what was broadcast from `shape`: a number used in many places has the sum of their gradients."""
    gradient = gradient.sum(axis=tuple(range(gradient.ndim - len(shape))))
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and gradient.shape[i] > 1)
    return gradient.sum(axis=stretched, keepdims=True)
