"""report.html of a scaling run: one file without script or outside resources."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from cutaway.evals import page_making
from cutaway.evals.markup import charts, header, page, row, section, table
from cutaway.evals.measures import duration
from cutaway.evals.numbers import short
from cutaway.evals.scaling_charts import Axis, Curve, Dot, Plot, around, counted, draw_plot
from cutaway.evals.scaling_findings import ScalingFindings, law_in_words, notes_on_fit, summary_of
from cutaway.evals.scaling_tables import Rows, best_splits, ladder_rows, law_rows, outcome_rows

POINTS = 60
"""Of a curve."""
CONTOURS = 7


def scaling_page(findings: ScalingFindings) -> str:
    """The whole page."""
    body = [
        top(findings),
        section("Foretold and measured", foretelling_notes(findings), table_of(outcome_rows(findings))),
        section(
            "Loss against tokens",
            [
                "A curve a size: the fitted law, and around it the 95% interval of the law. Dots: measured.",
                "In red the held-out run: ring and whisker foretold, dot measured.",
            ],
            charts([loss_against_tokens(findings), residual_plot(findings), fitted_against_measured(findings)]),
        ),
        section(
            "The law", notes_on_fit(findings), f"<p>{escape(law_in_words(findings))}</p>" + table_of(law_rows(findings))
        ),
        section(
            "The best split",
            [
                "Along each line the loss is the same.",
                "Dashed: the size and length that the law finds best for their operations.",
                "Where that line is not seen, it lies among more tokens, or fewer, than were read.",
            ],
            charts([equal_losses(findings)]) + "<h3>By the law</h3>" + table_of(best_splits(findings)),
        ),
        section(
            "The ladder",
            ["“Time alone”: with the level part, which runs of a size share."],
            table_of(ladder_rows(findings)),
        ),
        page_making.corpus(findings.run),
        page_making.times(findings.run),
        page_making.recipe(findings.run),
        "<footer>Drawn by <code>cutaway</code>. Intervals are 95%, by a bootstrap of residuals (Efron 1979).</footer>",
    ]
    return page(f"{findings.run.name}: scaling law", body)


def top(findings: ScalingFindings) -> str:
    """Title, summary and the largest figures."""
    tiles = [
        ("Foretold, nats a token", f"{findings.foretold.loss:.3f}"),
        ("Measured", f"{findings.outcome.run.loss:.3f}"),
        ("Off by", f"{abs(findings.error):.1%}"),
        ("Runs in the ladder", str(len(findings.ladder))),
        ("Time", duration(findings.run.seconds)),
    ]
    title = f"The scaling law of <em>{escape(findings.run.name)}</em>"
    return header([findings.run.machine, f"seed {findings.run.seed}"], title, summary_of(findings), tiles)


def foretelling_notes(findings: ScalingFindings) -> list[str]:
    """When the prediction was made."""
    if findings.before:
        return [
            "The prediction was on disk before the run began: prediction.json and heldout/outcome.json have the times."
        ]
    return ["The prediction is younger than the run: it proves nothing."]


def table_of(rows: Rows) -> str:
    """Rows of text as a table, the first of them its heading."""
    return table([escape(name) for name in rows[0]], (row(map(escape, cells)) for cells in rows[1:]))


def grid(low: float, high: float) -> list[float]:
    """Values for a curve, evenly far from each other on a logarithmic axis."""
    return np.geomspace(low, high, POINTS).tolist()


def loss_against_tokens(findings: ScalingFindings) -> str:
    """The measured losses with the law's curve for each size, and for the held-out one, foretold and measured."""
    fitted, foretold, outcome = findings.fitted, findings.foretold, findings.outcome.run
    every = [*findings.ladder, outcome]
    tokens = grid(min(run.tokens for run in every), max(run.tokens for run in every))
    sizes = [(several[0].parameters, "b") for several in findings.sizes.values()] + [(outcome.parameters, "c")]
    curves = [
        Curve(
            [(d, fitted.law.loss(n, d)) for d in tokens],
            ink,
            short(n),
            [fitted.band(n, d) for d in tokens],
            dashed=ink == "c",
        )
        for n, ink in sizes
    ]
    losses = [run.loss for run in every] + [y for curve in curves for _, y in curve.points] + list(foretold.interval)
    dots = [Dot(run.tokens, run.loss, "b") for run in findings.ladder]
    return draw_plot(
        Plot(
            "Loss on held-out text, nats a token, by parameters",
            counted("tokens read", tokens),
            Axis("", *around(losses)),
            curves,
            [*dots, *foretold_and_measured(findings, outcome.tokens)],
            height=420,
        )
    )


