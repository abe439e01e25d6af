"""The few pieces of HTML that the report is put together from.

Arguments named ``html`` are markup already; all others are text and are escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources

NOTHING = '<span class="none">·</span>'
"""What stands in a cell that has no value."""


def style() -> str:
    """What pages and drawings look like, as CSS."""
    return resources.files("cutaway.evals").joinpath("report.css").read_text(encoding="utf-8")


def page(title: str, parts_html: Iterable[str]) -> str:
    """A whole page, without script or outside resources."""
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style()}</style>"
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{"".join(parts_html)}</body></html>\n'


def header(about: Sequence[str], title_html: str, lede: str, tiles: Iterable[tuple[str, str | None]]) -> str:
    """The top of a page: on what and how it was made, its title, a summary and the largest figures, those there are."""
    kicker = "<b>Cutaway</b>" + "".join(f"<span>{escape(text)}</span>" for text in about)
    shown = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in tiles if value)
    return (
        f'<header><p class="kicker">{kicker}</p><h1>{title_html}</h1>'
        + (f'<p class="lede">{escape(lede)}</p>' if lede else "")
        + (f'<dl class="figures">{shown}</dl>' if shown else "")
        + "</header>"
    )


def charts(drawn_html: Sequence[str]) -> str:
    """Drawings beside and below each other; nothing, without any."""
    return f'<div class="charts">{"".join(drawn_html)}</div>' if drawn_html else ""


def section(title: str, notes: Sequence[str], html: str) -> str:
    """A part of the page with its title and notes in the margin; nothing, where there is nothing to show."""
    if not html:
        return ""
    margin = "".join(f"<p>{escape(note)}</p>" for note in notes if note)
    return (
        f'<section><div class="margin"><h2>{escape(title)}</h2>{margin}</div><div class="main">{html}</div></section>'
    )


def table(head_html: Sequence[str], rows_html: Iterable[str]) -> str:
    """A table that scrolls sideways where it must; nothing, without rows."""
    body = "".join(rows_html)
    if not body:
        return ""
    head = "".join(cell if cell.startswith("<th") else f"<th>{cell}</th>" for cell in head_html)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def row(cells_html: Iterable[str], kind: str = "") -> str:
    """A row of a table."""
    cells = "".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in cells_html)
    return f'<tr class="{kind}">{cells}</tr>' if kind else f"<tr>{cells}</tr>"


def with_note(text: str, note: str) -> str:
    """Text with a smaller line below it."""
    return escape(text) + (f"<small>{escape(note)}</small>" if note else "")


def bar(share: float) -> str:
    """A cell with a bar as long as a share (0 to 1) of it."""
    return f'<td class="bar"><i style="width:{100 * share:.1f}%"></i></td>'


def said(text: str) -> str:
    """A model's or a corpus's own words: escaped, and each control character shown as the replacement character."""
    return escape("".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text))
