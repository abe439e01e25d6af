"""How the help of every verb begins."""

from __future__ import annotations

from rich.markup import escape


def with_example(example: str, text: str) -> str:
    """The help of a verb: an example of its use, then what it does (line breaks in `text` do not matter)."""
    return f"Example: [bold]{escape(example)}[/]\n\n{' '.join(text.split())}"
