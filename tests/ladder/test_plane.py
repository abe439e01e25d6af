"""Small networks on a plane."""

from __future__ import annotations

import numpy as np
import pytest

from cutaway.ladder.plane import SIDE, TASKS, examples, learn, over_the_plane


@pytest.mark.parametrize("task", TASKS)
def test_a_hidden_layer_learns_every_task(task: str) -> None:
    assert max(learn(task, [6], "tanh", seed)[-1].accuracy for seed in (1, 2)) > 0.93


def test_layers_without_a_bend_are_one_line() -> None:
    network = learn("corners", [4, 4], "none", 1)[-1].network
    *_, said = over_the_plane(network)
    # The sums of the last layer differ by a plane, whose second differences are nought.
    sums = np.log(said[1]) - np.log(said[0])
    assert np.abs(np.diff(sums, 2, axis=0)).max() < 1e-9
    assert np.abs(np.diff(sums, 2, axis=1)).max() < 1e-9


def test_a_map_shows_the_plane_with_x2_upwards() -> None:
    network = learn("sides", [], "tanh", 1)[-1].network
    (maps,) = over_the_plane(network)
    corners = network.forward(np.array([[-1.0, 1.0], [1.0, -1.0]]))[-1]
    assert np.allclose(maps[:, 0, 0], corners[0])
    assert np.allclose(maps[:, SIDE - 1, SIDE - 1], corners[1])


def test_what_is_kept_says_what_the_network_does() -> None:
    x, y = examples("ring", 3)
    for seen in learn("ring", [4], "tanh", 3)[::4]:
        said = seen.network.forward(x)[-1]
        assert seen.accuracy == (said.argmax(axis=1) == y).mean()
        assert seen.cost == pytest.approx(-np.log(said[np.arange(len(y)), y]).mean())
