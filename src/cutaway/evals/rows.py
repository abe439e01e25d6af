"""The results of a run arranged for reading: rows by measure, grouped by what they are about, stages side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cutaway.evals.findings import Findings
from cutaway.evals.measures import GROUPS, MEASURES, Measure, duration, measure_of, written
from cutaway.evals.numbers import short
from cutaway.evals.targets import Table, practised
from cutaway.runs.results import Result


@dataclass(frozen=True)
class ResultRow:
    """One measure in all stages."""

    metric: str
    measure: Measure
    by_stage: Mapping[str, Result]
    target: str
    parts: str = ""

    @property
    def note(self) -> str:
        """What counts, how much was asked, and the parts of the last stage's figure."""
        some = next(iter(self.by_stage.values()))
        asked = f"{some.n / 1e3:,.0f} kB" if some.unit == "bits/byte" else f"{some.n:,} asked"
        return " · ".join(text for text in (self.measure.note, asked, self.parts) if text)


def grouped_rows(table: Table) -> list[tuple[str, list[ResultRow]]]:
    """Rows under their group's name, groups and rows in reading order; parts of a measure are left out."""
    order = {metric: place for place, metric in enumerate(MEASURES)}
    metrics = sorted((m for m in table.metrics if "/" not in m), key=lambda m: order.get(m, len(order)))
    rows = [row for metric in metrics if (row := _row(table, metric))]
    found = [(group, [row for row in rows if row.measure.group == group]) for group in GROUPS]
    return [(group, members) for group, members in found if members]


def _row(table: Table, metric: str) -> ResultRow | None:
    stages = {stage: result for stage in table.line if (result := table.get(stage, metric))}
    if not stages:
        return None
    measure = measure_of(metric)
    target = ""
    if metric == "bits_per_byte":
        # The lowest of what it is compared with is the one to beat.
        target = min((f"< {value:.3f}" for _, value in table.baselines()), default="")
    elif measure.target is not None:
        sign = "≥ " if measure.higher_is_better else "≤ "
        target = f"{sign if measure.target < 1 else ''}{measure.target:.0%}"
    last = list(stages)[-1]
    parts = [
        f"{name.partition('/')[2]} {_briefly(part)}"
        for name in table.metrics
        if name.startswith(f"{metric}/") and (part := table.get(last, name))
    ]
    return ResultRow(metric, measure, stages, target, ", ".join(parts))


def _briefly(result: Result) -> str:
    return f"{result.value:.0%}" if result.unit == "share" else f"{result.value:.2f}"


def last_value(table: Table, metric: str) -> str | None:
    """A measure as the finished model has it, for a person."""
    found = table.get(table.line[-1], metric) if table.line else None
    return written(found.value, found.unit) if found else None


def summary(findings: Findings, table: Table) -> str:
    """The run in two or three sentences, from its own figures."""
    sentences: list[str] = []
    trained = sum(findings.parameters.values())
    read = max((row.get("tokens") or 0 for row in findings.curves.get("pretrain", [])), default=0)
    if trained and findings.seconds:
        took = duration(findings.seconds)
        sentences.append(f"A language model of {short(trained)} parameters, from raw text to assistant in {took}.")
    if read:
        sentences.append(f"It read {short(read)} tokens of text.")
    facts, refused = last_value(table, "facts"), last_value(table, "refused_fresh")
    if facts and refused:
        sentences.append(
            f"Of what it read of its world it answers {facts} right, in words it was not taught with;"
            f" of people who do not exist it says “I don't know” {refused} of the time."
        )
    sums = _from_to(table, practised(table) or "sums_in_steps")
    if sums:
        sentences.append(sums)
    return " ".join(sentences)


def _from_to(table: Table, metric: str) -> str | None:
    before, after = table.value("sft", metric), table.value("rl", metric)
    if before is None or after is None:
        return None
    title = measure_of(metric).title
    return f"{title}: {before:.0%} after fine-tuning, {after:.0%} after reinforcement learning."
