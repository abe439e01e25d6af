"""A cost landscape: how high the cost of a network lies around the weights that it learned, and along the way there.

The cost C is one number for each choice of all weights and biases θ, thousands of them. Nobody can see thousands of
directions at once; three views of them:

**A slice.** Through the weights that were learned, θ*, go two random directions d and e: C(θ* + α d + β e) over α and β
is a surface. How steep it looks depends on how large the weights happen to be: a neuron whose weights are ten times as
large hardly notices the same step. So each neuron's part of a direction is made as long as that neuron's weights are,

    dᵢ ← dᵢ / ‖dᵢ‖ · ‖θᵢ‖,

and biases are left alone: *filter normalisation* (Li, Xu, Taylor, Studer and Goldstein, "Visualizing the Loss Landscape
of Neural Nets", 2018). One step along d then changes every neuron by as much as there is of it.

**The plane of the path.** Two random directions among thousands are at right angles to nearly everything, also to the
way that descent took: in their plane it seems not to move at all. The two directions in which it moved most are the
first principal components of the points θ₀ ... θ* on it. (They hold much of any path, a random walk's too: Antognini
and Sohl-Dickstein 2018.)

**Where it is level.** At a critical point ∇C = 0. What it is tells the Hessian H = ∂²C/∂θ²: each eigenvalue is the
curvature along its eigenvector. All positive: a local minimum. All negative: a maximum. Some of each: a saddle point,
from which ways still lead down; its *index* is the share of negative ones. Dauphin, Pascanu, Gulcehre, Cho, Ganguli and
Bengio ("Identifying and attacking the saddle point problem", 2014) found that the index grows with the cost: high up,
where a descent might get stuck, there are saddles, and minima lie low.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cutaway.ladder.backprop import MLP

Vector = NDArray[np.float64]
"""All of a network's weights, then all of its biases, `[parameters]`."""
Floats = NDArray[Any]


def vector_of(network: MLP) -> Vector:
    """All numbers that the network learns."""
    return np.concatenate([np.ravel(part) for part in (*network.weights, *network.biases)]).astype(np.float64)


def put(vector: Vector, network: MLP) -> None:
    """Make them those of `vector`."""
    start = 0
    for part in (*network.weights, *network.biases):
        part[...] = vector[start : start + part.size].reshape(part.shape)
        start += part.size


def filter_normalised(network: MLP, rng: np.random.Generator) -> Vector:
    """A random direction, in which each neuron's part is as long as the neuron's weights, and biases stand still."""
    parts: list[Floats] = []
    for weights in network.weights:
        drawn = rng.normal(size=weights.shape)
        length = np.linalg.norm(weights, axis=1, keepdims=True) / np.linalg.norm(drawn, axis=1, keepdims=True)
        parts.append((drawn * length).ravel())
    return np.concatenate([*parts, *(np.zeros(bias.size) for bias in network.biases)])


def heights(
    height: Callable[[Vector], float], centre: Vector, across: Vector, up: Vector, xs: Floats, ys: Floats
) -> Floats:
    """The cost over the plane through `centre`: `[row, column]` at centre + x · across + y · up."""
    return np.array([[height(centre + x * across + y * up) for x in xs] for y in ys])


@dataclass(frozen=True)
class PathPlane:
    """The plane in which a path moves most.

    Attributes:
        across: the first principal component, of length 1.
        up: the second.
        shares: how much of the variance of the points lies along each.
    """

    across: Vector
    up: Vector
    shares: tuple[float, float]


def path_plane(path: Sequence[Vector]) -> PathPlane:
    """The plane of a path of at least three points. The path comes from where both coordinates are positive."""
    points = np.array(path)
    _, spread, components = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    signs = np.where(components[:2] @ (points[0] - points[-1]) < 0, -1, 1)  # either would do
    plane = components[:2] * signs[:, None]
    first, second, *_ = spread**2 / (spread**2).sum()
    return PathPlane(plane[0], plane[1], (float(first), float(second)))


def shadow(path: Sequence[Vector], across: Vector, up: Vector) -> Floats:
    """Where each point of a path lies in the plane through its last one, seen from right above: `[point, 2]`, such that
    path[-1] + x · across + y · up is the nearest place of the plane.
    """
    return np.linalg.lstsq(np.stack([across, up], axis=1), (np.array(path) - path[-1]).T, rcond=None)[0].T


Cost = Callable[[Tensor], Tensor]
"""The cost of a flat vector of parameters `[n]`, float64."""


def coarse(images: Tensor, side: int) -> Tensor:
    """Images `[n, row, column]` as `side` by `side` means, one after another: `[n, side²]` in float64."""
    return F.adaptive_avg_pool2d(images.double().unsqueeze(1), side).flatten(1)


