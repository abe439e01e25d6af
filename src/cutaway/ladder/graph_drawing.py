"""The graph that `autograd` recorded, drawn: each node with its value and, below, its gradient.

Values flow from the top down, gradients from the bottom up. As text for Graphviz (`dot -Tsvg graph.dot`) and, for
whoever has no Graphviz, as SVG.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise

import numpy as np

from cutaway.ladder.autograd import Array, Tensor
from cutaway.ladder.graph_layout import Point, layered

MOST = 12
"""Of more numbers than these a node tells only the shape and the size."""
LETTER, LINE, ROOM = 6.8, 15.0, 8.0
"""Width of a letter, height of a line, and what is left free around them, in CSS pixels."""
HEAD, BETWEEN_ROWS, BETWEEN_NODES = 26.0, 24.0, 20.0


def dot(result: Tensor) -> str:
    """The graph of all that `result` came from, in Graphviz's language."""
    nodes = result.graph()
    number = {id(node): i for i, node in enumerate(nodes)}
    lines = ["digraph {", "  node [shape=record];"]
    for i, node in enumerate(nodes):
        parts = [[_title(node)], _written(node.data), [f"∂ {row}" for row in _written(node.gradient)]]
        label = "|".join("\\n".join(map(_for_record, part)) for part in parts)
        lines.append(f'  n{i} [label="{{{label}}}"];')
    lines += [f"  n{number[id(parent)]} -> n{i};" for i, node in enumerate(nodes) for parent in node.parents]
    return "\n".join([*lines, "}"]) + "\n"


def graph_svg(result: Tensor, title: str) -> str:
    """The same as one `<svg>` element: values in ink, gradients below them in the accent colour."""
    nodes = result.graph()
    number = {id(node): i for i, node in enumerate(nodes)}
    arrows = [(number[id(parent)], i) for i, node in enumerate(nodes) for parent in node.parents]
    # Laid out from left to right as if all boxes lay on their sides, and then turned.
    turned = layered([(height, width) for width, height in map(_size, nodes)], arrows, BETWEEN_ROWS, BETWEEN_NODES)
    parts = [_arrow([(x, y + HEAD) for y, x in route]) for route in turned.routes]
    parts += [_box(node, (x, y + HEAD)) for node, (y, x) in zip(nodes, turned.corners, strict=True)]
    width, height = max(turned.height + 2, 6.8 * len(title)), turned.width + HEAD + 2
    kind = "chart wide" if width > 500 else "chart"
    return (
        f'<svg class="{kind}" viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(title)}" '
        f'style="max-width:{width:.0f}px"><title>{escape(title)}</title>'
        f'<text class="caption" x="0" y="12">{escape(title)}</text>{"".join(parts)}</svg>'
    )


def _title(node: Tensor) -> str:
    """Name and operation, as there are: "hidden = sigmoid", "W1", "+"."""
    return " = ".join(part for part in (node.name, node.operation) if part) or "constant"


def _written(values: Array) -> list[str]:
    """A line for each row of a small array; of a larger one its shape and the root of its mean square."""
    if values.size > MOST or values.ndim > 2:
        return [f"{'×'.join(map(str, values.shape))}, rms {_number(float(np.sqrt(np.mean(values**2))))}"]
    return ["\N{EN SPACE}".join(map(_number, row)) for row in np.atleast_2d(values).tolist()]


def _number(value: float) -> str:
    told = f"{value:.3f}" if value == 0 or 5e-4 <= abs(value) < 1e4 else f"{value:.0e}"
    return told.replace("-", "−")


def _for_record(text: str) -> str:
    """Text within a record's label, where these characters would divide or end it."""
    return "".join(f"\\{c}" if c in '\\{}|<>" ' else c for c in text)


def _size(node: Tensor) -> Point:
    """Width and height of a node's box."""
    lines = [_title(node), *_written(node.data), *_written(node.gradient)]
    return max(map(len, lines)) * LETTER + 2 * ROOM, len(lines) * LINE + ROOM


def _box(node: Tensor, corner: Point) -> str:
    """Sharp corners for an input or a parameter, round ones for what an operation gave."""
    (x, y), (width, height) = corner, _size(node)
    round_by, fill = (9, "paper") if node.parents else (1, "wash")
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    parts = [f'<rect {place} rx="{round_by}" style="fill:var(--{fill});stroke:var(--soft);stroke-width:.8"/>']
    lines = [("name", "ink", _title(node))]
    lines += [("tick", "ink", row) for row in _written(node.data)]
    lines += [("tick gradient", "c", row) for row in _written(node.gradient)]
    for i, (kind, ink, text) in enumerate(lines):
        parts.append(
            f'<text class="{kind}" x="{x + width / 2:.1f}" y="{y + ROOM / 2 + (i + 0.78) * LINE:.1f}" '
            f'text-anchor="middle" style="fill:var(--{ink})">{escape(text)}</text>'
        )
    return "".join(parts)


def _arrow(route: Sequence[Point]) -> str:
    """Upright where it leaves, passes a row, and arrives."""
    path = [f"M{route[0][0]:.1f} {route[0][1]:.1f}"]
    for (x0, y0), (x1, y1) in pairwise(route):
        middle = (y0 + y1) / 2
        path.append(f"C{x0:.1f} {middle:.1f} {x1:.1f} {middle:.1f} {x1:.1f} {y1:.1f}")
    x, y = route[-1]
    head = f'<path d="M{x:.1f} {y:.1f}l-3 -6h6z" style="fill:var(--soft)"/>'
    return f'<path class="line line-soft" style="stroke-width:1" d="{"".join(path)}"/>{head}'
