"""report.md: the report's tables, for a terminal or a README."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cutaway.evals.findings import Findings
from cutaway.evals.intervals import wilson
from cutaway.evals.measures import STAGES, duration, written
from cutaway.evals.numbers import short
from cutaway.evals.rows import grouped_rows, summary
from cutaway.evals.targets import Check, Table, checks
from cutaway.runs.results import Result


def markdown_page(findings: Findings) -> str:
    """The whole report."""
    table = Table(findings.results)
    parts = [
        f"# What {cell(findings.name)} learned",
        summary(findings, table),
        _section("Targets", _checks(checks(findings.results))),
        _section("Before and after each stage", _results(table)),
        _section("What it read", _sources(findings)),
        _section("The model", _parameters(findings)),
        _section("From noise to language", _samples(findings)),
        _section("Time and memory", _times(findings)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int = 1) -> str:
    """A table with its first columns to the left and the others to the right."""
    lines = ["| " + " | ".join(head) + " |"]
    lines.append("|" + "|".join("---" if i < text_columns else "---:" for i in range(len(head))) + "|")
    lines += ["| " + " | ".join(cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def cell(text: str) -> str:
    """Text that cannot end its cell or line, open a tag, or steer a terminal."""
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split()))
    return line.replace("|", "\\|").replace("<", "&lt;")


def verdict(check: Check) -> str:
    """How a check ended, in a word."""
    if check.kind == "goal":
        return "reached" if check.passed else "not reached"
    return "✓" if check.passed else "✗"


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body else ""


def _checks(found: Sequence[Check]) -> str:
    if not found:
        return ""
    rows = [
        (f"{c.name} ({c.note})" if c.note else c.name, written(c.value, c.unit), c.required, verdict(c)) for c in found
    ]
    return markdown_table(["Requirement", "Measured", "Required", "Holds"], rows)


def _results(table: Table) -> str:
    stages = table.line
    if not stages:
        return ""
    rows: list[list[str]] = []
    for _, members in grouped_rows(table):
        for row in members:
            note = f"{row.measure.title}; {row.measure.note}" if row.measure.note else row.measure.title
            some = next(iter(row.by_stage.values()))
            rows.append([note, f"{some.n:,}", *(_value(row.by_stage.get(stage)) for stage in stages), row.target])
    head = ["Held out", "n", *(STAGES.get(stage, stage) for stage in stages), "Target"]
    return markdown_table(head, rows) + "\n\nIn brackets: the 95% interval (Wilson) of a share."


def _value(result: Result | None) -> str:
    if result is None:
        return ""
    if result.unit != "share":
        return written(result.value, result.unit)
    low, high = wilson(result.value, result.n)
    return f"{written(result.value, 'share')} ({low * 100:.0f}–{high * 100:.0f})"


def _sources(findings: Findings) -> str:
    if not findings.sources:
        return ""
    rows = [
        (s.name, f"{s.documents:,}", f"{s.bytes / 1e6:.2f}", f"{s.heldout_bytes / 1e3:.0f}") for s in findings.sources
    ]
    return markdown_table(["Source", "Documents", "MB to train on", "kB held out"], rows)


def _parameters(findings: Findings) -> str:
    if not findings.parameters:
        return ""
    total = sum(findings.parameters.values())
    rows = [(part, f"{n:,}") for part, n in sorted(findings.parameters.items(), key=lambda item: -item[1])]
    return markdown_table(["Part", "Parameters"], [*rows, ("All", f"{total:,}")])


def _samples(findings: Findings) -> str:
    rows = findings.samples.get("pretrain", [])
    if not rows:
        return ""
    shown = [
        (short(float(row.get("tokens") or row.get("step") or 0)), f"{row.get('prompt', '')}{row.get('text', '')}")
        for row in rows
    ]
    unit = "Tokens read" if "tokens" in rows[0] else "Step"
    return markdown_table([unit, "What it wrote"], [(when, text) for when, text in shown], text_columns=2)


def _times(findings: Findings) -> str:
    if not findings.times:
        return ""
    rows = [
        (t.name.replace("_", " "), duration(t.seconds), written(t.peak_memory, "bytes") if t.peak_memory else "")
        for t in findings.times
    ]
    memory = written(findings.peak_memory, "bytes") if findings.peak_memory else ""
    return markdown_table(["Stage", "Time", "Peak memory"], [*rows, ("All", duration(findings.seconds), memory)])
