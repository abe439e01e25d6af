"""Plots of measured points, laws and how sure they are, on axes that may be logarithmic, as SVG.

In the manner of `cutaway.evals.charts`: ink on paper, names at the ends of lines, no legend, no script.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

from cutaway.evals.charts import Point, inside, spread_apart
from cutaway.evals.numbers import plain, short, ticks


@dataclass(frozen=True)
class Curve:
    """A line with its name at the end; `band` has for each of its points how low and how high it may be."""

    points: Sequence[Point]
    ink: str = "a"
    name: str = ""
    band: Sequence[tuple[float, float]] = ()
    dashed: bool = False


@dataclass(frozen=True)
class Dot:
    """A measured point, or with `whisker` an interval; hollow where it was foretold."""

    x: float
    y: float
    ink: str = "a"
    hollow: bool = False
    whisker: tuple[float, float] | None = None
    name: str = ""


@dataclass(frozen=True)
class Axis:
    """What an axis measures, how far it goes, and how its values are written."""

    title: str
    low: float
    high: float
    log: bool = False
    written: Callable[[float], str] = plain

    def share(self, value: float) -> float:
        """How far along the axis a value lies, from 0 to 1."""
        low, high, at = (log10(v) if self.log else v for v in (self.low, self.high, value))
        return (at - low) / (high - low)

    def marks(self, count: int) -> list[float]:
        """About `count` round values on it: of a logarithmic one, those with the digits 1, 2 and 5."""
        if not self.log:
            return ticks(self.low, self.high, count)
        powers = range(floor(log10(self.low)), ceil(log10(self.high)) + 1)
        every = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
        shown = [value for value in every if self.low <= value <= self.high]
        whole = [value for value in shown if round(log10(value), 9) == round(log10(value))]
        return whole if len(shown) > 2 * count and len(whole) > 1 else shown


@dataclass(frozen=True)
class Plot:
    """What a plot shows and how large it is, in CSS pixels."""

    title: str
    x: Axis
    y: Axis
    curves: Sequence[Curve] = ()
    dots: Sequence[Dot] = ()
    width: int = 760
    height: int = 320
    right: int = 92


TOP, BOTTOM, LEFT, LABEL_GAP = 26, 38, 46, 13.0


def around(values: Sequence[float], *, log: bool = False) -> tuple[float, float]:
    """The extent of some values with a little room on both sides."""
    low, high = min(values), max(values)
    if log:
        room = max((high / low) ** 0.05, 1.02)
        return low / room, high * room
    room = 0.05 * (high - low) or 0.05 * abs(low) or 1.0
    return low - room, high + room


def draw_plot(plot: Plot) -> str:
    """The plot as one ``<svg>`` element."""
    kind = "chart wide" if plot.width > 500 else "chart"
    box = f'viewBox="0 0 {plot.width} {plot.height}" role="img" aria-label="{escape(plot.title)}"'
    parts = [
        f'<svg class="{kind}" {box}><title>{escape(plot.title)}</title>',
        f'<text class="caption" x="0" y="12">{escape(plot.title)}</text>',
        *y_axis(plot),
        *x_axis(plot),
        *(band_of(plot, curve) for curve in plot.curves if curve.band),
        *(line_of(plot, curve) for curve in plot.curves),
        *(dot_of(plot, dot) for dot in plot.dots),
        *names_of(plot),
    ]
    return "".join([*parts, "</svg>"])


def at_x(plot: Plot, value: float) -> float:
    """Where a value of x lands."""
    return LEFT + plot.x.share(value) * (plot.width - plot.right - LEFT)


def at_y(plot: Plot, value: float) -> float:
    """Where a value of y lands."""
    bottom = plot.height - BOTTOM
    return bottom - plot.y.share(value) * (bottom - TOP)


def y_axis(plot: Plot) -> list[str]:
    """Faint lines across, with their values."""
    parts: list[str] = []
    for value in plot.y.marks(5):
        y = at_y(plot, value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{plot.width - plot.right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{LEFT - 8}" y="{y + 3.5:.1f}" text-anchor="end">{plot.y.written(value)}</text>'
        )
    return parts


def x_axis(plot: Plot) -> list[str]:
    """The line at the bottom, with its values and what they are."""
    y, right = plot.height - BOTTOM + 5, plot.width - plot.right
    parts = [f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{y}" y2="{y}"/>']
    for value in plot.x.marks(max(4, (right - LEFT) // 110)):
        x = at_x(plot, value)
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + 4}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{y + 16}" text-anchor="middle">{plot.x.written(value)}</text>')
    parts.append(f'<text class="axis-title" x="{right}" y="{y + 30}" text-anchor="end">{escape(plot.x.title)}</text>')
    return parts


def band_of(plot: Plot, curve: Curve) -> str:
    """The area between what a curve's points may be at least and at most."""
    xs = [at_x(plot, x) for x, _ in curve.points]
    # What lies beyond the frame is cut at its edge.
    lows, highs = (
        [at_y(plot, min(max(y, plot.y.low), plot.y.high)) for y in side] for side in zip(*curve.band, strict=True)
    )
    outline = [*zip(xs, lows, strict=True), *reversed(list(zip(xs, highs, strict=True)))]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in outline)
    return f'<path class="dot-{curve.ink}" fill-opacity="0.13" d="M{path}Z"/>'


