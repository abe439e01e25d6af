"""The report of a crawl: report.json with every figure, report.md and report.html for people.

Whatever a page of the crawl says is escaped: it is data here, never markup.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from cutaway.corpus.crawl import STATS
from cutaway.evals import page_making
from cutaway.evals.findings import Findings, gather
from cutaway.evals.markdown import cell, markdown_table
from cutaway.evals.markup import bar, charts, header, page, row, said, section, table
from cutaway.evals.measures import duration
from cutaway.evals.plates import bars
from cutaway.runs import BadInput, Result, RunDirectory, atomic, write_results

TITLES: dict[str, str] = {
    "read": "Read",
    "url_filter": "URL filter",
    "extraction": "Text extraction",
    "language": "Language",
    "gopher_repetition": "Gopher repetition",
    "gopher_quality": "Gopher quality",
    "c4": "C4",
    "fineweb": "FineWeb",
    "quality": "Quality classifier",
    "minhash": "Near duplicates",
    "repeated_lines": "Repeated lines",
    "pii": "Personal data",
    "decontamination": "Decontamination",
}
TOP = 25
"""Rows of a table of languages or rules."""
SHOWN = 3
"""Samples of a rule on the page; report.json has all."""

Stats = Mapping[str, Any]


def read_stats(run: Path) -> dict[str, Any]:
    """What a crawl's corpus stage counted. Raises `BadInput` where there is none, or it is damaged."""
    path = run / "corpus" / STATS
    try:
        found = json.loads(path.read_bytes())
        steps_of(found)
        return found
    except OSError:
        raise BadInput(f"{run} has no corpus yet; make one: cutaway corpus build PATH --out {run}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{path} is damaged ({error}); remove it and build the corpus again") from None


def steps_of(stats: Stats) -> list[tuple[str, str, int, int, int, int]]:
    """Each step's name and title, documents and bytes in, documents and bytes out; in order."""
    sizes = ("documents_in", "bytes_in", "documents_out", "bytes_out")
    found: list[tuple[str, str, int, int, int, int]] = []
    for name, flow in stats["steps"].items():
        came, bytes_in, went, bytes_out = (flow[size] for size in sizes)
        found.append((name, TITLES.get(str(name), str(name)), came, bytes_in, went, bytes_out))
    return found


def rules_of(stats: Stats) -> list[tuple[str, str, int, int, list[dict[str, Any]]]]:
    """Each rule that removed something: step, rule, documents, bytes, samples; by step, most documents first."""
    found: list[tuple[str, str, int, int, list[dict[str, Any]]]] = []
    for step in stats["steps"]:
        rules = stats["removed"].get(step, {})
        for rule, one in sorted(rules.items(), key=lambda item: (-item[1]["documents"], item[0])):
            found.append((step, rule, one["documents"], one["bytes"], [shown for _, shown in one["sample"]]))
    return found


def write_crawl_report(run: RunDirectory, tokens: Mapping[str, Any] | None) -> None:
    """Write report.json, report.md and report.html of a finished crawl; `tokens` as `count_tokens` gives them."""
    findings, stats = gather(run), read_stats(run.path)
    results = [*results_of(stats, tokens, findings.seed), *findings.results]
    times = [{"name": time.name, "seconds": time.seconds} for time in findings.times]
    write_results(run.path / "report.json", results, {"run": findings.name, **stats, "tokens": tokens, "stages": times})
    atomic.write_text(run.path / "report.md", markdown_of(findings, stats, tokens))
    atomic.write_text(run.path / "report.html", page_of(findings, stats, tokens))


def results_of(stats: Stats, tokens: Mapping[str, Any] | None, seed: int) -> list[Result]:
    """The funnel as results like any other."""
    rows = [("documents_kept", stats["documents"], "documents"), ("bytes_kept", stats["bytes"], "bytes")]
    if tokens:
        rows.append(("tokens", tokens["tokens"], "tokens"))
    read = stats["steps"]["read"]["documents_in"]
    found = [
        Result("corpus", name, float(value), unit, read, seed, higher_is_better=True) for name, value, unit in rows
    ]
    for name, _, came, _, went, _ in steps_of(stats):
        share = went / came if came else 1.0
        found.append(Result("corpus", f"passed/{name}", share, "share", came, seed, higher_is_better=True))
    return found


