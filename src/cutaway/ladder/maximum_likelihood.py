"""Plain counts: the n-gram model that believes its text to be all there is.

    P(w | h) = c(hw) / c(h)

Of all n-gram models this one gives the text that was counted the highest probability: hence maximum likelihood. And any
text with an n-gram that was not counted gets none at all, so its bits per byte on new text are infinite. Of a context
that was never seen plain counts say nothing; then the longest end of it that was is asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cutaway.ladder.backoff import BackOff, Level
from cutaway.ladder.counting import Grams, totals


def maximum_likelihood(grams: Sequence[Grams], vocab_size: int) -> BackOff:
    """The model of n-grams as `cutaway.ladder.counting.count_grams` gives them."""
    levels: list[Level] = []
    for each in grams:
        total = totals(each, len(levels[-1].keys) if levels else 1, vocab_size)
        # All is spent on what was seen: nothing is left for a shorter context to share out.
        levels.append(Level(each.keys, each.counts / total[each.contexts(vocab_size)], np.where(total > 0, 0.0, 1.0)))
    return BackOff(levels, vocab_size)