def line_of(plot: Plot, curve: Curve) -> str:
    """A curve, as far as it lies in the frame."""
    shares = [(at_x(plot, x), plot.y.share(y)) for x, y in curve.points]
    bottom = plot.height - BOTTOM
    path = " ".join(
        f"{'L' if drawn else 'M'}{x:.1f} {bottom - share * (bottom - TOP):.1f}"
        for run in inside(shares, 0.0, 1.0)
        for drawn, (x, share) in enumerate(run)
    )
    dashes = ' stroke-dasharray="5 4"' if curve.dashed else ""
    return f'<path class="line line-{curve.ink}"{dashes} d="{path}"/>' if path else ""


def dot_of(plot: Plot, dot: Dot) -> str:
    """A point, and its interval."""
    x, y = at_x(plot, dot.x), at_y(plot, dot.y)
    kind = f"mark hollow-{dot.ink}" if dot.hollow else f"dot dot-{dot.ink}"
    # The style sheet has a hollow mark in the first ink alone.
    ring = f' style="stroke:var(--{dot.ink});fill:var(--paper);stroke-width:1.5"' if dot.hollow else ""
    drawn = f'<circle class="{kind}"{ring} cx="{x:.1f}" cy="{y:.1f}" r="3.2"/>'
    if dot.whisker:
        low, high = (at_y(plot, value) for value in dot.whisker)
        drawn = (
            f'<line class="whisker line-{dot.ink}" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>' + drawn
        )
    if dot.name:
        drawn += f'<text class="name name-{dot.ink}" x="{x + 8:.1f}" y="{y + 4:.1f}">{escape(dot.name)}</text>'
    return drawn


def names_of(plot: Plot) -> list[str]:
    """The curves' names at their ends, moved apart where they would touch."""
    ends: list[tuple[float, float, Curve]] = []
    for curve in plot.curves:
        runs = inside([(x, plot.y.share(y)) for x, y in curve.points], 0.0, 1.0) if curve.name else []
        if runs:
            x, share = runs[-1][-1]
            bottom = plot.height - BOTTOM
            ends.append((bottom - share * (bottom - TOP), at_x(plot, x), curve))
    ends.sort(key=lambda end: end[0])
    places = spread_apart([y for y, _, _ in ends], LABEL_GAP, TOP, plot.height - BOTTOM)
    return [
        f'<text class="name name-{curve.ink}" x="{x + 8:.1f}" y="{place + 4:.1f}">{escape(curve.name)}</text>'
        for place, (_, x, curve) in zip(places, ends, strict=True)
    ]


def counted(title: str, values: Sequence[float]) -> Axis:
    """A logarithmic axis of a number of parameters or tokens."""
    low, high = around(values, log=True)
    return Axis(title, low, high, log=True, written=short)
