from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from cutaway.ladder.backprop import MLP
from cutaway.ladder.landscape import (
    SmallNetwork,
    coarse,
    downhill,
    filter_normalised,
    heights,
    nearest,
    path_plane,
    put,
    shadow,
    vector_of,
)

RNG = np.random.default_rng(0)


def test_a_vector_is_the_network() -> None:
    network, other = MLP((6, 4, 3), seed=1), MLP((6, 4, 3), seed=2)
    vector = vector_of(network)
    assert vector.shape == (7 * 4 + 5 * 3,)
    put(vector, other)
    x = RNG.random((5, 6))
    np.testing.assert_array_equal(network.forward(x)[-1], other.forward(x)[-1])


def test_each_neurons_part_of_a_direction_is_as_long_as_its_weights() -> None:
    network = MLP((6, 4, 3), seed=1)
    network.weights[0][2] *= 10
    direction = filter_normalised(network, np.random.default_rng(0))
    first, second, rest = np.split(direction, [24, 36])
    for drawn, weights in ((first.reshape(4, 6), network.weights[0]), (second.reshape(3, 4), network.weights[1])):
        for one, neuron in zip(drawn, weights, strict=True):
            assert np.linalg.norm(one) == pytest.approx(float(np.linalg.norm(neuron)), rel=1e-5)
    assert not rest.any()


def test_heights_of_a_bowl() -> None:
    curvature = RNG.random(7) + 0.5
    centre, d, e = RNG.normal(size=(3, 7))
    xs, ys = np.linspace(-1, 1, 4), np.linspace(-2, 1, 3)
    found = heights(lambda v: float(curvature @ v**2), centre, d, e, xs, ys)
    for row, y in enumerate(ys):
        for column, x in enumerate(xs):
            assert found[row, column] == pytest.approx(sum(curvature * (centre + x * d + y * e) ** 2))


def test_the_plane_of_a_path_is_scikit_learns_pca() -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    path = list(np.cumsum(RNG.normal(size=(20, 50)) * np.linspace(5, 0.1, 50), axis=0))
    found = path_plane(path)
    expected = decomposition.PCA(2).fit(np.array(path))
    np.testing.assert_allclose(found.shares, expected.explained_variance_ratio_, rtol=1e-10)
    for direction, other in zip((found.across, found.up), expected.components_, strict=True):
        assert abs(direction @ other) == pytest.approx(1)
    places = shadow(path, found.across, found.up)
    np.testing.assert_allclose(places, (np.array(path) - path[-1]) @ np.stack([found.across, found.up]).T, atol=1e-9)
    assert (places[0] >= 0).all()
    np.testing.assert_allclose(places[-1], 0, atol=1e-12)


def test_a_shadow_is_the_nearest_place_of_a_plane_that_is_askew() -> None:
    across, up = RNG.normal(size=(2, 9))
    end, off = RNG.normal(size=(2, 9))
    both = np.stack([across, up])
    off -= np.linalg.lstsq(both.T, off, rcond=None)[0] @ both  # at right angles to the plane
    path = [end + 2 * across - 3 * up + off, end + 0.5 * up, end]
    np.testing.assert_allclose(shadow(path, across, up), [[2, -3], [0, 0.5], [0, 0]], atol=1e-10)


def test_coarse_images_are_means() -> None:
    images = torch.rand(3, 8, 12)
    found = coarse(images, 4)
    assert found.dtype == torch.float64
    for row in range(4):
        for column in range(4):
            part = images[:, 2 * row : 2 * row + 2, 3 * column : 3 * column + 3].double()
            torch.testing.assert_close(found[:, 4 * row + column], part.mean(dim=(1, 2)))


def small(hidden: int = 3, decay: float = 0.01, n: int = 30) -> SmallNetwork:
    drawn = torch.Generator().manual_seed(0)
    x = torch.rand(n, 5, generator=drawn, dtype=torch.float64)
    return SmallNetwork(x, torch.randint(0, 4, (n,), generator=drawn), hidden, 4, decay)


def test_the_small_cost_is_torchs() -> None:
    network = small()
    assert network.sizes == [5 * 3, 3, 3 * 4, 4]
    theta = torch.randn(34, dtype=torch.float64)
    first, second = torch.nn.Linear(5, 3).double(), torch.nn.Linear(3, 4).double()
    first.weight.data, first.bias.data = theta[:15].view(5, 3).T.clone(), theta[15:18].clone()
    second.weight.data, second.bias.data = theta[18:30].view(3, 4).T.clone(), theta[30:].clone()
    expected = torch.nn.functional.cross_entropy(second(torch.tanh(first(network.x))), network.y)
    expected = expected + 0.005 * theta.square().sum()
    assert network.cost(theta).item() == pytest.approx(expected.item())


def two_valleys(t: Tensor) -> Tensor:
    """(x² − 1)² + 2 y²: minima at x = ±1 with curvatures 8 and 4, between them a saddle with −4 and 4."""
    return (t[0] ** 2 - 1) ** 2 + 2 * t[1] ** 2


