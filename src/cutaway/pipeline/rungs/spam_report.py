"""What rung 6 says and draws of its filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cutaway.evals.charts import Chart, Point, Series, draw
from cutaway.evals.markdown import cell, markdown_table
from cutaway.evals.plates import bars, side_by_side
from cutaway.ladder.detection import Detection, decided
from cutaway.pipeline.rungs.panels import panels
from cutaway.pipeline.rungs.spam_measures import BY_COST, BY_TRIAL, EACH, HALF, Comparison, Measured, thinned

WORDS = 8
"""Words drawn of those that speak most for, and as many of those against."""
COUNTED = ("rules", "naive_bayes")
"""Filters that nothing was learned for by descent."""
EVEN = [(0.0, 0.0), (1.0, 1.0)]
HOW = {
    HALF: "one half: a false alarm is as bad as a miss",
    BY_COST: "by the costs, if probabilities are true",
    BY_TRIAL: "what cost least on the texts to choose by",
}


def said(found: Comparison) -> list[str]:
    """What a person reads first."""
    best = found.best
    half, at, by_cost = best.decisions[HALF][1], *best.decisions[BY_COST]
    lines = [
        (
            f"{best.filter.title}, the best of {len(found.filters)} filters: precision {_pair(half)} of "
            f"{len(found.parts.test.texts):,} texts that none has seen, stopped from p = 0.5 on"
        ),
        f"from p = {at:.2f} on, a false alarm being as bad as {found.false_alarm:g} misses: precision {_pair(by_cost)}",
    ]
    for one in found.filters:
        if one.filter.name == "rules":
            lines.append(f"rules by hand: precision {_pair(one.decisions[HALF][1])}")
        if one.filter.name == "naive_bayes" and one.raw_error is not None:
            lines.append(
                f"naive Bayes' probabilities are off by {one.raw_error:.1%} on average; "
                f"scaled on other texts, by {one.error:.1%}"
            )
    return lines


def _pair(what: Detection) -> str:
    return f"{what.precision:.1%}, recall {what.recall:.1%}"


def report(found: Comparison) -> str:
    """The report, in Markdown."""
    data, parts = found.data, found.parts
    sizes = [len(part.texts) for part in (parts.learn, parts.choose, parts.test)]
    return "\n\n".join(
        [
            (
                f"Which texts are “{cell(data.wanted)}”, and not “{cell(data.others)}”? Of {sum(sizes):,} texts "
                f"({data.targets.mean():.1%} {cell(data.wanted)}; {data.repeated:,} repeated ones left out) each "
                f"filter was made from {sizes[0]:,}, its scale and thresholds chosen on {sizes[1]:,}, and measured on "
                f"{sizes[2]:,}."
            ),
            "\n".join(f"- {cell(line)}" for line in said(found)),
            "## The filters",
            (
                "Precision and recall at p ≥ 0.5. ECE is the calibration error, before and after scaling; by chance, "
                f"one calibrated exactly would show the last. The mistakes' cost in {EACH:,} texts is that at "
                f"p ≥ {found.best.decisions[BY_COST][0]:.2f}, a false alarm costing {found.false_alarm:g} and a miss 1."
            ),
            _filters(found),
            "![](precision-recall.svg)",
            "## Are the probabilities true?",
            "![](reliability.svg)",
            f"## A threshold for {found.best.filter.title}",
            _thresholds(found),
            "![](cost.svg)",
            "## What speaks for and against",
            "![](words.svg)",
            f"## Where {found.best.filter.title} was surest and wrong",
            _mistakes(found),
        ]
    )


def pictures(found: Comparison) -> dict[str, str]:
    """The report's pictures."""
    wanted, others = found.data.wanted, found.data.others
    return {
        "precision-recall": panels(
            Chart("Precision, by recall", [], "recall", y_range=(0.0, 1.0), x_from=0.0, height=260, right=150),
            _groups(found, {one.filter.name: thinned(one.curve) for one in found.filters}),
        ),
        "reliability": side_by_side(
            [_reliability(one) for one in found.filters], f"Share that is {wanted}, by probability", across=3
        ),
        "cost": _cost(found),
        "words": bars(found.words(WORDS), f"Words that speak for {others} (blue) and {wanted} (red)"),
    }


