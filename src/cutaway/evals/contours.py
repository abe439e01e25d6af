"""A plane with a surface's contour lines on it, a path, and points: a map, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cutaway.evals.numbers import plain, ticks

Point = tuple[float, float]

_HEAD, _LEFT, _BELOW, _RIGHT = 40.0, 46.0, 38.0, 14.0
_INKS = ("b", "c", "a")


@dataclass(frozen=True)
class Surface:
    """Heights over a grid, and which of them are drawn as lines.

    Attributes:
        xs: `[columns]`, rising.
        ys: `[rows]`, rising.
        heights: `[row, column]`, one for each y and x.
        levels: the heights of the lines.
    """

    xs: Sequence[float]
    ys: Sequence[float]
    heights: ArrayLike
    levels: Sequence[float]


def contour(surface: Surface, level: float) -> NDArray[np.float64]:
    """Where the surface crosses a level, as straight pieces `[piece, end, x y]`.

    Each cell of the grid is cut into two triangles. Through three heights goes just one plane, and it crosses a level
    along one straight line or not at all, so that there are no cases to tell apart. Triangles with a height that is
    not finite are left out.
    """
    z = np.asarray(surface.heights, float)
    places = np.stack(np.meshgrid(surface.xs, surface.ys), axis=-1)  # [row, column, x y]
    first, second = slice(None, -1), slice(1, None)
    corners = [(first, first), (first, second), (second, first), (second, second)]  # of every cell
    halves = ((0, 1, 2), (3, 2, 1))
    heights = np.concatenate([np.stack([z[corners[i]].ravel() for i in half], axis=1) for half in halves])
    at = np.concatenate([np.stack([places[corners[i]].reshape(-1, 2) for i in half], axis=1) for half in halves])
    finite = np.isfinite(heights).all(axis=1)
    heights, at = heights[finite], at[finite]  # [triangle, corner], [triangle, corner, x y]
    next_height, next_at = np.roll(heights, -1, axis=1), np.roll(at, -1, axis=1)
    crossed = (heights > level) != (next_height > level)  # each side: from a corner to the next
    share = np.divide(level - heights, next_height - heights, out=np.zeros_like(heights), where=crossed)
    ends = at + share[..., None] * (next_at - at)
    return ends[crossed].reshape(-1, 2, 2)  # a triangle's sides are crossed twice or never, and lie next to each other


def plane(
    title: str,
    *,
    surface: Surface | None = None,
    path: Sequence[Point] = (),
    points: Mapping[str, Sequence[Point]] | None = None,
    x_title: str = "",
    y_title: str = "",
    width: float = 600,
    height: float = 440,
) -> str:
    """Contour lines with their heights, a path from its first point (hollow) to its last, and groups of points, each in
    an ink in which its name stands above. The plane is as large as the surface, or as the points where there is none.
    """
    groups = dict(points or {})
    everywhere = [*path, *(point for group in groups.values() for point in group)]
    if surface is not None:
        x_range, y_range = (surface.xs[0], surface.xs[-1]), (surface.ys[0], surface.ys[-1])
    else:
        x_range, y_range = _room([x for x, _ in everywhere]), _room([y for _, y in everywhere])
    frame = _Frame(x_range, y_range, width, height)
    parts = [*_axes(frame, x_title, y_title, grid=surface is None)]
    if surface is not None:
        parts += _contours(frame, surface)
    inside = [point for point in path if frame.holds(point)]
    if len(inside) > 1:
        parts += _path(frame, inside)
    x = 7.0 * len(y_title) + 24 if y_title else _LEFT
    for i, (name, group) in enumerate(groups.items()):
        ink = _INKS[i % len(_INKS)]
        parts.append(f'<text class="name name-{ink}" x="{x:.1f}" y="{_HEAD - 10}">{escape(name)}</text>')
        x += 7 * len(name) + 24
        dots = [frame.at(point) for point in group if frame.holds(point)]
        parts += [f'<circle class="dot-{ink}" cx="{a:.1f}" cy="{b:.1f}" r="3" opacity=".7"/>' for a, b in dots]
    box = f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(title)}"'
    return (
        f'<svg class="chart wide" {box} style="max-width:{width:.0f}px"><title>{escape(title)}</title>'
        f'<text class="caption" x="0" y="12">{escape(title)}</text>{"".join(parts)}</svg>'
    )


@dataclass(frozen=True)
class _Frame:
    """Where a place of the plane lands on the page."""

    x_range: Point
    y_range: Point
    width: float
    height: float

    @property
    def bottom(self) -> float:
        return self.height - _BELOW

    @property
    def right(self) -> float:
        return self.width - _RIGHT

    def at(self, point: Point) -> Point:
        (x0, x1), (y0, y1) = self.x_range, self.y_range
        x, y = (point[0] - x0) / (x1 - x0), (point[1] - y0) / (y1 - y0)
        return _LEFT + x * (self.right - _LEFT), self.bottom - y * (self.bottom - _HEAD)

    def holds(self, point: Point) -> bool:
        (x0, x1), (y0, y1) = self.x_range, self.y_range
        return x0 <= point[0] <= x1 and y0 <= point[1] <= y1


def _axes(frame: _Frame, x_title: str, y_title: str, *, grid: bool) -> list[str]:
    parts: list[str] = []
    for value in ticks(*frame.y_range, 5):
        y = frame.at((frame.x_range[0], value))[1]
        if grid:
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{frame.right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{plain(value)}</text>')
    for value in ticks(*frame.x_range, 6):
        x = frame.at((value, frame.y_range[0]))[0]
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{frame.bottom + 18}" text-anchor="middle">{plain(value)}</text>'
        )
    for text, x, y, anchor in ((x_title, frame.right, frame.height - 4, "end"), (y_title, 0, _HEAD - 10, "start")):
        if text:
            parts.append(f'<text class="axis-title" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>')
    return parts


def _contours(frame: _Frame, surface: Surface) -> list[str]:
    heights = np.asarray(surface.heights, float)
    row, column = np.unravel_index(np.nanargmin(heights), heights.shape)
    lowest = np.array(frame.at((surface.xs[int(column)], surface.ys[int(row)])))
    lines, labels, last = list[str](), list[str](), lowest
    for level in sorted(surface.levels):
        pieces = np.array([[frame.at((x, y)) for x, y in piece] for piece in contour(surface, level)])
        if not len(pieces):
            continue
        drawn = "".join(f"M{a:.1f} {b:.1f}L{c:.1f} {d:.1f}" for (a, b), (c, d) in pieces)
        lines.append(f'<path class="line line-soft" style="stroke-width:1;opacity:.7" d="{drawn}"/>')
        # Each height is written where its line meets the way up and right from the lowest place, as far as it does.
        away = pieces.mean(axis=1) - lowest
        place = pieces[np.argmin(np.abs(np.arctan2(-away[:, 1], away[:, 0]) - np.pi / 3))].mean(axis=0)
        if np.linalg.norm(place - last) > 18:
            last = place
            labels.append(
                f'<text class="tick" x="{place[0]:.1f}" y="{place[1] + 4:.1f}" text-anchor="middle" '
                f'style="paint-order:stroke;stroke:var(--paper);stroke-width:4px">{plain(level)}</text>'
            )
    return lines + labels


def _path(frame: _Frame, path: Sequence[Point]) -> list[str]:
    places = [frame.at(point) for point in path]
    drawn = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    dots = [f'<circle class="dot-c" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>' for x, y in places[1:]]
    (x, y) = places[0]
    return [
        f'<path class="line line-c" d="M{drawn}"/>',
        *dots,
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" style="fill:var(--paper);stroke:var(--c);stroke-width:1.7"/>',
    ]


def _room(values: Sequence[float]) -> Point:
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.05 * (high - low) or 1.0
    return low - room, high + room
