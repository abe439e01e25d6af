"""Plates: matrices as heat maps, images side by side, bars and scattered points, as SVG.

One scale for signed values, from blue through paper to red, and one of a single hue for shares, everywhere the same
(`pixels`).
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cutaway.evals.markup import style
from cutaway.evals.numbers import plain, short, ticks
from cutaway.evals.pixels import Scale, cells, largest

_LABEL = 6.6
"""Width of a letter of a label, in CSS pixels: only an estimate is to be had without a browser."""
_HEAD = 22.0
_SLANT = math.sqrt(0.5)
_MARGIN = 12
_LEGEND = 64.0


def svg_file(drawn: str) -> str:
    """A drawing as a file of its own: on a page it takes its colours from the page's style, here it brings them.

    Round it is a margin of paper, into which text may reach where it is wider than was foreseen.
    """
    x, y, width, height = _view(drawn)
    x, y, width, height = x - _MARGIN, y - _MARGIN, width + 2 * _MARGIN, height + 2 * _MARGIN
    size = f'width="{width:g}" height="{height:g}"'
    opened = re.sub(r' style="max-width:[\d.]+px"', "", drawn, count=1)
    opened = re.sub(r'viewBox="[-\d. ]+"', f'viewBox="{x:g} {y:g} {width:g} {height:g}"', opened, count=1)
    opened = opened.replace("<svg ", f'<svg xmlns="http://www.w3.org/2000/svg" {size} ', 1)
    paper = f'<style>{_style_of_drawings()}</style><rect x="{x:g}" y="{y:g}" {size} style="fill:var(--paper)"/>'
    return opened.replace("</title>", f"</title>{paper}", 1)


def _style_of_drawings() -> str:
    """Of the pages' style the colours, light and dark, and what concerns drawings."""
    kept = r"^:root \{.*?^\}|^@media \(prefers-color-scheme: dark\) \{.*?^\}|^svg [^\n]*"
    return "\n".join(re.findall(kept, style(), re.MULTILINE | re.DOTALL))


def side_by_side(drawings: Sequence[str], title: str, *, across: int = 2) -> str:
    """Several drawings as one, `across` in a row."""
    gap, y, widest = 28.0, _HEAD + 6, 0.0
    parts: list[str] = []
    for start in range(0, len(drawings), across):
        x, tallest = 0.0, 0.0
        for drawn in drawings[start : start + across]:
            opening, _, inside = drawn.partition(">")
            left, top, width, height = _view(opening)
            # Not as an <svg> in the <svg>, whose size the page's style would change.
            moved = f"translate({x - left:.1f} {y - top:.1f})"
            parts.append(f'<g transform="{moved}">{inside.removesuffix("</svg>")}</g>')
            x, tallest = x + width + gap, max(tallest, height)
        widest, y = max(widest, x - gap), y + tallest + gap
    return _svg(title, widest, y - gap, parts)


def _view(drawn: str) -> tuple[float, float, float, float]:
    """A drawing's own left, top, width and height."""
    box = re.search(r'viewBox="([-\d. ]+)"', drawn)
    assert box is not None, "a drawing says how large it is"
    left, top, width, height = map(float, box.group(1).split())
    return left, top, width, height


