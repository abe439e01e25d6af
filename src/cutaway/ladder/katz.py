"""Katz's back-off: what was seen gives up a little, and the unseen shares it as a shorter context would.

Katz, "Estimation of Probabilities from Sparse Data for the Language Model Component of a Speech Recognizer" (1987).

    P(w | h) = d(r) r / c(h)                                   if r = c(hw) > 0
    P(w | h) = b(h) P(w | h without its first token)           if r = 0

How much to give up, Good and Turing say (Good 1953). Let n_r be how many n-grams occur exactly r times. Had the text
been drawn anew, those seen r times would on average be seen

    r* = (r + 1) n_{r+1} / n_r

times, and those never seen n_1 times in all. Counts above k (Katz takes 5) are believed as they are; the others are
multiplied by

    d(r) = (r* / r - u) / (1 - u)        with u = (k + 1) n_{k+1} / n_1,

the only choice that is in proportion to Good and Turing's own discounts, and still frees just n_1 in all. b(h) is then
whatever makes the distribution after h sum to 1. Unlike Kneser-Ney, the shorter context is an n-gram model of the
plain counts, and it speaks only where the longer is silent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cutaway.ladder.backoff import BackOff, Level
from cutaway.ladder.counting import Grams, totals
from cutaway.ladder.protocol import Floats, Ints

K = 5
"""Counts above this one are reliable enough not to be discounted."""


def katz(grams: Sequence[Grams], vocab_size: int) -> BackOff:
    """The model of n-grams as `cutaway.ladder.counting.count_grams` gives them."""
    levels: list[Level] = []
    shorter = np.full(vocab_size, 1.0 / vocab_size)  # P of each n-gram's suffix: below single tokens, the uniform
    for each in grams:
        levels.append(_discounted(each, len(levels[-1].keys) if levels else 1, vocab_size, shorter))
        shorter = levels[-1].probability
    return BackOff(levels, vocab_size)


def good_turing(occurring: Sequence[int]) -> list[float]:
    """r* for r = 1, 2, ..., from n_1, n_2, ..., which must not be 0: one fewer than are given."""
    return [(r + 1) * occurring[r] / occurring[r - 1] for r in range(1, len(occurring))]


def discounts(counts: Ints) -> list[float]:
    """d(1) ... d(k), from how often each n-gram of one length occurs, `[n-grams]`.

    Where there are too few n-grams for sensible figures (each must lie between 0 and 1), k is lowered until there are;
    the list is then shorter, or empty.
    """
    occurring = [int(np.count_nonzero(counts == r)) for r in range(1, K + 2)]
    for k in range(K, 1, -1):  # of k = 1 alone nothing would be left of a count of 1
        if not all(occurring[: k + 1]):
            continue
        u = (k + 1) * occurring[k] / occurring[0]
        if u == 1:
            continue
        found = [(once / r - u) / (1 - u) for r, once in enumerate(good_turing(occurring[: k + 1]), start=1)]
        if all(0 < d < 1 for d in found):
            return found
    return []


def _discounted(grams: Grams, contexts: int, vocab_size: int, shorter: Floats) -> Level:
    counts, context = grams.counts, grams.contexts(vocab_size)
    given = discounts(counts)
    kept = np.array([1.0, *given, 1.0])[np.minimum(counts, len(given) + 1)] * counts
    total = totals(grams, contexts, vocab_size)
    followers = np.bincount(context, minlength=contexts)
    # A context whose every follower is frequent frees nothing, and something else may follow it all the same: it is
    # taken to have been followed once more, by something unseen.
    total = total + ((totals(grams, contexts, vocab_size, kept) == total) & (followers > 0))
    probability = kept / total[context]
    spent = totals(grams, contexts, vocab_size, probability)
    # After some contexts all there is was seen. Nothing unseen is left to be given what they freed.
    complete = followers == vocab_size
    probability = np.where(complete[context], probability / spent[context], probability)
    unseen = 1 - totals(grams, contexts, vocab_size, shorter[grams.suffix])
    share = np.divide(1 - spent, unseen, out=np.ones(contexts), where=(followers > 0) & ~complete)
    return Level(grams.keys, probability, np.where(complete, 0.0, share))