def foretold_and_measured(findings: ScalingFindings, x: float) -> list[Dot]:
    """The held-out run's two marks, at a place on the x axis."""
    foretold = findings.foretold
    return [
        Dot(x, foretold.loss, "c", hollow=True, whisker=foretold.interval),
        Dot(x, findings.outcome.run.loss, "c"),
    ]


def fitted_against_measured(findings: ScalingFindings) -> str:
    """Fitted or foretold losses against measured ones: on the line they agree."""
    law, outcome = findings.fitted.law, findings.outcome.run
    dots = [Dot(run.loss, law.loss(run.parameters, run.tokens), "b") for run in findings.ladder]
    held = Dot(outcome.loss, findings.foretold.loss, "c", hollow=True, whisker=findings.foretold.interval)
    ends = around([value for dot in (*dots, held) for value in (dot.x, dot.y)])
    return draw_plot(
        Plot(
            "Loss by the law",
            Axis("measured", *ends),
            Axis("", *ends),
            [Curve([(ends[0], ends[0]), (ends[1], ends[1])], "soft")],
            [*dots, held],
            width=372,
            height=260,
            right=20,
        )
    )


def residual_plot(findings: ScalingFindings) -> str:
    """How far each run lies from the law, against its operations: what is left should show no pattern."""
    law = findings.fitted.law
    dots = [
        Dot(run.flops, 100 * (run.loss / law.loss(run.parameters, run.tokens) - 1), ink)
        for runs, ink in ((findings.ladder, "b"), ((findings.outcome.run,), "c"))
        for run in runs
    ]
    x = around([dot.x for dot in dots], log=True)
    reach = 1.15 * max(abs(dot.y) for dot in dots) or 1.0
    return draw_plot(
        Plot(
            "Measured above the law, %",
            Axis("operations", *x, log=True, written=lambda value: f"{value:.0e}".replace("e+", "e")),
            Axis("", -reach, reach),
            [Curve([(x[0], 0.0), (x[1], 0.0)], "soft")],
            dots,
            width=372,
            height=260,
            right=20,
        )
    )


def equal_losses(findings: ScalingFindings) -> str:
    """Lines of equal loss over sizes and lengths, the runs, and the line of best splits."""
    law, outcome = findings.fitted.law, findings.outcome.run
    every = [*findings.ladder, outcome]
    x = counted("parameters", [run.parameters for run in every])
    y = counted("", [run.tokens for run in every])
    sizes = grid(x.low, x.high)
    worst, least = law.loss(x.low, y.low), law.loss(x.high, y.high)
    levels = np.linspace(worst, least, CONTOURS + 2)[1:-1].tolist()
    curves = [Curve(contour(findings, level, sizes, y.high), "soft", f"{level:.2f}") for level in levels]
    best = [(n, law.tokens_for(n)) for n in sizes]
    dots = [Dot(run.parameters, run.tokens, "b") for run in findings.ladder]
    return draw_plot(
        Plot(
            "Tokens, for equal losses in nats a token",
            x,
            y,
            [*curves, Curve([(n, d) for n, d in best if d > 0], "a", "best", dashed=True)],
            [*dots, Dot(outcome.parameters, outcome.tokens, "c")],
            height=380,
        )
    )


def contour(findings: ScalingFindings, level: float, sizes: Sequence[float], most: float) -> list[tuple[float, float]]:
    """For each size the tokens with which it reaches a loss, where any number does."""
    law = findings.fitted.law
    points: list[tuple[float, float]] = []
    for n in sizes:
        left = level - law.E - law.A / n**law.alpha
        # Far above the frame it is cut anyway; without a bound a size that hardly reaches it would need endless tokens.
        if left > law.B / (100 * most) ** law.beta:
            points.append((n, (law.B / left) ** (1 / law.beta)))
    return points