def heatmap(
    values: ArrayLike,
    title: str,
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    scale: Scale = "signed",
    limit: float | None = None,
    numbers: bool = False,
    cell: float = 18,
    x_title: str = "",
    y_title: str = "",
) -> str:
    """A matrix `[row, column]` as coloured cells, `cell` CSS pixels wide and high, and what the colours mean below it.

    Signed values are scaled by their largest magnitude, shares by 1 and inks by their largest value, unless there is
    a `limit`. With `numbers` each cell's value stands in it instead, and cells are as wide as that needs. Values that
    are not finite are grey. Where cells are too small for all names, only every second, third ... is written.
    """
    matrix = np.atleast_2d(np.asarray(values, float))
    n_rows, n_columns = matrix.shape
    written = _figures(matrix) if numbers else []
    wide = max([cell, *(5.8 * len(figure) + 6 for line in written for figure in line)])
    high = max(cell, 17.0) if numbers else cell
    slanted = any(_width(name) > wide - 2 for name in columns)
    left = max(map(_width, rows), default=0.0) + (8 if rows else 0) + (18 if y_title else 0)
    if slanted:
        # A slanted name ends below its cell and begins to the left of it, the first one's outside of the matrix.
        left = max([left, *(_SLANT * _width(name) - j * wide for j, name in enumerate(columns))])
    width, height = left + n_columns * wide, n_rows * high
    bottom = _HEAD + height
    parts = [cells(matrix, scale, limit, left, _HEAD, width - left, height)]
    every = math.ceil(12 / high)
    for i, name in enumerate(rows):
        if i % every == 0:
            parts.append(_text(left - 6, _HEAD + (i + 0.5) * high + 4, name, "end", "tick"))
    every = math.ceil(15 / wide) if slanted else 1
    for j, name in enumerate(columns):
        if j % every == 0:
            x, y = left + (j + 0.5) * wide + (3 if slanted else 0), bottom + (11 if slanted else 14)
            turn = f' transform="rotate(-45 {x:.1f} {y:.1f})"' if slanted else ""
            parts.append(_text(x, y, name, "end" if slanted else "middle", "tick", turn))
    top = limit or largest(matrix, scale)
    for i, line in enumerate(written):
        for j, figure in enumerate(line):
            if not figure:
                continue
            ink = "paper" if top and abs(matrix[i, j]) / top > 0.55 else "ink"
            x, y = left + (j + 0.5) * wide, _HEAD + (i + 0.5) * high + 4
            parts.append(_text(x, y, figure, "middle", "cell", f' style="fill:var(--{ink})"'))
    if y_title:
        x, y = 11.0, _HEAD + height / 2
        parts.append(_text(x, y, y_title, "middle", "axis-title", f' transform="rotate(-90 {x} {y:.1f})"'))
    if columns:
        bottom += _SLANT * max(map(_width, columns)) + 12 if slanted else 18
    if x_title:
        bottom += 16
        parts.append(_text(max(width, _width(x_title)), bottom - 3, x_title, "end", "axis-title"))
    if not numbers:
        legend, legend_width = _legend(scale, top, left, bottom + 8)
        parts.append(legend)
        width, bottom = max(width, left + legend_width), bottom + 20
    return _svg(title, width, bottom + 4, parts)


def images(
    pictures: Sequence[ArrayLike],
    title: str,
    *,
    names: Sequence[str] = (),
    across: int = 8,
    scale: Scale = "ink",
    limit: float | None = None,
    size: float = 64,
) -> str:
    """Pictures `[row, column]` beside each other, each `size` CSS pixels wide, with its name below it. Each has a scale
    of its own unless there is a `limit`.
    """
    matrices = [np.atleast_2d(np.asarray(picture, float)) for picture in pictures]
    heights = [size * len(matrix) / max(1, matrix.shape[1]) for matrix in matrices]
    caption = 20.0 if names else 0.0
    # So far apart that no name reaches into the next.
    step, gap = max([size + 10.0, *(_width(name) + 16 for name in names)]), 10.0
    edge = (step - size - gap) / 2
    parts, y = list[str](), _HEAD
    for start in range(0, len(matrices), across):
        line = range(start, min(start + across, len(matrices)))
        tall = max(heights[i] for i in line)
        for place, i in enumerate(line):
            x = edge + place * step
            parts.append(cells(matrices[i], scale, limit, x, y, size, heights[i]))
            if i < len(names):
                parts.append(_text(x + size / 2, y + tall + 14, names[i], "middle", "tick"))
        y += tall + caption + gap
    width = min(across, len(matrices)) * step - gap
    if limit is not None and matrices:
        legend, legend_width = _legend(scale, limit, edge, y)
        parts.append(legend)
        width, y = max(width, edge + legend_width), y + 24
    return _svg(title, width, y - gap + 4, parts)


