"""Lines too many for one chart: on several beside each other, where each has an ink of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from math import isfinite

from cutaway.evals.charts import Chart, Point, Series, draw
from cutaway.evals.plates import side_by_side

INKS = ("b", "c", "a", "soft")
"""What tells the lines of a chart apart: no more of them go on one."""
WIDTH = 470
"""Of a chart that has others beside it, in CSS pixels."""
Lines = Mapping[str, Sequence[Point]]


def panels(chart: Chart, groups: Mapping[str, Lines], *, across: int = 2) -> str:
    """A chart of each group's lines, with the group's name above it; `chart` says all but the lines.

    A group of more than four lines is divided. All have the same range of y, that of all points if `chart` has none,
    and what is in `chart.series` is on each of them. What fits on one chart has all the width, and only the title above
    it. Empty where there is nothing to draw.
    """
    parts = [(name, part) for name, lines in groups.items() for part in _fours(lines)]
    low, high = chart.y_range or _extent([lines for _, lines in parts])
    one = replace(chart, y_range=(low, high), width=chart.width if len(parts) == 1 else WIDTH)
    if len(parts) == 1:
        return draw(_with(one, parts[0][1]))
    drawn = [draw(_with(replace(one, title=name, y_title=""), lines)) for name, lines in parts]
    return side_by_side([each for each in drawn if each], chart.title, across=across) if any(drawn) else ""


def _fours(lines: Lines) -> list[Lines]:
    left = iter(lines.items())
    return list(iter(lambda: dict(islice(left, len(INKS))), {}))


def _with(chart: Chart, lines: Lines) -> Chart:
    series = [Series(name, points, ink) for (name, points), ink in zip(lines.items(), INKS, strict=False)]
    return replace(chart, series=[*chart.series, *series])


def _extent(parts: Sequence[Lines]) -> tuple[float, float]:
    values = [y for lines in parts for points in lines.values() for _, y in points if isfinite(y)]
    low, high = min(values, default=0.0), max(values, default=1.0)
    return (low, high) if high > low else (low - 1, high + 1)
