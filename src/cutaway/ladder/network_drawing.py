"""A network as circles and lines: a circle for each neuron, a line for each weight.

The other picture of the same net as the computation graph: there a whole layer is one node, here every weight is to be
seen, and nothing of how it is worked out. Only for small nets.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
ACROSS, DOWN, RADIUS, HEAD = 150.0, 48.0, 19.0, 36.0
"""Between columns, between neurons, of a circle, and above all of it, in CSS pixels."""
THICKEST = 6.0


def network_svg(
    lines: Sequence[Array],
    activations: Sequence[Array],
    title: str,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
) -> str:
    """The net as one `<svg>` element.

    Args:
        lines: what the lines show, a matrix `[out, in]` a layer: the weights, or how each is to be changed. A line is
            as thick as its number is large among all of these; orange is positive, blue is negative.
        activations: of the input and each layer, `[size]`: the darker a circle the larger its number.
        title: what stands above.
        inputs: names to the left of the inputs.
        outputs: names to the right of the outputs.
    """
    left = 12 + 6.6 * max(map(len, inputs), default=0) + RADIUS
    tallest = max(map(len, activations))

    def at(layer: int, neuron: int) -> tuple[float, float]:
        above = (tallest - len(activations[layer])) / 2
        return left + layer * ACROSS, HEAD + RADIUS + (neuron + above) * DOWN

    largest = max((float(np.abs(matrix).max()) for matrix in lines), default=0.0) or 1.0
    brightest = max(float(np.abs(values).max()) for values in activations) or 1.0
    parts: list[str] = []
    for layer, matrix in enumerate(lines):
        for (j, i), value in np.ndenumerate(matrix):
            (x0, y0), (x1, y1) = at(layer, i), at(layer + 1, j)
            ink = "c" if value > 0 else "b"
            place = f'x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"'
            thick = f"stroke-width:{THICKEST * abs(value) / largest:.2f};opacity:.8"
            parts.append(f'<line class="line-{ink}" {place} style="{thick}"><title>{value:.4g}</title></line>')
    for layer, values in enumerate(activations):
        for neuron, value in enumerate(values):
            x, y = at(layer, neuron)
            dark = max(0.0, float(value) / brightest)
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS}" style="fill:var(--paper);stroke:var(--ink)"/>'
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS}" style="fill:var(--ink);opacity:{0.45 * dark:.3f}"/>'
                f'<text class="cell" x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle" style="fill:var(--ink)">'
                f"{f'{value:.2f}'.replace('-', '−')}</text>"
            )
    last = len(activations) - 1
    for i, name in enumerate(inputs):
        x, y = at(0, i)
        place = f'x="{x - RADIUS - 6:.1f}" y="{y + 4:.1f}" text-anchor="end"'
        parts.append(f'<text class="tick" {place}>{escape(name)}</text>')
    for i, name in enumerate(outputs):
        x, y = at(last, i)
        parts.append(f'<text class="name" x="{x + RADIUS + 6:.1f}" y="{y + 4:.1f}">{escape(name)}</text>')
    width = max(left + last * ACROSS + RADIUS + 12 + 7 * max(map(len, outputs), default=0), 6.8 * len(title))
    height = HEAD + 2 * RADIUS + (tallest - 1) * DOWN + 4
    kind = "chart wide" if width > 500 else "chart"
    return (
        f'<svg class="{kind}" viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(title)}" '
        f'style="max-width:{width:.0f}px"><title>{escape(title)}</title>'
        f'<text class="caption" x="0" y="12">{escape(title)}</text>{"".join(parts)}</svg>'
    )