def summary_of(stats: Stats) -> str:
    """The run in a few sentences."""
    read, inputs = stats["steps"]["read"]["documents_in"], stats["inputs"]
    skipped = sum(one["documents"] for one in stats["skipped"].values())
    text = (
        f"Of {read:,} pages in {inputs['files']:,} files {stats['documents']:,} became documents: "
        f"{stats['bytes'] / 1e6:,.2f} MB of text."
    )
    worst = max(
        ((came - went, title) for _, title, came, _, went, _ in steps_of(stats)),
        default=(0, ""),
        key=lambda one: one[0],
    )
    if worst[0]:
        text += f" {worst[1]} took the most, {worst[0]:,}."
    if skipped:
        text += f" What could not be read or broke a step: {skipped:,}."
    return text


def funnel_rows(stats: Stats) -> list[list[str]]:
    """The funnel as rows of text."""
    return [
        [
            title,
            f"{came:,}",
            f"{went:,}",
            f"{went / came:.1%}" if came else "",
            f"{bytes_in / 1e6:,.2f}",
            f"{bytes_out / 1e6:,.2f}",
        ]
        for _, title, came, bytes_in, went, bytes_out in steps_of(stats)
    ]


FUNNEL_HEAD = ["Step", "Pages in", "Out", "Passed", "MB in", "MB out"]


def language_rows(stats: Stats) -> list[list[str]]:
    """The commonest languages: pages identified, in the corpus, kB in the corpus."""
    rows = sorted(stats["languages"].items(), key=lambda item: (-item[1][0], item[0]))[:TOP]
    return [[name, f"{seen:,}", f"{kept:,}", f"{size / 1e3:,.1f}"] for name, (seen, kept, size) in rows]


def domain_rows(stats: Stats) -> list[list[str]]:
    """The domains of most documents: pages read, in the corpus, kB in the corpus."""
    return [
        [name, f"{seen:,}", f"{kept:,}", f"{size / 1e3:,.1f}"] for name, seen, kept, size in stats["domains"]["top"]
    ]


def markdown_of(findings: Findings, stats: Stats, tokens: Mapping[str, Any] | None) -> str:
    """report.md."""
    counted = [f"{tokens['tokens']:,} tokens." if tokens else ""]
    rules = [(TITLES.get(step, step), rule, f"{count:,}") for step, rule, count, _, _ in rules_of(stats)]
    skipped = [(reason, f"{one['documents']:,}") for reason, one in stats["skipped"].items()]
    sections = [
        ("The funnel", FUNNEL_HEAD, funnel_rows(stats), 1),
        ("What each rule removed", ["Step", "Rule", "Pages"], rules, 2),
        ("What could not be read", ["Reason", "Records"], skipped, 1),
        ("Languages", ["Language", "Pages", "Kept", "kB kept"], language_rows(stats), 1),
        ("Domains", ["Domain", "Pages", "Kept", "kB kept"], domain_rows(stats)[:TOP], 1),
        ("Lengths", ["Characters", "Documents"], [(k, f"{v:,.0f}") for k, v in lengths(stats["lengths"]).items()], 1),
    ]
    parts = [f"# The corpus of {cell(findings.name)}", summary_of(stats), *counted]
    parts += [
        f"## {title}\n\n{markdown_table(head, rows, text_columns=texts)}"
        for title, head, rows, texts in sections
        if rows
    ]
    times = [(time.name, duration(time.seconds)) for time in findings.times]
    parts.append(f"## Time\n\n{markdown_table(['Stage', 'Time'], times)}")
    return "\n\n".join(part for part in parts if part) + "\n"


def lengths(powers: Mapping[str, int]) -> dict[str, float]:
    """A histogram over powers of two, each named by its range."""
    if not powers:
        return {}
    numbers = {int(power): count for power, count in powers.items()}
    return {f"{2**p:,} to {2 ** (p + 1) - 1:,}": numbers.get(p, 0) for p in range(min(numbers), max(numbers) + 1)}


def page_of(findings: Findings, stats: Stats, tokens: Mapping[str, Any] | None) -> str:
    """report.html."""
    tiles = [
        ("Pages read", f"{stats['steps']['read']['documents_in']:,}"),
        ("Documents", f"{stats['documents']:,}"),
        ("Text", f"{stats['bytes'] / 1e6:,.1f} MB"),
        ("Tokens", f"{tokens['tokens']:,}" if tokens else None),
        ("Time", duration(findings.seconds) if findings.seconds else None),
    ]
    title = f"The corpus of <em>{escape(findings.name)}</em>"
    body = [
        header([findings.machine], title, summary_of(stats), tiles),
        _funnel(stats),
        _rules(stats),
        _skipped(stats),
        _languages(stats),
        _domains(stats),
        _lengths(stats, tokens),
        _clusters(stats),
        page_making.times(findings),
        page_making.recipe(findings),
        "<footer>Drawn by <code>cutaway</code>. Samples are those pages whose ids hash lowest.</footer>",
    ]
    return page(f"{findings.name}: corpus", body)


