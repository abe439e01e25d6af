"""Several runs of one recipe as one table: what each seed gave, and mean and standard deviation over them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

from cutaway.evals.markdown import markdown_table, verdict
from cutaway.evals.measures import STAGES, measure_of, written
from cutaway.evals.targets import Check, Table, checks
from cutaway.runs.results import Result, read_results


def spread_table(reports: Sequence[str | Path]) -> str:
    """Two Markdown tables from several runs' report.json. Raises BadInput for a file that holds no results."""
    return spread([read_results(path) for path in reports])


def spread(runs: Sequence[Sequence[Result]]) -> str:
    """The targets seed by seed, and every figure after every stage, as Markdown.

    A target's verdict is that of the mean, with the number of seeds that hold by themselves. The spread is the sample
    standard deviation.
    """
    return f"{_targets(runs)}\n\n{_figures(runs)}\n"


def all_hold(runs: Sequence[Sequence[Result]]) -> bool:
    """Whether every requirement, goals aside, holds in the mean over the runs."""
    return all(_mean(found).passed for found in _by_name(runs).values() if found[0].kind != "goal")


def _targets(runs: Sequence[Sequence[Result]]) -> str:
    seeds = [next((str(result.seed) for result in run), "?") for run in runs]
    rows: list[list[str]] = []
    for name, found in _by_name(runs).items():
        average = _mean(found)
        values = [written(check.value, check.unit) for check in found]
        held = sum(check.passed for check in found)
        rows.append([name, average.required, *values, _plus_minus([c.value for c in found], average.unit),
                     f"{verdict(average)} ({held} of {len(found)})"])  # fmt: skip
    head = ["Target", "Required", *(f"Seed {seed}" for seed in seeds), "Mean ± s.d.", "Holds"]
    return markdown_table(head, rows)


def _by_name(runs: Sequence[Sequence[Result]]) -> dict[str, list[Check]]:
    """The checks of every run by name, of those that all of the runs have."""
    found: dict[str, list[Check]] = {}
    for run in runs:
        for check in checks(run):
            found.setdefault(check.name, []).append(check)
    return {name: several for name, several in found.items() if len(several) == len(runs)}


def _mean(found: Sequence[Check]) -> Check:
    first = found[0]
    bound = mean(check.bound for check in found)
    return Check(first.name, mean(check.value for check in found), bound, first.unit, first.kind)


def _figures(runs: Sequence[Sequence[Result]]) -> str:
    tables = [Table(run) for run in runs]
    stages = list(dict.fromkeys(stage for table in tables for stage in table.stages))
    metrics = list(dict.fromkeys(metric for table in tables for metric in table.metrics if "/" not in metric))
    rows: list[list[str]] = []
    for metric in metrics:
        cells: list[str] = []
        for stage in stages:
            results = [result for table in tables if (result := table.get(stage, metric))]
            cells.append(_plus_minus([r.value for r in results], results[0].unit) if results else "")
        measure = measure_of(metric)
        rows.append([f"{measure.title}; {measure.note}" if measure.note else measure.title, *cells])
    return markdown_table([f"Held out, mean ± s.d. over {len(runs)} seeds", *(STAGES.get(s, s) for s in stages)], rows)


def _plus_minus(values: Sequence[float], unit: str) -> str:
    average = mean(values)
    if len(values) < 2:
        return written(average, unit)
    spread = stdev(values)
    if unit == "share":
        return f"{average * 100:.1f} ± {spread * 100:.1f}%"
    if unit == "bits/byte":
        return f"{average:.3f} ± {spread:.3f}"
    if unit == "points":
        return f"{average:+.1f} ± {spread:.1f}"
    return f"{written(average, unit)} ± {written(spread, unit)}"
