"""Plates: matrices as heat maps, images side by side, bars and scattered points, as SVG.

One scale for signed values, from blue through paper to orange, and one of a single hue for probabilities, everywhere
the same. Cells are drawn as one small PNG inside the SVG, however many there are.
"""

from __future__ import annotations

import base64
import math
import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cutaway.evals.markup import style
from cutaway.evals.numbers import plain, short, ticks

Scale = Literal["signed", "share", "ink"]
"""Signed values about nought; shares from 0 to 1; or grey levels from 0 (paper) to 1 (ink)."""

BLUE, PAPER, ORANGE, INK = (33, 88, 160), (251, 248, 241), (204, 91, 18), (30, 27, 22)
_LABEL = 6.6
"""Width of a letter of a label, in CSS pixels: only an estimate is to be had without a browser."""


def svg_file(drawn: str) -> str:
    """A drawing as a file of its own: on a page it takes its colours from the page's style, here it brings them."""
    opened = drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    view = re.search(r'viewBox="([-\d. ]+)"', opened)
    sheet = "" if view is None else _sheet(view.group(1))
    return opened.replace("</title>", f"</title><style>{style()}</style>{sheet}", 1)


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
    """A matrix `[row, column]` as coloured cells.

    Signed values are scaled by their largest magnitude, shares by 1 and inks by their largest value, unless there is
    a `limit`. With `numbers` each cell's value stands in it. Values that are not finite are left blank.
    """
    matrix = np.atleast_2d(np.asarray(values, float))
    n_rows, n_columns = matrix.shape
    left = _LABEL * max(map(len, rows), default=0) + (10 if rows else 0) + (18 if y_title else 0)
    slanted = any(len(name) * _LABEL > cell for name in columns)
    deepest = _LABEL * max(map(len, columns), default=0)
    head = 22.0
    below = (deepest * 0.75 + 14 if slanted else 16.0) if columns else 4.0
    width, height = left + n_columns * cell, n_rows * cell
    parts = [_image(_coloured(matrix, scale, limit), left, head, width - left, height)]
    for i, name in enumerate(rows):
        parts.append(_text(left - 6, head + (i + 0.5) * cell + 4, name, "end", "tick"))
    for j, name in enumerate(columns):
        x, y = left + (j + 0.5) * cell, head + height + 13
        turn = f' transform="rotate(-45 {x:.1f} {y:.1f})"' if slanted else ""
        parts.append(_text(x, y, name, "end" if slanted else "middle", "tick", turn))
    if numbers:
        top = limit or _largest(matrix, scale)
        for (i, j), value in np.ndenumerate(matrix):
            dark = abs(value) / top > 0.55 if top else False
            fill = ' style="fill:#fbf8f1"' if dark else ' style="fill:#1e1b16"'
            parts.append(
                _text(left + (j + 0.5) * cell, head + (i + 0.5) * cell + 4, f"{value:.2f}", "middle", "cell", fill)
            )
    if x_title:
        below += 14
        parts.append(_text(width, head + height + below - 2, x_title, "end", "axis-title"))
    if y_title:
        x, y = 12, head + height / 2
        parts.append(_text(x, y, y_title, "middle", "axis-title", f' transform="rotate(-90 {x} {y:.1f})"'))
    return _svg(title, max(width, _LABEL * len(title) + 8), head + height + below, parts)


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
    """Pictures `[row, column]` beside each other, each with its name below it. Each signed one has a scale of its own
    unless there is a `limit`.
    """
    gap, caption, head = 10.0, 16.0 if names else 0.0, 22.0
    parts: list[str] = []
    for i, picture in enumerate(pictures):
        x, y = (i % across) * (size + gap), head + (i // across) * (size + gap + caption)
        parts.append(_image(_coloured(np.asarray(picture, float), scale, limit), x, y, size, size))
        if i < len(names):
            parts.append(_text(x + size / 2, y + size + 13, names[i], "middle", "tick"))
    lines = math.ceil(len(pictures) / across)
    width = min(across, len(pictures)) * (size + gap) - gap
    height = head + lines * (size + gap + caption)
    return _svg(title, max(width, _LABEL * len(title) + 8), height, parts)


def bars(values: Mapping[str, float], title: str, *, unit: str = "", spread: Mapping[str, float] | None = None) -> str:
    """A horizontal bar for each value (none below nought), its figure after it, with `spread` a whisker of that much to
    both sides.
    """
    head, line, full = 24.0, 24.0, 360.0
    left = _LABEL * max(map(len, values), default=0) + 12
    top = max((value + (spread or {}).get(name, 0.0) for name, value in values.items()), default=1.0) or 1.0
    parts: list[str] = []
    for i, (name, value) in enumerate(values.items()):
        y, long = head + i * line, full * value / top
        parts.append(_text(left - 8, y + 14, name, "end", "tick"))
        parts.append(f'<rect class="dot-b" x="{left:.1f}" y="{y + 4:.1f}" width="{max(1.0, long):.1f}" height="13"/>')
        end, told = long, f"{plain(value)}{unit}"
        if spread and name in spread:
            reach = full * spread[name] / top
            a, b = left + max(0.0, long - reach), left + long + reach
            parts.append(f'<line class="axis" x1="{a:.1f}" x2="{b:.1f}" y1="{y + 10.5:.1f}" y2="{y + 10.5:.1f}"/>')
            end, told = long + reach, f"{told} ± {plain(spread[name])}"
        parts.append(_text(left + end + 8, y + 15, told, "start", "name"))
    return _svg(title, left + full + 110, head + line * len(values) + 6, parts)


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
    """Named points, each with its name beside it; arrows from one name to another; `marked` in the accent colour."""
    head, left, bottom, right = 26.0, 46.0, height - 38, width - 70
    xs, ys = zip(*points.values(), strict=True) if points else ((0.0,), (0.0,))
    (x0, x1), (y0, y1) = _room(xs), _room(ys)

    def at(point: tuple[float, float]) -> tuple[float, float]:
        x, y = point
        return left + (x - x0) / (x1 - x0) * (right - left), bottom - (y - y0) / (y1 - y0) * (bottom - head)

    parts: list[str] = []
    for value in ticks(y0, y1, 5):
        y = at((x0, value))[1]
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(left - 8, y + 4, plain(value), "end", "tick"))
    parts += [_text(at((value, y0))[0], bottom + 18, short(value), "middle", "tick") for value in ticks(x0, x1, 6)]
    for start, end in arrows:
        (a, b), (c, d) = at(points[start]), at(points[end])
        parts.append(f'<line class="line line-soft" x1="{a:.1f}" y1="{b:.1f}" x2="{c:.1f}" y2="{d:.1f}"/>')
    for name, point in points.items():
        x, y = at(point)
        ink = "c" if name in marked else "b"
        parts.append(f'<circle class="dot-{ink}" cx="{x:.1f}" cy="{y:.1f}" r="2.8"/>')
        parts.append(_text(x + 6, y + 4, name, "start", f"name name-{ink}"))
    parts.append(_text(right, bottom + 34, x_title, "end", "axis-title"))
    if y_title:
        parts.append(_text(left, head - 8, y_title, "start", "axis-title"))
        head += 14
    return _svg(title, width, height, parts)


