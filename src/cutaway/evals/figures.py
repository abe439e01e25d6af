"""The curves of a run: which numbers of each stage's metrics are drawn, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cutaway.evals.charts import Chart, Point, Reference, Series, draw, smooth
from cutaway.evals.targets import BASELINES

Rows = Sequence[Mapping[str, Any]]

_WIDE, _HALF = 760, 372


def pretraining(rows: Rows, baselines: Sequence[tuple[str, float]]) -> list[str]:
    """Loss with learning rate, and held-out bits per byte with what it is compared with."""
    x = "tokens" if rows and "tokens" in rows[-1] else "step"
    over = "tokens read" if x == "tokens" else "steps"
    references = [Reference(f"{BASELINES.get(name, name)} {value:.2f}", value) for name, value in baselines]
    bits = points(rows, x, "val_bpb")
    main = Chart(
        "Held-out bits per byte in pretraining",
        [Series(_last(bits, "{:.3f}"), bits, "a")],
        over,
        "Bits per byte of held-out text",
        references,
        width=_WIDE,
        height=270,
        y_range=_lower_part(bits, references),
        x_from=0,
    )
    return _drawn(main, _noisy("Training loss, nats a token", rows, x, "loss", over, "a"), _rate(rows, x, over))


def fine_tuning(rows: Rows) -> list[str]:
    """Loss on the assistant's tokens, with bits per byte and learning rate where they were measured."""
    bits = points(rows, "step", "val_bpb")
    return _drawn(
        _noisy("Loss on the assistant's tokens, nats a token", rows, "step", "loss", "steps", "b"),
        Chart(
            "Held-out bits per byte in fine-tuning",
            [Series(_last(bits, "{:.3f}"), bits, "b")],
            "steps",
            "Bits per byte of held-out text",
            width=_HALF,
            height=190,
            right=48,
            x_from=0,
        ),
        _rate(rows, "step", "steps"),
    )


def reinforcement(rows: Rows) -> list[str]:
    """Reward, accuracy, lengths of right and wrong answers, and the share of problems that still teach something."""
    charts = [_noisy(title, rows, "step", key, "updates", "c", share) for key, title, share in _OF_REINFORCEMENT]
    lengths = [
        Series(name, _calmed(points(rows, "step", key)), ink)
        for key, name, ink in (("correct_length", "right", "c"), ("wrong_length", "wrong", "soft"))
    ]
    title = "Length of right and of wrong answers, tokens"
    charts.insert(2, Chart(title, lengths, "updates", title, width=_HALF, height=190, right=48, x_from=0))
    return _drawn(*charts)


_OF_REINFORCEMENT = (
    ("reward", "Mean reward", False),
    ("accuracy", "Accuracy of sampled answers", True),
    ("mixed_groups", "Problems with right and wrong answers", True),
)


def points(rows: Rows, x: str, y: str) -> list[Point]:
    """The pairs of two columns, where both are numbers."""
    return [
        (float(row[x]), float(row[y]))
        for row in rows
        if isinstance(row.get(x), int | float) and isinstance(row.get(y), int | float)
    ]


def _noisy(title: str, rows: Rows, x: str, y: str, over: str, ink: str, share: bool = False) -> Chart:
    """A line measured on one batch at a time: the measurements faint, their moving average on top."""
    raw = points(rows, x, y)
    calm = _calmed(raw)
    if len(raw) < 8:
        series = [Series(_last(raw, "{:.0%}" if share else "{:.3g}"), raw, ink)]
    else:
        series = [Series("", raw, ink, faint=True), Series(_last(calm, "{:.0%}" if share else "{:.3g}"), calm, ink)]
    form = _percent if share else None
    return Chart(title, series, over, title, width=_HALF, height=190, right=48, y_format=form, x_from=0)


def _calmed(line: Sequence[Point]) -> list[Point]:
    """The moving average over about a twentieth of the line to either side."""
    return smooth(line, 1 - 1 / (1 + len(line) / 20))


def _rate(rows: Rows, x: str, over: str) -> Chart:
    line = [Series("", points(rows, x, "lr"), "soft")]
    return Chart("Learning rate", line, over, "Learning rate", width=_HALF, height=190, right=48, x_from=0)


def _lower_part(line: Sequence[Point], references: Sequence[Reference]) -> tuple[float, float] | None:
    """The range worth looking at: the fall from chance is steep, and what is left of it would flatten the rest."""
    values = [y for _, y in line] + [reference.y for reference in references]
    if not line or max(values) == min(values):
        return None
    low = min(values)
    return 0.94 * low, min(max(values), max(1.9 * low, 1.1 * line[-1][1]))


def _last(line: Sequence[Point], form: str) -> str:
    return form.format(line[-1][1]) if line else ""


def _percent(value: float) -> str:
    return f"{value:.0%}"


def _drawn(*charts: Chart) -> list[str]:
    return [svg for chart in charts if (svg := draw(chart))]
