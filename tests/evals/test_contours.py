"""Contour lines lie where the surface has their height."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.evals.contours import Surface, contour, plane
from cutaway.evals.plates import svg_file


def over(xs: np.ndarray, ys: np.ndarray, heights: np.ndarray, levels: tuple[float, ...] = ()) -> Surface:
    return Surface(xs.tolist(), ys.tolist(), heights, levels)


def test_circles_of_a_bowl() -> None:
    xs, ys = np.linspace(-2, 2, 81), np.linspace(-2, 2, 61)
    pieces = contour(over(xs, ys, xs[None] ** 2 + ys[:, None] ** 2), 1.5)
    radius = np.linalg.norm(pieces, axis=2)
    np.testing.assert_allclose(radius, 1.5**0.5, atol=2e-3)
    length = np.linalg.norm(pieces[:, 0] - pieces[:, 1], axis=1).sum()
    assert length == pytest.approx(2 * np.pi * 1.5**0.5, rel=1e-3)


def test_a_line_has_no_gaps() -> None:
    """Every end of a piece is the end of another one, or lies on the edge."""
    xs = ys = np.linspace(-3, 3, 25)
    heights = np.sin(2 * xs)[None] * np.cos(1.7 * ys)[:, None]
    ends, count = np.unique(contour(over(xs, ys, heights), 0.21).reshape(-1, 2).round(9), axis=0, return_counts=True)
    inside = (np.abs(ends) < 3 - 1e-9).all(axis=1)
    assert inside.sum() > 50
    assert set(count[inside]) == {2}


grids = st.integers(2, 6).flatmap(
    lambda rows: st.lists(
        st.lists(st.floats(-5, 5) | st.just(float("nan")), min_size=4, max_size=4), min_size=rows, max_size=rows
    )
)


@given(grids, st.floats(-5, 5))
def test_any_surface_is_crossed_at_the_level(rows: list[list[float]], level: float) -> None:
    heights = np.array(rows)
    xs, ys = np.arange(4.0), np.arange(float(len(rows)))
    for a, b in contour(over(xs, ys, heights), level):
        for x, y in (a, b):
            # Each end lies on a side of a cell or on its diagonal, between a lower and a higher corner.
            i, j = min(int(y), len(rows) - 2), min(int(x), 2)
            cell = heights[i : i + 2, j : j + 2]
            around = heights[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2]
            assert np.nanmin(around) <= level <= np.nanmax(around), cell


def test_a_map_is_drawn_inside_its_frame() -> None:
    xs, ys = np.linspace(-1, 1, 9), np.linspace(-1, 1, 9)
    surface = over(xs, ys, xs[None] ** 2 + ys[:, None] ** 2 + 0.1, (0.2, 0.5, 1.0, 9.0))
    drawn = plane(
        "a < b",
        surface=surface,
        path=[(0.9, 0.5), (0.3, 0.2), (0, 0), (7, 7)],
        points={"minimum": [(0, 0)]},
        x_title="x & y",
    )
    ElementTree.fromstring(svg_file(drawn))
    paths = re.findall(r'<path class="([^"]+)"[^>]* d="([^"]+)"', drawn)
    # Three of the levels are reached; the path has three points that lie on the map.
    assert [kind for kind, _ in paths] == ["line line-soft"] * 3 + ["line line-c"]
    for _, d in paths:
        for x, y in re.findall(r"([\d.-]+) ([\d.-]+)", d):
            assert 0 <= float(x) <= 600
            assert 0 <= float(y) <= 440
    assert drawn.count('class="dot-c"') == 2
    assert drawn.count('class="dot-b"') == 1


@pytest.mark.parametrize("points", [{}, {"one": [(0.5, 2.0)]}, {"a": [(0, 0), (1, 5)], "b": [(2, 3)]}])
def test_points_without_a_surface(points: dict[str, list[tuple[float, float]]]) -> None:
    drawn = plane("points", points=points)
    ElementTree.fromstring(drawn)
    assert "nan" not in drawn
    assert drawn.count("<circle") == sum(map(len, points.values()))
