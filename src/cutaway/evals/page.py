"""report.html: one file without script or outside resources, for screen (light and dark) and for paper.

Whatever a model or a corpus said is escaped: it is data here, never markup.
"""

from __future__ import annotations

from html import escape

from cutaway.evals import page_making, page_results
from cutaway.evals.findings import Findings
from cutaway.evals.markup import header, page
from cutaway.evals.measures import duration, written
from cutaway.evals.numbers import short
from cutaway.evals.rows import last_value, summary
from cutaway.evals.targets import Table


def html_page(findings: Findings) -> str:
    """The whole page."""
    results = Table(findings.results)
    body = [
        _header(findings, results),
        page_results.targets(findings),
        page_results.stages(results),
        page_results.refusals(results),
        page_making.corpus(findings),
        page_making.shape(findings),
        page_making.pretraining(findings, results),
        page_making.samples(findings),
        page_making.fine_tuning(findings),
        page_making.reinforcement(findings),
        page_results.examples(findings),
        page_making.times(findings),
        page_making.recipe(findings),
        "<footer>Drawn from report.json by <code>cutaway</code>. Intervals are 95% (Wilson 1927).</footer>",
    ]
    return page(f"{findings.name}: report", body)


def _header(findings: Findings, results: Table) -> str:
    tiles = [
        ("Parameters", short(sum(findings.parameters.values())) if findings.parameters else None),
        ("Time, raw text to assistant", duration(findings.seconds) if findings.seconds else None),
        ("Peak memory", written(findings.peak_memory, "bytes") if findings.peak_memory else None),
        ("Bits per byte, held out", last_value(results, "bits_per_byte")),
        ("Facts it read, answered", last_value(results, "facts")),
    ]
    title = f"What <em>{escape(findings.name)}</em> learned"
    return header([findings.machine, f"seed {findings.seed}"], title, summary(findings, results), tiles)
