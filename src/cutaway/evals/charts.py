"""Line charts as SVG, drawn here: ink on paper, named at the line's end, no legend, no script.

Colours and type come from the page's style sheet through classes (`ink`, `soft`, `line-a` ...), so that one drawing
serves light, dark and print.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, isfinite

from cutaway.evals.numbers import plain, short, ticks

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """One line: points in order of x, a name to write at its end, and which ink draws it ("a", "b", "c" or "soft")."""

    name: str
    points: Sequence[Point]
    ink: str = "a"
    faint: bool = False


@dataclass(frozen=True)
class Reference:
    """A level to compare with, drawn as a dashed line across the chart with its name on it."""

    name: str
    y: float


@dataclass(frozen=True)
class Chart:
    """What a chart shows and how large it is, in CSS pixels."""

    title: str
    series: Sequence[Series]
    x_title: str
    y_title: str = ""
    references: Sequence[Reference] = ()
    width: int = 640
    height: int = 250
    y_range: tuple[float, float] | None = None
    x_from: float | None = None
    y_format: Callable[[float], str] | None = None
    x_format: Callable[[float], str] | None = None
    right: int = 92


_TOP, _BOTTOM, _LEFT = 26, 38, 46
_LABEL_GAP = 13.0


def draw(chart: Chart) -> str:
    """The chart as one ``<svg>`` element; an empty string if no series has two finite points."""
    series = [Series(s.name, _finite(s.points), s.ink, s.faint) for s in chart.series]
    series = [s for s in series if len(s.points) >= 2]
    if not series:
        return ""
    x_low, x_high = _extent([x for s in series for x, _ in s.points] + ([] if chart.x_from is None else [chart.x_from]))
    shown = [y for s in series for y in _without_outliers([y for _, y in s.points])]
    y_low, y_high = chart.y_range or _extent(shown + [r.y for r in chart.references])
    y_ticks = ticks(y_low, y_high, 4)
    frame = _Frame(chart, x_low, x_high, y_low, y_high)
    kind = "chart wide" if chart.width > 500 else "chart"
    box = f'viewBox="0 0 {chart.width} {chart.height}" role="img" aria-label="{escape(chart.title)}"'
    parts = [
        f'<svg class="{kind}" {box}><title>{escape(chart.title)}</title>',
        f'<text class="caption" x="0" y="12">{escape(chart.y_title or chart.title)}</text>',
    ]
    parts += _y_axis(frame, y_ticks, chart.y_format or plain)
    parts += _x_axis(frame, chart)
    parts += [_reference(frame, reference) for reference in chart.references]
    parts += [_line(frame, one) for one in sorted(series, key=lambda s: not s.faint)]
    parts += _end_labels(frame, [s for s in series if s.name])
    return "".join([*parts, "</svg>"])


@dataclass(frozen=True)
class _Frame:
    """Where data lands on the page."""

    chart: Chart
    x_low: float
    x_high: float
    y_low: float
    y_high: float

    @property
    def right(self) -> float:
        return self.chart.width - self.chart.right

    @property
    def bottom(self) -> float:
        return self.chart.height - _BOTTOM

    def x(self, value: float) -> float:
        return _LEFT + (value - self.x_low) / (self.x_high - self.x_low) * (self.right - _LEFT)

    def y(self, value: float) -> float:
        return self.bottom - (value - self.y_low) / (self.y_high - self.y_low) * (self.bottom - _TOP)


def _y_axis(frame: _Frame, values: Sequence[float], name: Callable[[float], str]) -> list[str]:
    parts: list[str] = []
    for value in values:
        y = frame.y(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{frame.right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{y + 3.5:.1f}" text-anchor="end">{name(value)}</text>')
    return parts


def _x_axis(frame: _Frame, chart: Chart) -> list[str]:
    name = chart.x_format or short
    y = frame.bottom + 5
    # A range frame (Tufte): the axis runs as far as the data does, and no farther.
    parts = [f'<line class="axis" x1="{_LEFT}" x2="{frame.right:.1f}" y1="{y}" y2="{y}"/>']
    for value in ticks(frame.x_low, frame.x_high, max(4, (chart.width - _LEFT - chart.right) // 110)):
        x = frame.x(value)
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + 4}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{y + 16}" text-anchor="middle">{name(value)}</text>')
    parts.append(
        f'<text class="axis-title" x="{frame.right:.1f}" y="{y + 30}" text-anchor="end">{escape(chart.x_title)}</text>'
    )
    return parts


def _reference(frame: _Frame, reference: Reference) -> str:
    y, right = frame.y(reference.y), frame.right
    return (
        f'<line class="reference" x1="{_LEFT}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="reference-name" x="{right - 4:.1f}" y="{y - 4:.1f}" text-anchor="end">'
        f"{escape(reference.name)}</text>"
    )


def _line(frame: _Frame, series: Series) -> str:
    path = " ".join(
        f"{'L' if drawn else 'M'}{frame.x(x):.1f} {frame.y(y):.1f}"
        for run in inside(thin(series.points, 400), frame.y_low, frame.y_high)
        for drawn, (x, y) in enumerate(run)
    )
    kind = f"line line-{series.ink}" + (" faint" if series.faint else "")
    line = f'<path class="{kind}" d="{path}"/>'
    x, y = series.points[-1]
    if not series.faint and frame.y_low <= y <= frame.y_high:
        line += f'<circle class="dot dot-{series.ink}" cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="2.6"/>'
    return line


def _end_labels(frame: _Frame, series: Sequence[Series]) -> list[str]:
    wanted = sorted(((frame.y(s.points[-1][1]), s) for s in series), key=lambda pair: pair[0])
    places = spread_apart([y for y, _ in wanted], _LABEL_GAP, _TOP, frame.bottom)
    # All at the farthest end: beside a line that ends earlier others go on.
    x = max((frame.x(one.points[-1][0]) for one in series), default=0.0) + 8
    parts: list[str] = []
    for place, (_, one) in zip(places, wanted, strict=True):
        parts.append(f'<text class="name name-{one.ink}" x="{x:.1f}" y="{place + 4:.1f}">{escape(one.name)}</text>')
    return parts


def spread_apart(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Sorted places moved a little, to lie at least ``gap`` apart and between ``low`` and ``high`` if they fit."""
    moved = list(places)
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + gap)
    if moved and moved[-1] > high:
        moved[-1] = high
        for i in range(len(moved) - 2, -1, -1):
            moved[i] = min(moved[i], moved[i + 1] - gap)
    if moved and moved[0] < low:
        moved[0] = low
        for i in range(1, len(moved)):
            moved[i] = max(moved[i], moved[i - 1] + gap)
    return moved


