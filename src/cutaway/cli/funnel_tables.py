"""A crawl's funnel in the terminal, in 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cutaway.cli.plain import plain
from cutaway.cli.sizes import size

RULES, LANGUAGES, DOMAINS, SHOWN = 12, 8, 8, 4
"""Rows that are shown of each."""
WIDTH = 80


def show_funnel(stats: Mapping[str, Any], console: Console) -> None:
    """Print the funnel, what the rules removed with an example of each, and the commonest languages and domains."""
    steps = stats["steps"]
    most = max((flow["documents_in"] for flow in steps.values()), default=0)
    rows = [
        (
            name,
            f"{flow['documents_in']:,}",
            f"{flow['documents_out']:,}",
            "█" * round(12 * flow["documents_out"] / most) if most else "",
            size(flow["bytes_in"]),
            size(flow["bytes_out"]),
        )
        for name, flow in steps.items()
    ]
    _print(console, ("step", "pages in", "out", "left", "in", "out"), rows, left=(0, 3))
    removed = [
        (one["documents"], step, rule, one["sample"])
        for step, rules in stats["removed"].items()
        for rule, one in rules.items()
    ]
    removed.sort(key=lambda row: (-row[0], row[1], row[2]))
    found = [(step, rule, f"{count:,}", *_measured(sample)) for count, step, rule, sample in removed[:RULES]]
    _print(console, ("removed by", "rule", "pages", "one had", "limit"), found, left=(0, 1))
    for _, _, rule, sample in removed[:SHOWN]:
        if sample:
            line = Text(plain(f"{rule}: {sample[0][1]['text']}"), "dim")
            line.truncate(min(WIDTH, console.width), overflow="ellipsis")
            console.print(line, no_wrap=True)
    if removed:
        console.print()
    skipped = [
        (reason, f"{one['documents']:,}", one["sample"][0][1]["where"] if one["sample"] else "")
        for reason, one in sorted(stats["skipped"].items(), key=lambda item: -item[1]["documents"])
    ]
    _print(console, ("could not be read", "records", "such as"), skipped[:RULES], left=(0, 2), folded=(0, 2))
    languages = sorted(stats["languages"].items(), key=lambda item: (-item[1][0], item[0]))[:LANGUAGES]
    shown = [(name, f"{seen:,}", f"{kept:,}", size(kept_bytes)) for name, (seen, kept, kept_bytes) in languages]
    _print(console, ("language", "pages", "kept", "text"), shown)
    domains = [(name, f"{seen:,}", f"{kept:,}", size(held)) for name, seen, kept, held in stats["domains"]["top"]]
    _print(console, ("domain", "pages", "kept", "text"), domains[:DOMAINS])
    clusters = stats["clusters"]
    console.print(f"{stats['documents']:,} documents, {size(stats['bytes'])} of text")
    if clusters and clusters["count"]:
        largest = max(map(int, clusters["sizes"]))
        console.print(f"clusters of near duplicates: {clusters['count']:,}, the largest of {largest:,} pages")


def _measured(sample: Sequence[Any]) -> tuple[str, str]:
    """What was measured of the first page of a sample, and the limit."""
    if not sample:
        return "", ""
    shown = sample[0][1]
    return _figure(shown["value"]), _figure(shown["threshold"])


def _figure(value: float | str) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)[:14]


def _print(
    console: Console,
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    left: Sequence[int] = (0,),
    folded: Sequence[int] = (),
) -> None:
    """A table and an empty line, where there are rows. What pages said is text, never markup or control characters.

    Columns in `folded` take several lines where they must; others are cut.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, heading in enumerate(head):
        justify, fold = "left" if place in left else "right", place in folded
        table.add_column(heading, justify=justify, no_wrap=not fold, overflow="fold" if fold else "ellipsis")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    if table.row_count:
        console.print(table, width=min(WIDTH, console.width))
        console.print()