def bars(values: Mapping[str, float], title: str, *, unit: str = "", spread: Mapping[str, float] | None = None) -> str:
    """A horizontal bar for each value, its figure after it, with `spread` a whisker of that much to both sides.

    Where any value is below nought, bars go both ways, blue below and red above. A value that is not finite has no
    bar.
    """
    head, line, full = 24.0, 24.0, 360.0
    reach = {name: (spread or {}).get(name, 0.0) for name in values}
    shown = {name: value for name, value in values.items() if math.isfinite(value)}
    both_ways = any(value < 0 for value in shown.values())
    low = min([0.0, *(value - reach[name] for name, value in shown.items() if both_ways)])
    high = max([0.0, *(value + reach[name] for name, value in shown.items())])
    extent = (high - low) or 1.0

    def length(value: float) -> float:
        return full * (value / extent)

    figures = {name: f"{plain(value)}{unit}" if name in shown else "—" for name, value in values.items()}
    figures = {name: f"{told} ± {plain(reach[name])}" if reach[name] else told for name, told in figures.items()}
    room = max(map(_width, figures.values()), default=0.0) * 1.1 + 12
    # On both sides of bars that go both ways there is a figure.
    nought = max(map(_width, values), default=0.0) + 12 + (room if both_ways else 0.0) - length(low)
    parts: list[str] = []
    for i, (name, told) in enumerate(figures.items()):
        y, long = head + i * line, length(shown.get(name, 0.0))
        whisker = length(reach[name]) if name in shown else 0.0
        parts.append(_text(nought + length(low) - (room if both_ways else 0.0) - 8, y + 15, name, "end", "tick"))
        ink = "b" if long < 0 or not both_ways else "c"
        start, end = nought + min(0.0, long), nought + max(0.0, long)
        if name in shown:
            box = f'x="{start:.1f}" y="{y + 4:.1f}" width="{max(1.0, end - start):.1f}" height="13"'
            parts.append(f'<rect class="dot-{ink}" {box}/>')
        if whisker:
            a, b = max(nought + length(low), nought + long - whisker), nought + long + whisker
            box = f'x1="{a:.1f}" x2="{b:.1f}" y1="{y + 10.5:.1f}" y2="{y + 10.5:.1f}"'
            # On a rim of paper, to be seen on the bar too.
            parts.append(f'<line {box} style="stroke:var(--paper);stroke-width:3.5"/><line class="axis" {box}/>')
        if long < 0:
            parts.append(_text(nought + long - whisker - 8, y + 15, told, "end", "name"))
        else:
            parts.append(_text(nought + long + whisker + 8, y + 15, told, "start", "name"))
    if both_ways:
        y = head + line * len(values)
        parts.append(f'<line class="axis" x1="{nought:.1f}" x2="{nought:.1f}" y1="{head}" y2="{y}"/>')
    return _svg(title, nought + length(high) + room, head + line * len(values) + 6, parts)


def scatter(
    points: Mapping[str, tuple[float, float]],
    title: str,
    *,
    x_title: str = "",
    y_title: str = "",
    arrows: Sequence[tuple[str, str]] = (),
    marked: Sequence[str] = (),
    width: float = 640,
    height: float = 420,
) -> str:
    """Named points, each with its name where it hides no other as far as there is room; arrows from one name to
    another; `marked` in the accent colour. Points that are not finite are left out, and arrows from or to them.
    """
    head, left, bottom, right = 42.0 if y_title else 28.0, 46.0, height - 40, width - 8
    shown = {name: (x, y) for name, (x, y) in points.items() if math.isfinite(x) and math.isfinite(y)}
    (x0, x1), (y0, y1) = _room([x for x, _ in shown.values()]), _room([y for _, y in shown.values()])

    def at(point: tuple[float, float]) -> tuple[float, float]:
        x, y = point
        return left + (x - x0) / (x1 - x0) * (right - left), bottom - (y - y0) / (y1 - y0) * (bottom - head)

    parts: list[str] = []
    for value in ticks(y0, y1, 5):
        y = at((x0, value))[1]
        parts.append(f'<line class="grid" x1="{left}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(left - 8, y + 4, plain(value), "end", "tick"))
    parts.append(f'<line class="axis" x1="{left}" x2="{right:.1f}" y1="{bottom + 5:.1f}" y2="{bottom + 5:.1f}"/>')
    for value in ticks(x0, x1, 6):
        x = at((value, y0))[0]
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom + 5:.1f}" y2="{bottom + 9:.1f}"/>')
        parts.append(_text(x, bottom + 21, short(value), "middle", "tick"))
    places = {name: at(point) for name, point in shown.items()}
    parts += [_arrow(places[a], places[b]) for a, b in arrows if a in places and b in places]
    labels = _labels(places, (left, head, width, bottom))
    for name, (x, y) in places.items():
        ink = "c" if name in marked else "b"
        parts.append(f'<circle class="dot-{ink}" cx="{x:.1f}" cy="{y:.1f}" r="2.8"/>')
        label_x, label_y = labels[name]
        # A rim of paper keeps a name legible across a line.
        rim = ' style="paint-order:stroke;stroke:var(--paper);stroke-width:3px"'
        parts.append(_text(label_x, label_y, name, "start", f"name name-{ink}", rim))
    parts.append(_text(right, bottom + 36, x_title, "end", "axis-title"))
    if y_title:
        parts.append(_text(0, head - 12, y_title, "start", "axis-title"))
    return _svg(title, width, height, parts)


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x, y), (to_x, to_y) = start, end
    long = math.hypot(to_x - x, to_y - y)
    if long < 1:
        return ""
    # It ends at the rim of the point, with a head of two strokes.
    a, b = (to_x - x) / long, (to_y - y) / long
    x, y, to_x, to_y = x + 4 * a, y + 4 * b, to_x - 5 * a, to_y - 5 * b
    sides = "".join(
        f"M{to_x - 7 * a + side * 3 * b:.1f} {to_y - 7 * b - side * 3 * a:.1f}L{to_x:.1f} {to_y:.1f}"
        for side in (1, -1)
    )
    return f'<path class="line line-soft" style="stroke-width:1.1" d="M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}{sides}"/>'


