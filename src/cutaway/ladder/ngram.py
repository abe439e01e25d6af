"""The n-gram language model: interpolated modified Kneser-Ney smoothing.

Chen and Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling" (1998, TR-10-98), section 4.1.6.
Nothing is learned by gradient: the model is counts, and it is the bar that a neural model has to clear.

With a(hw) the count of the n-gram "context h, then token w",

    P(w | h) = (a(hw) - D(a(hw))) / sum_v a(hv)  +  gamma(h) P(w | h without its first token),

where D takes 0, D1, D2 or D3+ as a is 0, 1, 2 or more, and gamma(h) gives back exactly what the discounts took. At the
highest order a is the count itself; below, it is the number of different tokens that come before the n-gram, because a
shorter n-gram is only asked where a longer one failed. Below the single tokens lies the uniform distribution.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cutaway.ladder.backoff import BackOff, Level
from cutaway.ladder.counting import Grams, count_grams, totals
from cutaway.ladder.protocol import Floats, Ints

FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
"""D1, D2, D3+ of an order whose counts are too few to estimate them (the defaults of KenLM's --discount_fallback)."""
Discounts = tuple[float, float, float]


class KneserNey(BackOff):
    """An n-gram model over token ids 0 .. vocab_size - 1. Make it with `KneserNey.fit`."""

    def __init__(self, levels: Sequence[Level], vocab_size: int, discounts: Sequence[Discounts]) -> None:
        super().__init__(levels, vocab_size)
        self.discounts = list(discounts)
        """(D1, D2, D3+) of each order, from single tokens up."""

    @classmethod
    def fit(
        cls,
        sequences: Sequence[npt.ArrayLike],
        order: int = 5,
        *,
        vocab_size: int,
        discounts: Sequence[Discounts] | None = None,
    ) -> KneserNey:
        """Count the n-grams of `sequences` (each the token ids of one document, shape [tokens]) and smooth them.

        No n-gram crosses from one document into the next. Let each document begin with the end-of-text token, so that
        its first word is predicted from that. What stands before a document counts as a token of its own each time;
        n-grams that only begin documents thus keep their plain counts, as is usual for those with a start symbol.

        Args:
            sequences: token ids of each document, any integer type.
            order: length of the longest n-grams.
            vocab_size: ids are below it.
            discounts: instead of estimates from the data, (D1, D2, D3+) of each order, from single tokens up.

        Raises:
            BadInput: there is no token, or one outside the vocabulary.
        """
        return cls.of(count_grams(sequences, order, vocab_size=vocab_size), vocab_size, discounts)

    @classmethod
    def of(cls, grams: Sequence[Grams], vocab_size: int, discounts: Sequence[Discounts] | None = None) -> KneserNey:
        """The model of n-grams that are counted already, from single tokens up."""
        levels: list[Level] = []
        used: list[Discounts] = []
        shorter = np.full(vocab_size, 1.0 / vocab_size)  # what a level falls back on, by suffix: first the uniform
        for length, each in enumerate(grams, start=1):
            counts = each.counts if length == len(grams) else each.continuations
            used.append(_estimate_discounts(counts) if discounts is None else discounts[length - 1])
            contexts = len(levels[-1].keys) if levels else 1
            levels.append(_smooth(each, counts, used[-1], contexts, vocab_size, shorter))
            shorter = levels[-1].probability
        return cls(levels, vocab_size, used)


def _estimate_discounts(counts: Ints) -> Discounts:
    """D1, D2, D3+ from the numbers of n-grams that occur once, twice, three and four times ."""
    n1, n2, n3, n4 = (int(np.count_nonzero(counts == times)) for times in (1, 2, 3, 4))
    if not (n1 and n2 and n3 and n4):
        return FALLBACK_DISCOUNTS
    share = n1 / (n1 + 2 * n2)
    found = (1 - 2 * share * n2 / n1, 2 - 3 * share * n3 / n2, 3 - 4 * share * n4 / n3)
    # Small or strange data can ask to take more than there is, or less than nothing.
    return found if all(0 < value < limit for limit, value in enumerate(found, start=1)) else FALLBACK_DISCOUNTS


def _smooth(grams: Grams, counts: Ints, discounts: Discounts, contexts: int, vocab_size: int, shorter: Floats) -> Level:
    """The level of one length, whose p is the interpolated probability: of what was seen, gamma's part is in it."""
    taken = np.array([0.0, *discounts])[np.minimum(counts, 3)]
    context = grams.contexts(vocab_size)
    total = totals(grams, contexts, vocab_size, counts)
    followed = total > 0
    gamma = np.divide(totals(grams, contexts, vocab_size, taken), total, out=np.ones(contexts), where=followed)
    own = np.divide(counts - taken, total[context], out=np.zeros(len(counts)), where=followed[context])
    return Level(grams.keys, own + gamma[context] * shorter[grams.suffix], gamma)