@pytest.mark.parametrize(
    ("start", "at", "kind", "down"),
    [([0.8, 0.1], 1.0, "minimum", 0), ([-1.3, -0.2], -1.0, "minimum", 0), ([0.05, 0.3], 0.0, "saddle", 1)],
)
def test_the_nearest_critical_point_may_be_a_saddle(start: list[float], at: float, kind: str, down: int) -> None:
    found = nearest(two_valleys, torch.tensor(start, dtype=torch.float64))
    assert found is not None
    assert (found.kind, found.down, found.flat, found.index) == (kind, down, 0, down / 2)
    torch.testing.assert_close(found.place, torch.tensor([at, 0.0], dtype=torch.float64))
    expected = [-4.0, 4.0] if kind == "saddle" else [4.0, 8.0]
    torch.testing.assert_close(found.curvatures, torch.tensor(expected, dtype=torch.float64))
    assert found.cost == pytest.approx(1.0 if kind == "saddle" else 0.0, abs=1e-10)


def test_downhill_leads_away_from_a_saddle() -> None:
    for x in (0.05, -1e-4):
        found = downhill(two_valleys, torch.tensor([x, 0.3], dtype=torch.float64))
        assert found is not None
        assert found.kind == "minimum"
        torch.testing.assert_close(found.place, torch.tensor([1.0 if x > 0 else -1.0, 0.0], dtype=torch.float64))


def test_hills_and_trenches() -> None:
    start = torch.tensor([0.3, 0.4], dtype=torch.float64)
    hill, trench = nearest(lambda t: -(t**2).sum(), start), nearest(lambda t: t[0] ** 2, start)
    assert hill is not None
    assert trench is not None
    assert (hill.kind, trench.kind, trench.flat) == ("maximum", "level", 1)


def test_where_a_slope_is_least_and_not_nought_there_is_no_critical_point() -> None:
    # x³ + x: the slope 3 x² + 1 is least at 0, and 1 there.
    assert nearest(lambda t: (t**3 + t).sum(), torch.tensor([0.5], dtype=torch.float64)) is None
    # And it goes down without end.
    assert downhill(lambda t: (t**3 + t).sum(), torch.tensor([0.5], dtype=torch.float64), steps=20) is None


def test_a_network_asleep_has_the_labels_entropy_for_its_cost() -> None:
    """All that can be learned without hidden neurons is how common each class is: the last biases are the logarithms of
    the classes' shares, up to the decay, and the cost is the entropy of the labels.
    """
    network = small(decay=1e-6)
    found = downhill(network.cost, network.beginning(0, torch.Generator().manual_seed(0)))
    assert found is not None
    share = torch.bincount(network.y, minlength=4).double() / len(network.y)
    assert found.cost == pytest.approx(-(share * share.log()).sum().item(), abs=1e-4)
    assert not found.place[:-4].any()
    assert found.kind == "saddle"


def test_each_neuron_that_wakes_leaves_fewer_ways_down() -> None:
    network, drawn = small(), torch.Generator().manual_seed(1)
    ends = [
        downhill(network.cost, network.beginning(awake, drawn), moving=network.taking_part(awake)) for awake in range(4)
    ]
    costs, down = [], []
    for awake, end in enumerate(ends):
        assert end is not None
        first, offset, second, _ = end.place.split(network.sizes)
        asleep = torch.cat([first.view(5, 3)[:, awake:].ravel(), offset[awake:], second.view(3, 4)[awake:].ravel()])
        assert not asleep.any()
        costs.append(end.cost)
        down.append(end.down)
    assert costs == sorted(costs, reverse=True)
    assert down[0] > down[1] >= down[-1] == 0
    assert ends[-1].kind == "minimum"


def test_only_what_may_move_does() -> None:
    moving = torch.tensor([False, True])
    found = downhill(two_valleys, torch.tensor([1.0, 0.3], dtype=torch.float64), moving=moving)
    assert found is not None
    torch.testing.assert_close(found.place, torch.tensor([1.0, 0.0], dtype=torch.float64))
    # From beside the saddle it may not leave x; the gradient is never nought there.
    assert downhill(two_valleys, torch.tensor([0.05, 0.3], dtype=torch.float64), steps=30, moving=moving) is None


def test_curvatures_are_those_of_finite_differences() -> None:
    network, drawn = small(), torch.Generator().manual_seed(3)
    found = downhill(network.cost, network.beginning(2, drawn))
    assert found is not None
    n, step, slope = len(found.place), 1e-5, torch.func.grad(network.cost)
    assert slope(found.place).norm() < 1e-8
    eye = torch.eye(n, dtype=torch.float64)
    hessian = torch.stack([(slope(found.place + step * e) - slope(found.place - step * e)) / (2 * step) for e in eye])
    torch.testing.assert_close(found.curvatures, torch.linalg.eigvalsh((hessian + hessian.T) / 2), rtol=1e-4, atol=1e-7)


def test_plain_descent_comes_to_the_same_minimum() -> None:
    network, drawn = small(), torch.Generator().manual_seed(4)
    found = downhill(network.cost, network.beginning(3, drawn))
    assert found is not None
    theta = (found.place + 0.05 * torch.randn(34, generator=drawn, dtype=torch.float64)).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [theta], max_iter=2000, tolerance_grad=1e-10, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        cost = network.cost(theta)
        cost.backward()
        return cost

    optimizer.step(closure)
    assert network.cost(theta).item() == pytest.approx(found.cost, abs=1e-8)