def funnel_drawing(stats: Stats) -> str:
    """The documents after each step as bars."""
    return bars({title: went for _, title, _, _, went, _ in steps_of(stats)}, "Pages that are left after each step")


def _funnel(stats: Stats) -> str:
    notes = ["A page counts with its HTML's bytes until its text has been taken out of that, then with its text's."]
    return section("The funnel", notes, charts([funnel_drawing(stats)]) + _table(FUNNEL_HEAD, funnel_rows(stats)))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return table([escape(name) for name in head], (row(said(text) for text in cells) for cells in rows))


def _rules(stats: Stats) -> str:
    rules = rules_of(stats)
    if not rules:
        return ""
    most = max(count for _, _, count, _, _ in rules)
    # One table, so that its bars begin at one place and can be compared.
    cells = (row([_rule(step, rule), bar(count / most), f"{count:,}"]) for step, rule, count, _, _ in rules)
    parts = [table(["Rule", "", "Pages"], cells)]
    for step in dict.fromkeys(step for step, *_ in rules):
        of_step = [one for one in rules if one[0] == step]
        items = "".join(_sample(rule, shown) for _, rule, _, _, samples in of_step for shown in samples[:SHOWN])
        summary = f"Some that went by {escape(TITLES.get(step, step))}"
        parts.append(f'<details><summary>{summary}</summary><ol class="samples">{items}</ol></details>')
    notes = [
        "A page goes by the first rule that it breaks.",
        "Below the table: pages, what was measured, and the limit.",
    ]
    return section("What was removed", notes, "".join(parts))


def _rule(step: str, rule: str) -> str:
    return f'<td class="where">{said(rule)}<small>{escape(TITLES.get(step, step))}</small></td>'


def _sample(rule: str, shown: Mapping[str, Any]) -> str:
    when = f"{said(rule)}<br>{said(str(shown['value']))} / {said(str(shown['threshold']))}"
    where = said(str(shown["url"] or shown["id"]))
    quote = f'<blockquote><span class="prompt">{where} </span>{said(shown["text"])}</blockquote>'
    return f'<li><div class="when">{when}</div>{quote}</li>'


def _skipped(stats: Stats) -> str:
    rows = [
        row(
            [
                said(reason),
                f"{one['documents']:,}",
                f'<td class="text where">{said(str(one["sample"][0][1]["where"])) if one["sample"] else ""}</td>',
            ]
        )
        for reason, one in sorted(stats["skipped"].items(), key=lambda item: -item[1]["documents"])
    ]
    head = ["Reason", "Records", '<th class="text">Such as</th>']
    return section("What could not be read", ["The run went on after it."], table(head, rows))


def _languages(stats: Stats) -> str:
    rows = language_rows(stats)
    if not rows:
        return ""
    seen = {name: counts[0] for name, counts in stats["languages"].items()}
    drawn = bars({name: seen[name] for name, *_ in rows[:12]}, "Pages by language")
    head = ["Language", "Pages", "Kept", "kB kept"]
    return section("Languages", ["Of every page that had text."], charts([drawn]) + _table(head, rows))


def _domains(stats: Stats) -> str:
    notes = [f"{stats['domains']['count']:,} in all."]
    rows = (row([f'<td class="where">{said(name)}</td>', *counts]) for name, *counts in domain_rows(stats)[:TOP])
    return section("Domains", notes, table(["Domain", "Pages", "Kept", "kB kept"], rows))


def _lengths(stats: Stats, tokens: Mapping[str, Any] | None) -> str:
    drawn = [bars(lengths(stats["lengths"]), "Documents by characters")] if stats["lengths"] else []
    if tokens and tokens["lengths"]:
        drawn.append(bars(lengths(tokens["lengths"]), "Documents by tokens"))
    return section("Lengths", [], charts(drawn))


def _clusters(stats: Stats) -> str:
    clusters = stats["clusters"]
    if not clusters or not clusters["count"]:
        return ""
    sizes = clusters["sizes"]
    drawn = bars({f"of {size} pages": count for size, count in list(sizes.items())[:12]}, "Clusters by size")
    parts = [charts([drawn])]
    for one in clusters["to_read"]:
        items = "".join(
            f'<li><div class="when">{said(str(shown["url"] or shown["id"])[:60])}</div>'
            f"<blockquote>{said(shown['text'])}</blockquote></li>"
            for shown in one["pages"]
        )
        parts.append(
            f'<details><summary>{one["size"]:,} pages alike</summary><ol class="samples">{items}</ol></details>'
        )
    return section("Near duplicates", [f"In all {clusters['count']:,}; of each, one page stays."], "".join(parts))
