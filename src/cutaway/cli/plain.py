"""Making text that others wrote safe to show in a terminal."""

from __future__ import annotations

import unicodedata


def plain(text: str, *, lines: bool = False) -> str:
    """`text` with control characters, which could move the cursor or set colours, shown as U+FFFD.

    With `lines`, line breaks and tabs stay; without, all white space becomes single spaces.
    """
    if not lines:
        text = " ".join(text.split())
    keep = "\n\t" if lines else ""
    return "".join(c if c in keep or unicodedata.category(c) not in _HARMFUL else "\ufffd" for c in text)


# Control characters, lone surrogates (which no terminal encoding has) and formatting marks that reorder what stands
# around them; zero-width joiners are formatting too, and the price of leaving them out is small.
_HARMFUL = ("Cc", "Cf", "Cs")
