"""The report of a run: report.json with every result, report.md and report.html for people."""

from __future__ import annotations

from dataclasses import asdict

from cutaway.evals.findings import Findings, gather
from cutaway.evals.markdown import markdown_page
from cutaway.evals.page import html_page
from cutaway.evals.targets import checks
from cutaway.runs import atomic
from cutaway.runs.directory import RunDirectory
from cutaway.runs.results import write_results


def write_report(run: RunDirectory) -> Findings:
    """Gather what the run's stages left behind and write report.json, report.md and report.html into it.

    Works on a run at any point: what has not been made yet is left out. Raises BadInput where the manifest or a
    stage's results cannot be read.
    """
    findings = gather(run)
    others = {
        "run": findings.name,
        "parameters": dict(findings.parameters),
        "stages": [asdict(time) for time in findings.times],
        "checks": [{**asdict(check), "passed": check.passed} for check in checks(findings.results)],
    }
    write_results(run.path / "report.json", findings.results, others)
    atomic.write_text(run.path / "report.md", markdown_page(findings))
    atomic.write_text(run.path / "report.html", html_page(findings))
    return findings