def _room(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or 1.0
    return low - room, high + room


def _svg(title: str, width: float, height: float, parts: Sequence[str]) -> str:
    kind = "chart wide" if width > 500 else "chart"
    box = f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(title)}"'
    caption = _text(0, 12, title, "start", "caption")
    # As wide as drawn, where there is room for it.
    return (
        f'<svg class="{kind}" {box} style="max-width:{width:.0f}px"><title>{escape(title)}</title>{caption}'
        f"{''.join(parts)}</svg>"
    )


def _sheet(view: str) -> str:
    """What lies under a drawing that stands alone: text may reach over its edge by a little."""
    x, y, width, height = map(float, view.split())
    return f'<rect x="{x - 8}" y="{y - 8}" width="{width + 16}" height="{height + 16}" style="fill:var(--paper)"/>'


def _text(x: float, y: float, text: str, anchor: str, kind: str, more: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(text)}</text>'


def _largest(matrix: NDArray[np.float64], scale: Scale) -> float:
    if scale == "share":
        return 1.0
    finite = np.abs(matrix[np.isfinite(matrix)])
    return float(finite.max(initial=0.0))


def _coloured(matrix: NDArray[np.float64], scale: Scale, limit: float | None) -> NDArray[np.uint8]:
    """Pixels `[row, column, red green blue]`."""
    top = limit or _largest(matrix, scale) or 1.0
    share = np.clip(np.nan_to_num(matrix, nan=0.0, posinf=top, neginf=-top) / top, -1, 1)[..., None]
    paper, full = np.array(PAPER, float), {"ink": INK, "share": BLUE, "signed": ORANGE}[scale]
    pixels = paper + np.clip(share, 0, 1) * (np.array(full, float) - paper)
    if scale == "signed":
        pixels += np.clip(-share, 0, 1) * (np.array(BLUE, float) - paper)
    return pixels.round().astype(np.uint8)


def _image(pixels: NDArray[np.uint8], x: float, y: float, width: float, height: float) -> str:
    encoded = base64.b64encode(_png(pixels)).decode("ascii")
    return (
        f'<image x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" preserveAspectRatio="none" '
        f'style="image-rendering:pixelated" href="data:image/png;base64,{encoded}"/>'
    )


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """An image file (ISO/IEC 15948): eight bits a channel, no filter."""
    height, width, _ = pixels.shape
    lines: Any = np.zeros((height, 1 + 3 * width), np.uint8)
    lines[:, 1:] = pixels.reshape(height, -1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body
