"""How likely each token of a text was, and what else could have stood there, as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from cutaway.cli.probabilities import percent, shown, style_of
from cutaway.infer import Step
from cutaway.tokens import Tokenizer


def logprob_table(steps: Sequence[Step], tokenizer: Tokenizer) -> Table:
    """Token by token: the natural logarithm of its probability, the probability, and the alternatives."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("token")
    table.add_column("log p", justify="right")
    table.add_column("p", justify="right")
    table.add_column("likeliest here", overflow="ellipsis", no_wrap=True)
    for step in steps:
        others = Text()
        for token, probability in step.alternatives:
            others.append(shown(token, tokenizer)).append(f" {percent(probability)}   ", "dim")
        probability = percent(math.exp(step.logprob))
        table.add_row(Text(shown(step.token, tokenizer), style_of(step)), f"{step.logprob:.3f}", probability, others)
    return table
