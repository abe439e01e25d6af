"""A compact notation for many wordings: `[a|b] c` stands for `a c` and `b c`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

_GROUP = re.compile(r"\[([^\]]*)\]")


def expand(pattern: str) -> list[str]:
    """Every text that a pattern stands for, in order; groups do not nest, and an alternative may be empty."""
    pieces = _GROUP.split(pattern)
    choices = [[piece] if i % 2 == 0 else piece.split("|") for i, piece in enumerate(pieces)]
    return [" ".join("".join(parts).split()) for parts in itertools.product(*choices)]


def expand_lines(block: str) -> tuple[str, ...]:
    """Every text that the lines of a block stand for, in order, without repetitions or empty lines."""
    return unique(text for line in block.splitlines() if line.strip() for text in expand(line))


def unique(texts: Iterable[str]) -> tuple[str, ...]:
    """The texts in order, each once."""
    return tuple(dict.fromkeys(texts))