def _groups(found: Comparison, lines: Mapping[str, Sequence[Point]]) -> dict[str, dict[str, Sequence[Point]]]:
    """The filters' lines, by filter, under their titles: those written or counted beside those learned."""
    groups: dict[str, dict[str, Sequence[Point]]] = {"written or counted": {}, "learned": {}}
    for one in found.filters:
        group = "written or counted" if one.filter.name in COUNTED else "learned"
        groups[group][one.filter.title] = lines[one.filter.name]
    return groups


def _filters(found: Comparison) -> str:
    rows: list[tuple[str, ...]] = []
    for one in found.filters:
        half, by_cost = one.decisions[HALF][1], one.decisions[BY_COST][1]
        raw = "" if one.raw_error is None else f"{one.raw_error:.1%}"
        rows.append(
            (
                one.filter.title,
                one.filter.made,
                f"{half.precision:.1%}",
                f"{half.recall:.1%}",
                f"{half.f1:.3f}",
                f"{one.average_precision:.3f}",
                f"{one.loss:.3f}",
                raw,
                f"{one.error:.1%}",
                f"{one.chance:.1%}",
                f"{found.cost(by_cost):.0f}",
            )
        )
    head = ["Filter", "Made of", "Precision", "Recall", "F1", "Average precision", "Log loss"]
    return markdown_table([*head, "ECE", "scaled", "by chance", "Cost"], rows, text_columns=2)


def _thresholds(found: Comparison) -> str:
    rows: list[tuple[str, ...]] = []
    for how, (at, what) in found.best.decisions.items():
        from_ = f"{at:.3f}" if np.isfinite(at) else "none"
        figures = (f"{what.precision:.1%}", f"{what.recall:.1%}", f"{what.false_alarms:,}", f"{what.misses:,}")
        rows.append((HOW[how], from_, *figures, f"{found.cost(what):.0f}"))
    return markdown_table(
        ["Chosen", "p from", "Precision", "Recall", "False alarms", "Misses", f"Cost in {EACH:,} texts"], rows
    )


def _mistakes(found: Comparison, most: int = 3) -> str:
    p, targets = found.best.probabilities, found.parts.test.targets
    wrong = np.flatnonzero((p >= 0.5) != (targets > 0.5))
    surest = sorted(wrong.tolist(), key=lambda i: (-abs(p[i] - 0.5), i))
    rows: list[tuple[str, ...]] = []
    for kind, label in ((1, found.data.wanted), (0, found.data.others)):
        for i in [i for i in surest if targets[i] == kind][:most]:
            text = found.parts.test.texts[i]
            rows.append((text if len(text) <= 160 else f"{text[:160]} ...", label, f"{p[i]:.1%}"))
    return markdown_table(["Text", "Is", f"{found.data.wanted}, said"], rows, text_columns=2) if rows else "Nowhere."


def _reliability(one: Measured) -> str:
    series = [Series("", EVEN, "soft", faint=True)]
    for name, bins, ink in (("as it comes", one.raw_bins, "c"), ("scaled", one.bins, "b")):
        if bins:
            series.append(Series(name, [(b.probability, b.share) for b in bins], ink))
    return draw(
        Chart(one.filter.title, series, "probability", width=310, height=240, y_range=(0.0, 1.0), x_from=0.0, right=84)
    )


def _cost(found: Comparison) -> str:
    """What the mistakes cost at each threshold: each filter's line, and where the costs say that it is lowest."""
    targets = found.parts.test.targets
    places = np.linspace(0.02, 0.99, 98)
    lines: dict[str, list[Point]] = {}
    for one in found.filters:
        costs = [found.cost(decided(one.probabilities, targets, float(at))) for at in places]
        lines[one.filter.name] = list(zip(places.tolist(), costs, strict=True))
    at = found.best.decisions[BY_COST][0]
    nothing = found.cost(decided(found.best.probabilities, targets, float("inf")))
    top = 1.5 * nothing
    by_cost = Series(f"p = {at:.2f}", [(at, 0.0), (at, top)], "soft")
    title = f"Cost of the mistakes in {EACH:,} texts, by the threshold (to stop nothing costs {nothing:.0f})"
    chart = Chart(title, [by_cost], "threshold", y_range=(0.0, top), x_from=0.0, height=260, right=150)
    return panels(chart, _groups(found, lines))