def inside(points: Sequence[Point], low: float, high: float) -> list[list[Point]]:
    """The runs of a line that lie between two levels, each cut where the line crosses one of them."""
    runs: list[list[Point]] = [[]]
    for i, (x, y) in enumerate(points):
        if i:
            before_x, before_y = points[i - 1]
            crossed = [level for level in (low, high) if (before_y - level) * (y - level) < 0]
            for level in sorted(crossed, key=lambda level: abs(level - before_y)):
                runs[-1].append((before_x + (x - before_x) * (level - before_y) / (y - before_y), level))
                if len(runs[-1]) > 1:
                    runs.append([])
        if low <= y <= high:
            runs[-1].append((x, y))
    return [run for run in runs if len(run) > 1]


def smooth(points: Sequence[Point], weight: float = 0.9) -> list[Point]:
    """A moving average of y whose weights fall off exponentially to both sides, so that it lags behind nothing."""
    kept = _finite(points)
    ys = [y for _, y in kept]
    before, after = _gathered(ys, weight), _gathered(ys[::-1], weight)[::-1]
    result: list[Point] = []
    for (x, y), (sum_before, weight_before), (sum_after, weight_after) in zip(kept, before, after, strict=True):
        # Both sides hold the point itself, with weight one.
        result.append((x, (sum_before + sum_after - y) / (weight_before + weight_after - 1)))
    return result


def _gathered(values: Sequence[float], weight: float) -> list[tuple[float, float]]:
    """For every place the weighted sum of the values up to it, and of their weights."""
    total, weights, result = 0.0, 0.0, list[tuple[float, float]]()
    for value in values:
        total, weights = weight * total + value, weight * weights + 1
        result.append((total, weights))
    return result


def thin(points: Sequence[Point], most: int) -> list[Point]:
    """At most about ``most`` points of a line, its first and last among them: what a screen can show anyway."""
    if len(points) <= most:
        return list(points)
    step = ceil(len(points) / most)
    kept = list(points[::step])
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]


def _extent(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if high > low:
        return low, high
    room = abs(low) * 0.1 or 1.0
    return low - room, high + room


def _without_outliers(values: Sequence[float]) -> list[float]:
    """The values that set the scale: the few highest of a long line (a loss at its first steps) may leave the frame."""
    if len(values) < 50:
        return list(values)
    ordered = sorted(values)
    return ordered[: max(2, floor(len(ordered) * 0.98))]


def _finite(points: Sequence[Point]) -> list[Point]:
    return [(x, y) for x, y in points if isfinite(x) and isfinite(y)]
