"""The tables of a scaling run's report, as rows of text; the first row of each is its heading."""

from __future__ import annotations

from collections.abc import Sequence

from cutaway.evals.measures import duration
from cutaway.evals.numbers import plain, short
from cutaway.evals.scaling_findings import ScalingFindings
from cutaway.train.scaling_fit import NUMBERS

Rows = Sequence[Sequence[str]]
BUDGETS = (0.1, 1.0, 10.0)
"""Multiples of the held-out run's operations for which the best split is told."""


def outcome_rows(findings: ScalingFindings) -> Rows:
    """What was foretold beside what came of it."""
    foretold, outcome = findings.foretold, findings.outcome
    run = outcome.run
    return [
        ["", "Foretold", "Measured"],
        ["Loss, nats a token", f"{foretold.loss:.3f}", f"{run.loss:.3f}"],
        ["95% interval of the run", between(foretold.interval), "inside" if foretold.holds(run.loss) else "outside"],
        ["95% interval of the law", between(foretold.band), ""],
        ["Bits per byte", "", f"{run.bits_per_byte:.3f}"],
        ["Parameters", f"{foretold.parameters:,}", f"{run.parameters:,}"],
        ["Tokens", f"{foretold.tokens:,}", f"{run.tokens:,}"],
        ["Operations", f"{foretold.flops:.3g}", f"{run.flops:.3g}"],
        ["Against the ladder's largest", f"{foretold.times_largest:.1f} times", ""],
        ["When (UTC)", f"written {moment(foretold.made)}", f"{moment(outcome.began)} to {moment(outcome.finished)}"],
    ]


def law_rows(findings: ScalingFindings) -> Rows:
    """The law's numbers."""
    fitted = findings.fitted
    intervals = fitted.numbers()
    return [
        ["", "Fitted", "95% interval", ""],
        *(
            [
                name,
                number(getattr(fitted.law, name)),
                between(intervals[name]),
                "hardly determined" * (name in fitted.loose),
            ]
            for name in NUMBERS
        ),
    ]


def ladder_rows(findings: ScalingFindings) -> Rows:
    """Every run that the law was fitted to."""
    head = ["Size", "Parameters", "Tokens", "Operations", "Time alone", "Bits per byte", "Loss", "Fitted"]
    rows = [
        [
            run.name,
            f"{run.parameters:,}",
            f"{run.tokens:,}",
            f"{run.flops:.2g}",
            duration(run.seconds),
            f"{run.bits_per_byte:.3f}",
            f"{run.loss:.3f}",
            f"{findings.fitted.law.loss(run.parameters, run.tokens):.3f}",
        ]
        for several in findings.sizes.values()
        for run in several
    ]
    return [head, *rows]


def best_splits(findings: ScalingFindings) -> Rows:
    """The size and length that the law finds best for some numbers of operations."""
    law = findings.fitted.law
    rows = [["Operations (6 N D)", "Parameters", "Tokens", "Tokens a parameter", "Loss"]]
    spent = 6 * findings.outcome.run.parameters * findings.outcome.run.tokens
    for times in BUDGETS:
        best = law.best(times * spent)
        rows.append(
            [
                f"{times * spent:.2g}",
                short(best.parameters),
                short(best.tokens),
                plain(best.tokens / best.parameters),
                f"{law.loss(best.parameters, best.tokens):.3f}",
            ]
        )
    return rows


def between(interval: tuple[float, float]) -> str:
    """An interval, in words."""
    return " to ".join(map(number, interval))


def number(value: float) -> str:
    """A loss or a number of the law: to three places, a large one without any."""
    if 1e-3 <= abs(value) < 100:
        return f"{value:.3f}"
    return f"{value:,.0f}" if 100 <= abs(value) < 1e6 else plain(value)


def moment(time: str) -> str:
    """A time of day out of ISO 8601."""
    return time.partition("T")[2].partition(".")[0].partition("+")[0]
