"""Where to draw the nodes of a directed graph without cycles, so that it can be read from left to right.

The layered way of Sugiyama, Tagawa and Toda, "Methods for Visual Understanding of Hierarchical System Structures" (IEEE
SMC, 1981), which Graphviz goes too:

1. every node gets a column, so that all arrows point to the right; an arrow gets a waypoint in each column it passes;
2. nodes are sorted within their columns so that few arrows cross: each goes near the middle of its neighbours in the
   next column, back and forth over the columns, and the best order seen is kept;
3. each node is moved as near to the height of its neighbours as the order and the room between nodes allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

Point = tuple[float, float]
Link = tuple[int, int]
SWEEPS, SETTLING = 12, 100
"""Times over the columns to find an order, and to settle the heights."""


@dataclass(frozen=True)
class Layout:
    """Where everything lies, in the unit of the sizes that were given; y grows downwards.

    Attributes:
        corners: the upper left corner of each node.
        routes: for each arrow the points it goes through, from the right edge of a node to the left one of another.
        width: of the whole.
        height: of the whole.
    """

    corners: list[Point]
    routes: list[list[Point]]
    width: float
    height: float


def layered(sizes: Sequence[Point], arrows: Sequence[Link], gap_x: float = 46, gap_y: float = 16) -> Layout:
    """Lay out nodes of these sizes (width, height), numbered in an order in which every arrow points to a later one."""
    column = _columns(len(sizes), arrows)
    paths, heights = _with_waypoints(column, [height for _, height in sizes], arrows)
    links = [link for path in paths for link in pairwise(path)]
    order = _ordered(column, links)
    middles = _heights(order, heights, links, gap_y)
    top = min(y - h / 2 for y, h in zip(middles, heights, strict=True))
    middles = [y - top for y in middles]

    widths = [max((sizes[node][0] for node in nodes if node < len(sizes)), default=0.0) for nodes in order]
    lefts, x = list[float](), 0.0
    for width in widths:
        lefts.append(x)
        x += width + gap_x

    def edges(node: int) -> tuple[float, float]:
        """Left and right of a node, centred in its column; a waypoint is as wide as its column."""
        left, room = lefts[column[node]], widths[column[node]]
        width = sizes[node][0] if node < len(sizes) else room
        return left + (room - width) / 2, left + (room + width) / 2

    corners = [(edges(node)[0], middles[node] - height / 2) for node, (_, height) in enumerate(sizes)]
    routes = [
        [(edges(node)[side], middles[node]) for node in path for side in (0, 1)][1:-1] for path in paths
    ]  # without the left edge of the first node and the right edge of the last
    return Layout(corners, routes, x - gap_x, max(y + h / 2 for y, h in zip(middles, heights, strict=True)))


def _columns(n: int, arrows: Sequence[Link]) -> list[int]:
    """Each node as far right as the nodes that it points to allow, and those that point nowhere in the last column."""
    from_right = [0] * n
    for start, end in sorted(arrows, reverse=True):
        # By falling start, so that every arrow out of `end` has been seen before.
        from_right[start] = max(from_right[start], from_right[end] + 1)
    last = max(from_right)
    return [last - distance for distance in from_right]


def _with_waypoints(
    column: list[int], heights: list[float], arrows: Sequence[Link]
) -> tuple[list[list[int]], list[float]]:
    """The nodes and waypoints each arrow passes, and the heights of all; `column` gets the waypoints' columns."""
    paths, heights = list[list[int]](), list(heights)
    for start, end in arrows:
        between = range(column[start] + 1, column[end])
        waypoints = list(range(len(column), len(column) + len(between)))
        column += between
        heights += [0.0] * len(waypoints)
        paths.append([start, *waypoints, end])
    return paths, heights


def _ordered(column: Sequence[int], links: Sequence[Link]) -> list[list[int]]:
    """The nodes of each column from top to bottom."""
    order = [[node for node in range(len(column)) if column[node] == c] for c in range(max(column) + 1)]
    best, fewest = order, _crossings(order, links)
    for sweep in range(SWEEPS):
        rightwards = sweep % 2 == 0
        order = [list(nodes) for nodes in order]
        for c in range(1, len(order)) if rightwards else range(len(order) - 2, -1, -1):
            place = {node: i for i, node in enumerate(order[c - 1 if rightwards else c + 1])}
            middle = {
                node: fmean([place[other] for other in _neighbours(node, links) if other in place] or [i])
                for i, node in enumerate(order[c])
            }
            order[c].sort(key=middle.__getitem__)
        crossings = _crossings(order, links)
        if crossings < fewest:
            best, fewest = order, crossings
    return best


def _crossings(order: Sequence[Sequence[int]], links: Sequence[Link]) -> int:
    place = {node: (c, i) for c, nodes in enumerate(order) for i, node in enumerate(nodes)}
    total = 0
    for i, (a, b) in enumerate(links):
        for c, d in links[:i]:
            if place[a][0] == place[c][0]:
                total += (place[a][1] - place[c][1]) * (place[b][1] - place[d][1]) < 0
    return total


def _heights(
    order: Sequence[Sequence[int]], heights: Sequence[float], links: Sequence[Link], gap: float
) -> list[float]:
    """The height of every node's middle."""
    middles = [0.0] * len(heights)
    for nodes in order:
        for node, y in zip(nodes, _apart([0.0] * len(nodes), [heights[node] for node in nodes], gap), strict=True):
            middles[node] = y
    for sweep in range(SETTLING):
        for nodes in order if sweep % 2 == 0 else reversed(order):
            near = [[middles[other] for other in _neighbours(node, links)] or [middles[node]] for node in nodes]
            apart = _apart([fmean(places) for places in near], [heights[node] for node in nodes], gap)
            for node, y in zip(nodes, apart, strict=True):
                middles[node] = y
    return middles


def _apart(wanted: Sequence[float], heights: Sequence[float], gap: float) -> list[float]:
    """Middles as near to those wanted as can be (least squares), in their order and with room between.

    With what lies above each node taken off, the heights need only not fall: isotonic regression. Neighbours that would
    fall become one block at their mean, until none do.
    """
    offsets = [0.0]
    for above, below in pairwise(heights):
        offsets.append(offsets[-1] + (above + below) / 2 + gap)
    blocks = list[tuple[float, int]]()  # mean, and how many
    for want, offset in zip(wanted, offsets, strict=True):
        mean, n = want - offset, 1
        while blocks and blocks[-1][0] > mean:
            before, m = blocks.pop()
            mean, n = (before * m + mean * n) / (m + n), m + n
        blocks.append((mean, n))
    levels = [mean for mean, n in blocks for _ in range(n)]
    return [level + offset for level, offset in zip(levels, offsets, strict=True)]


def _neighbours(node: int, links: Sequence[Link]) -> list[int]:
    """Those before it and after it."""
    return [a for a, b in links if b == node] + [b for a, b in links if a == node]