@dataclass(frozen=True)
class SmallNetwork:
    """A network of one hidden layer, and the images it learns: x `[n, in]` float64, with labels y `[n]`.

    Its hidden neurons have tanh, because a Hessian needs a smooth function.
    """

    x: Tensor
    y: Tensor
    hidden: int
    classes: int
    decay: float

    @property
    def sizes(self) -> list[int]:
        """How many numbers there are of each kind: the hidden layer's weights and biases, the last one's."""
        return [self.x.shape[1] * self.hidden, self.hidden, self.hidden * self.classes, self.classes]

    def cost(self, parameters: Tensor) -> Tensor:
        """The mean cross-entropy plus decay/2 ‖θ‖². Without the decay some directions would be level everywhere, for a
        softmax does not notice when all its inputs grow alike, and the lowest places could lie at infinity.
        """
        first, offset, second, last = parameters.split(self.sizes)
        a = torch.tanh(self.x @ first.view(-1, self.hidden) + offset)
        log_p = torch.log_softmax(a @ second.view(self.hidden, -1) + last, dim=1)
        wanted = F.one_hot(self.y, self.classes).to(log_p.dtype)
        return -(wanted * log_p).sum() / len(self.x) + 0.5 * self.decay * parameters @ parameters

    def beginning(self, awake: int, drawn: torch.Generator) -> Tensor:
        """Random parameters `[n]`; all hidden neurons but the first `awake` have nought for all theirs.

        Such a neuron says 0 and is not listened to, so no gradient reaches it: it sleeps on, and the others learn as if
        it were not there. Where they have learned all they can, the whole network is at a critical point too, and each
        sleeping neuron is a way on from it (Fukumizu and Amari, "Local minima and plateaus in hierarchical structures
        of multilayer perceptrons", 2000).
        """
        drawn_all = 0.5 * torch.randn(sum(self.sizes), generator=drawn, dtype=self.x.dtype)
        return torch.where(self.taking_part(awake), drawn_all, 0)

    def taking_part(self, awake: int) -> Tensor:
        """Which parameters are not those of a sleeping neuron: `[n]` bool."""
        found = torch.ones(sum(self.sizes), dtype=torch.bool)
        first, offset, second, _ = found.split(self.sizes)
        first.view(-1, self.hidden)[:, awake:] = False
        offset[awake:] = False
        second.view(self.hidden, -1)[awake:] = False
        return found


@dataclass(frozen=True)
class CriticalPoint:
    """A place where the gradient is nought.

    Attributes:
        place: the parameters `[n]`.
        cost: how high it lies.
        curvatures: the Hessian's eigenvalues, rising: `[n]`.
    """

    place: Tensor
    cost: float
    curvatures: Tensor

    @property
    def down(self) -> int:
        """In how many directions the cost curves downwards."""
        return int((self.curvatures < -self._least).sum())

    @property
    def flat(self) -> int:
        """Directions whose curvature cannot be told from nought."""
        return int((self.curvatures.abs() <= self._least).sum())

    @property
    def index(self) -> float:
        """The share of directions that curve downwards."""
        return self.down / len(self.curvatures)

    @property
    def kind(self) -> str:
        """Minimum, maximum or saddle; "level" where none goes down and some are flat, so that the signs do not say."""
        if self.down == len(self.curvatures):
            return "maximum"
        if self.down:
            return "saddle"
        return "level" if self.flat else "minimum"

    @property
    def _least(self) -> float:
        return 1e-7 * self.curvatures.abs().max().item()


TOLERANCE = 1e-8
"""A gradient that is shorter counts as nought."""


def downhill(cost: Cost, start: Tensor, steps: int = 100, moving: Tensor | None = None) -> CriticalPoint | None:
    """Go downhill from `start` by Dauphin et al.'s saddle-free Newton method, θ ← θ − (|H| + μ I)⁻¹ g.

    |H| is H with all eigenvalues made positive. A plain Newton step θ − H⁻¹ g is drawn to saddles, for where a
    curvature is negative it goes uphill. Here every direction goes down, by more the flatter it is. μ grows until a
    step makes the cost less. None where the gradient is not nought after so many steps.

    Only the parameters that are `moving` (`[n]` bool; left out: all) do so. No gradient reaches a sleeping neuron, but
    what a step's rounding leaves there would: a saddle-free step makes it larger each time, until the neuron wakes.
    """
    gradient, hessian = torch.func.grad(cost), torch.func.hessian(cost)
    here, damping = start, 1e-3
    for _ in range(steps):
        g, (curvatures, directions) = gradient(here), torch.linalg.eigh(hessian(here))
        if g.norm() < TOLERANCE:
            return CriticalPoint(here, cost(here).item(), curvatures)
        height, along = cost(here), directions.T @ g
        while True:
            step = directions @ (along / (curvatures.abs() + damping))
            there = here - (step if moving is None else torch.where(moving, step, 0))
            if cost(there) < height or damping > 1e6:
                break
            damping *= 4
        here, damping = there, damping / 8
    return None


def nearest(cost: Cost, start: Tensor, steps: int = 100) -> CriticalPoint | None:
    """Go from `start`, uphill or downhill, to where the gradient is nought, by making ½‖g‖² small.

    The gradient of that is H g, and a step by Levenberg and Marquardt is θ ← θ − (H² + μ I)⁻¹ H g; with μ = 0 it would
    be Newton's, which goes to critical points of any kind. μ grows until a step makes ‖g‖ less.

    Not every search succeeds. Where H g is nought but g is not, ‖g‖ has a minimum that is no critical point, and about
    such places searches come to rest (Frye et al., "Critical point-finding methods reveal gradient-flat regions of deep
    network losses", 2021): None where ten steps shorten g by less than a tenth.
    """
    gradient, hessian = torch.func.grad(cost), torch.func.hessian(cost)
    here, damping, lengths = start, 1e-3, list[float]()
    g = gradient(here)
    for step in range(steps):
        curvatures, directions = torch.linalg.eigh(hessian(here))
        lengths.append(g.norm().item())
        if lengths[-1] < TOLERANCE:
            return CriticalPoint(here, cost(here).item(), curvatures)
        if damping > 1e6 or (step > 15 and lengths[-1] > 0.9 * lengths[-11]):
            return None
        along = directions.T @ g
        while damping <= 1e6:
            there = here - directions @ (curvatures / (curvatures**2 + damping) * along)
            g_there = gradient(there)
            if g_there.norm() < g.norm():
                here, g, damping = there, g_there, damping / 8
                break
            damping *= 4
    return None
