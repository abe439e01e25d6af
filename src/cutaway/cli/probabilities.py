"""Showing how sure a model was of each token it wrote."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from cutaway.infer import Step
from cutaway.tokens import Tokenizer

LEAST_SURE = 5
"""Tokens in the table below an answer."""
SURE = 0.95
"""From this probability on a token is not worth a place in that table."""

# Colours that every terminal has, from sure to surprised. The least probability of each.
_COLOURS = ((0.9, "green"), (0.5, "cyan"), (0.2, "yellow"), (0.05, "red"), (0.0, "bold reverse red"))

LEGEND = Text("how sure of each token: ", "dim")
for _least, _style in _COLOURS:
    LEGEND.append(f"{_least:.0%}+" if _least else "less", _style).append("  ")


def style_of(step: Step) -> str:
    """The colour of a token by its probability."""
    probability = math.exp(step.logprob)
    return next(style for least, style in _COLOURS if probability >= least)


def least_sure(steps: Sequence[Step], tokenizer: Tokenizer) -> Group | Text:
    """The tokens the model was least sure of, in the order it wrote them, with what else it could have written."""
    unsure = [(step.logprob, place, step) for place, step in enumerate(steps) if math.exp(step.logprob) < SURE]
    unsure = sorted(unsure, key=lambda item: item[0])[:LEAST_SURE]
    if not unsure:
        return Text(f"every token was at least {SURE:.0%} likely", "dim")
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("least sure of")
    table.add_column("", justify="right")
    table.add_column("could have been", overflow="ellipsis", no_wrap=True)
    for _, _, step in sorted(unsure, key=lambda item: item[1]):
        others = Text()
        for token, probability in step.alternatives:
            if token != step.token:
                others.append(shown(token, tokenizer)).append(f" {percent(probability)}   ", "dim")
        chosen = Text(shown(step.token, tokenizer), style_of(step))
        table.add_row(chosen, percent(math.exp(step.logprob)), others)
    return Group(Text(""), table)


def shown(token: int, tokenizer: Tokenizer) -> str:
    """A token in quotes, with white space and parts of characters made visible."""
    raw = tokenizer.token_bytes(token)
    try:
        # json and repr would both escape more than a reader wants; repr keeps letters of every script.
        return repr(raw.decode("utf-8"))
    except UnicodeDecodeError:
        return repr(raw)


def percent(probability: float) -> str:
    """A probability, with the digits that matter."""
    return "<0.1%" if probability < 0.001 else f"{probability:.1%}" if probability < 0.1 else f"{probability:.0%}"