def _labels(
    places: Mapping[str, tuple[float, float]], frame: tuple[float, float, float, float]
) -> dict[str, tuple[float, float]]:
    """Where each name begins: of a few places round its point the one where it covers least of other names and points
    and of what lies outside the frame (left, top, right, bottom); right of the point, if that is as good.
    """
    left, top, right, bottom = frame
    taken = [(x - 3, y - 3, x + 3, y + 3) for x, y in places.values()]
    found: dict[str, tuple[float, float]] = {}
    for name, (x, y) in places.items():
        wide = 1.08 * _width(name)
        choices = [(x + 6, y + 4), (x - 6 - wide, y + 4), (x - wide / 2, y - 7), (x - wide / 2, y + 15)]
        choices += [(x + 5, y - 5), (x + 5, y + 13), (x - 5 - wide, y - 5), (x - 5 - wide, y + 13)]
        costs: list[float] = []
        for a, b in choices:
            box = (a, b - 10, a + wide, b + 2)
            # Its own point lies beside every choice.
            covered = sum(_overlap(box, other) for other in taken)
            outside = (
                max(0.0, left - a) + max(0.0, a + wide - right) + max(0.0, top - b + 10) + max(0.0, b + 2 - bottom)
            )
            costs.append(covered + 20 * outside)
        best = costs.index(min(costs))
        a, b = found[name] = choices[best]
        taken.append((a, b - 10, a + wide, b + 2))
    return found


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> float:
    """The area that two boxes (left, top, right, bottom) share."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return wide * high if wide > 0 and high > 0 else 0.0


def _legend(scale: Scale, top: float, x: float, y: float) -> tuple[str, float]:
    """What the colours mean, as a short strip between the values of its ends, and how wide that is."""
    low, high = plain(-top if scale == "signed" else 0.0), plain(top)
    start = x + _width(low) + 4
    end = start + _LEGEND + 5
    ramp = np.linspace(-1.0 if scale == "signed" else 0.0, 1.0, 33)[None]
    parts = [_text(x, y + 8, low, "start", "tick"), cells(ramp, scale, 1.0, start, y, _LEGEND, 8)]
    parts.append(_text(end, y + 8, high, "start", "tick"))
    return "".join(parts), end + _width(high) - x


def _figures(matrix: NDArray[np.float64]) -> list[list[str]]:
    """Each cell's value as it stands there: counts whole, others to two places."""
    finite = matrix[np.isfinite(matrix)]
    whole = bool((finite == np.rint(finite)).all())
    return [
        [
            "" if not math.isfinite(v) else f"{v:.0f}" if whole else f"{v:.2f}" if abs(v) < 100 else plain(v)
            for v in line
        ]
        for line in matrix.tolist()
    ]


def _room(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values, default=0.0), max(values, default=0.0)
    room = 0.05 * (high - low) or 1.0
    return low - room, high + room


def _width(text: str) -> float:
    """About how wide a label is, in CSS pixels; ideographs are twice as wide as letters."""
    return _LABEL * sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _svg(title: str, width: float, height: float, parts: Sequence[str]) -> str:
    title = _printable(title)
    width = max(width, 1.1 * _width(title) + 8)
    kind = "chart wide" if width > 500 else "chart"
    box = f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(title)}"'
    caption = _text(0, 12, title, "start", "caption")
    # As wide as drawn, where there is room for it.
    return (
        f'<svg class="{kind}" {box} style="max-width:{width:.0f}px"><title>{escape(title)}</title>{caption}'
        f"{''.join(parts)}</svg>"
    )


def _text(x: float, y: float, text: str, anchor: str, kind: str, more: str = "") -> str:
    shown = escape(_printable(text))
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{shown}</text>'


def _printable(text: str) -> str:
    """XML has no control characters, not even escaped ones."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
