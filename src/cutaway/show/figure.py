"""A figure as a notebook takes it: a document of its own in a frame, which needs nothing from elsewhere."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cutaway.runs import CutawayError

WEB = Path(__file__).parent / "web"
MOST_ROWS = 64
"""Of the table that stands where no script runs."""
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"
"""The figure asks nobody for anything."""


@dataclass(frozen=True)
class Figure:
    """What a figure draws. A notebook shows it when it is the value of a cell."""

    given: dict[str, Any]
    """What web/src/notebook/figure.ts describes."""
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    """The same numbers as a table, for where no script runs."""
    height: int
    """Pixels; the frame can be drawn larger."""

    def document(self) -> str:
        """The whole figure as an HTML document.

        Raises:
            CutawayError: the page was not built.
        """
        script, style = _bundle()
        # A text in the data, such as a token, must not end the element that it stands in.
        data = json.dumps(self.given, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
        title = html.escape(self.given["title"])
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
            f'<meta name="color-scheme" content="light dark"><style>{style}</style></head>'
            f'<body><main id="figure">{self._table()}</main><script type="application/json" id="given">{data}</script>'
            f'<script type="module">{script}</script></body></html>'
        )

    def _repr_html_(self) -> str:
        # Without allow-same-origin, what runs in the frame can reach neither the notebook nor its cookies.
        return (
            f'<iframe sandbox="allow-scripts" title="{html.escape(self.given["title"])}" '
            f'style="width: 100%; height: {self.height}px; border: 0; resize: vertical" '
            f'srcdoc="{html.escape(self.document())}"></iframe>'
        )

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/html": self._repr_html_(), "text/plain": str(self)}

    def __str__(self) -> str:
        lines = ["\t".join(row) for row in (self.head, *self.rows[:MOST_ROWS])]
        return "\n".join((self.given["title"], *lines))

    def _table(self) -> str:
        def row(cells: Sequence[str], kind: str) -> str:
            return "<tr>" + "".join(f"<{kind}>{html.escape(cell)}</{kind}>" for cell in cells) + "</tr>"

        body = "".join(row(cells, "td") for cells in self.rows[:MOST_ROWS])
        caption = html.escape(self.given["title"])
        return f"<table><caption>{caption}</caption><thead>{row(self.head, 'th')}</thead><tbody>{body}</tbody></table>"


@cache
def _bundle() -> tuple[str, str]:
    try:
        script, style = ((WEB / f"notebook.{kind}").read_text("utf-8") for kind in ("js", "css"))
    except OSError:
        raise CutawayError(
            "the figures are not built; install the package from its source (pip install .), which builds them"
        ) from None
    return script.replace("</script", "<\\/script"), style
