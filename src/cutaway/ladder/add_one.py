"""Add-one: as if every token had been seen once more after every context (Laplace's rule of succession, 1814).

    P(w | h) = (c(hw) + 1) / (c(h) + V)

with V tokens in the vocabulary. Nothing is impossible any more, but the longer the context, the more of the V imagined
tokens outweigh the few that were seen: it is plain counts and the uniform distribution, mixed,

    P(w | h) = (1 - m) c(hw) / c(h) + m / V        with m = V / (c(h) + V),

and for most long contexts m is nearly 1. What falls to the unseen falls to all of them alike; that a shorter context
knows better is what back-off makes use of.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cutaway.ladder.counting import Grams, look_up, number_of, totals
from cutaway.ladder.protocol import Floats, checked


class AddOne:
    """The model of n-grams as `cutaway.ladder.counting.count_grams` gives them."""

    def __init__(self, grams: Sequence[Grams], vocab_size: int) -> None:
        self.grams = tuple(grams)
        self.vocab_size = vocab_size
        sizes = [1, *(len(each.keys) for each in grams)]
        self.totals = [totals(each, contexts, vocab_size) for each, contexts in zip(grams, sizes, strict=False)]
        """c(h) of each length's contexts."""

    def log_probs(self, sequence: npt.ArrayLike) -> Floats:
        """Natural-log probability of each token given those before it, `[tokens]`.

        Raises:
            BadInput: a token outside the vocabulary.
        """
        tokens = checked(sequence, self.vocab_size)
        probability = np.full(len(tokens), 1.0 / self.vocab_size)
        lookups = look_up((each.keys for each in self.grams), tokens, self.vocab_size)
        for length, (each, total, (context, found)) in enumerate(zip(self.grams, self.totals, lookups, strict=True), 1):
            # The longest context that there is room for counts, whether it was ever seen or not.
            there = np.arange(len(tokens)) >= length - 1
            count = np.where(found >= 0, each.counts[found], 0)
            after = np.where(context >= 0, total[context], 0.0)
            probability = np.where(there, (count + 1) / (after + self.vocab_size), probability)
        return np.log(probability)

    def probabilities(self, context: npt.ArrayLike) -> Floats:
        """The distribution of the token after `context` (`[tokens]`, may be empty): `[vocab_size]`.

        Raises:
            BadInput: a token outside the vocabulary.
        """
        tokens = checked(context, self.vocab_size)
        length = min(len(tokens), len(self.grams) - 1)
        keys = [each.keys for each in self.grams]
        number = number_of(keys, tokens[len(tokens) - length :], self.vocab_size)
        counts = np.ones(self.vocab_size)
        if number >= 0:
            longest = self.grams[length]
            first, last = np.searchsorted(longest.keys, [number * self.vocab_size, (number + 1) * self.vocab_size])
            counts[longest.keys[first:last] - number * self.vocab_size] += longest.counts[first:last]
        return counts / counts.sum()
