"""A share and its uncertainty as a strip: a rule from 0 to 100%, a mark for each stage, a whisker for its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from cutaway.evals.intervals import wilson

_WIDTH, _PAD = 220, 7
_ROW = 7.0


@dataclass(frozen=True)
class Mark:
    """One share (0 to 1) of ``n`` items, drawn in the ink "a", "b" or "c"."""

    name: str
    share: float
    n: int
    ink: str


def strip(marks: Sequence[Mark], target: float | None = None) -> str:
    """The strip as an ``<svg>`` element. Each mark has a level of its own, so that none hides another."""
    height = _ROW * len(marks) + 9
    said = ", ".join(f"{mark.name} {mark.share:.0%}" for mark in marks)
    if target is not None:
        said += f", target {target:.0%}"
    box = f'viewBox="0 0 {_WIDTH} {height:g}" role="img" aria-label="{escape(said)}"'
    parts = [f'<svg class="strip" {box}><title>{escape(said)}</title>']
    parts += [
        f'<line class="grid" x1="{_x(share)}" x2="{_x(share)}" y1="2" y2="{height - 2:g}"/>'
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    if target is not None:
        x = _x(target)
        parts.append(f'<line class="target" x1="{x}" x2="{x}" y1="0" y2="{height:g}"/>')
    for row, mark in enumerate(marks):
        y = 4.5 + _ROW * (row + 0.5)
        low, high = wilson(mark.share, mark.n)
        parts.append(f'<line class="whisker line-{mark.ink}" x1="{_x(low)}" x2="{_x(high)}" y1="{y}" y2="{y}"/>')
        parts.append(_shape(mark.ink, _x(mark.share), y))
    return "".join([*parts, "</svg>"])


def scale() -> str:
    """The heading of a column of strips: where 0, 50 and 100% are."""
    names = "".join(
        f'<text class="tick" x="{_x(share)}" y="12" text-anchor="middle">{name}</text>'
        for share, name in ((0.0, "0"), (0.5, "50"), (0.99, "100%"))
    )
    return f'<svg class="strip" viewBox="0 0 {_WIDTH} 15" role="img" aria-label="0 to 100%">{names}</svg>'


def key(name: str, ink: str) -> str:
    """A stage's name with the mark that stands for it."""
    mark = f'<svg viewBox="0 0 12 12" aria-hidden="true">{_shape(ink, 6, 6)}</svg>'
    return f'<span class="key">{mark}{escape(name)}</span>'


def _shape(ink: str, x: float, y: float) -> str:
    # Three shapes as well as three colours: they must tell apart in print and to every eye.
    if ink == "a":
        return f'<circle class="mark hollow-a" cx="{x}" cy="{y}" r="2.9"/>'
    if ink == "b":
        return f'<path class="mark dot-b" d="M{x} {y - 3.8}L{x + 3.8} {y}L{x} {y + 3.8}L{x - 3.8} {y}Z"/>'
    return f'<circle class="mark dot-c" cx="{x}" cy="{y}" r="3.2"/>'


def _x(share: float) -> float:
    return round(_PAD + share * (_WIDTH - 2 * _PAD), 1)
