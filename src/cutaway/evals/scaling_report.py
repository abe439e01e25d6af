"""The report of a scaling run: report.json with every figure, report.md and report.html for people."""

from __future__ import annotations

from dataclasses import asdict

from cutaway.evals.markdown import cell, markdown_table
from cutaway.evals.measures import duration
from cutaway.evals.scaling_findings import (
    ScalingFindings,
    gather_scaling,
    law_in_words,
    notes_on_fit,
    results_of,
    spread_without_embeddings,
    summary_of,
)
from cutaway.evals.scaling_page import scaling_page
from cutaway.evals.scaling_tables import Rows, best_splits, ladder_rows, law_rows, outcome_rows
from cutaway.runs import RunDirectory, atomic, write_results


def write_scaling_report(run: RunDirectory) -> None:
    """Write report.json, report.md and report.html of a finished scaling run into it."""
    findings = gather_scaling(run)
    others = {
        "run": findings.run.name,
        "law": asdict(findings.fitted.law) | {"intervals_95": findings.fitted.numbers()},
        "hardly_determined": findings.fitted.loose,
        "spread_of_runs": findings.fitted.spread,
        "spread_without_embeddings": spread_without_embeddings(findings),
        "prediction": asdict(findings.foretold),
        "outcome": asdict(findings.outcome),
        "ladder": [asdict(each) for each in findings.ladder],
        "stages": [asdict(time) for time in findings.run.times],
    }
    write_results(run.path / "report.json", results_of(findings), others)
    atomic.write_text(run.path / "report.md", markdown_of(findings))
    atomic.write_text(run.path / "report.html", scaling_page(findings))


def markdown_of(findings: ScalingFindings) -> str:
    """report.md."""
    times = [(time.name, duration(time.seconds)) for time in findings.run.times]
    parts = [
        f"# The scaling law of {cell(findings.run.name)}",
        summary_of(findings),
        "## Foretold and measured",
        table(outcome_rows(findings)),
        "## The law",
        f"{law_in_words(findings)}, in nats a token, for N parameters and D tokens.",
        table(law_rows(findings)),
        " ".join(notes_on_fit(findings)),
        "## The ladder",
        table(ladder_rows(findings)),
        "## The best split",
        table(best_splits(findings)),
        "## Time",
        markdown_table(["Stage", "Time"], [*times, ("All", duration(findings.run.seconds))]),
        "`cutaway plan --fit law.json` plans with this law.",
    ]
    return "\n\n".join(parts) + "\n"


def table(rows: Rows) -> str:
    """Rows as a Markdown table, the first of them its heading."""
    return markdown_table(rows[0], rows[1:])
