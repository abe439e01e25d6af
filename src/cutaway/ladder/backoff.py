"""Backing off: where a context was never followed by a token, ask a shorter context.

    P(w | h) = p(hw)                                        if the n-gram hw was seen
    P(w | h) = b(h) P(w | h without its first token)        if it was not
    P(w | h) = P(w | h without its first token)             if h itself was never followed by anything

down to the empty context, and below that to 1 / vocabulary. Maximum likelihood, Katz and Kneser-Ney all have this form;
what tells them apart are the numbers p and b. (Files in the ARPA format hold just these two for each n-gram.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cutaway.ladder.counting import look_up, number_of
from cutaway.ladder.protocol import Floats, Ints, checked


@dataclass(frozen=True)
class Level:
    """All n-grams of one length, sorted by key as `cutaway.ladder.counting.Grams` are."""

    keys: Ints  # [n-grams]
    probability: Floats  # [n-grams]: p, of the last token after the tokens before it
    weight: Floats  # [contexts]: b, what a shorter context's answer is multiplied by; 1 if nothing ever followed


class BackOff:
    """An n-gram model of this form, from single tokens up."""

    def __init__(self, levels: Sequence[Level], vocab_size: int) -> None:
        self.levels = tuple(levels)
        self.vocab_size = vocab_size

    @property
    def order(self) -> int:
        """Length of the longest n-grams."""
        return len(self.levels)

    @property
    def counts(self) -> list[int]:
        """How many different n-grams there are of each order, from single tokens up."""
        return [len(level.keys) for level in self.levels]

    def log_probs(self, sequence: npt.ArrayLike) -> Floats:
        """Natural-log probability of each token given those before it in the sequence, shape [tokens] as `sequence`.

        The first token has no context; where a document begins with the end-of-text token, leave its value out.

        Raises:
            BadInput: a token outside the vocabulary.
        """
        tokens = checked(sequence, self.vocab_size)
        probability = np.full(len(tokens), 1.0 / self.vocab_size)
        # From the shortest context up: where a longer one knows nothing, what the shorter ones said still stands.
        lookups = look_up((level.keys for level in self.levels), tokens, self.vocab_size)
        for level, (context, found) in zip(self.levels, lookups, strict=True):
            backed_off = np.where(context >= 0, level.weight[context], 1.0) * probability
            probability = np.where(found >= 0, level.probability[found], backed_off)
        with np.errstate(divide="ignore"):  # the impossible has -inf
            return np.log(probability)

    def probabilities(self, context: npt.ArrayLike) -> Floats:
        """The distribution of the token that follows `context` (shape [tokens], may be empty): shape [vocab_size].

        Raises:
            BadInput: a token outside the vocabulary.
        """
        tokens = checked(context, self.vocab_size)
        keys = [level.keys for level in self.levels]
        distribution = np.full(self.vocab_size, 1.0 / self.vocab_size)
        for length, level in enumerate(self.levels[: len(tokens) + 1]):
            number = number_of(keys, tokens[len(tokens) - length :], self.vocab_size)
            if number < 0:
                break
            first, last = np.searchsorted(level.keys, [number * self.vocab_size, (number + 1) * self.vocab_size])
            distribution *= level.weight[number]
            distribution[level.keys[first:last] - number * self.vocab_size] = level.probability[first:last]
        return distribution

    def arrays(self) -> dict[str, Ints | Floats]:
        """All that the model is, by length and name: "1.keys", "1.probability", "1.weight", "2.keys", ..."""
        return {
            f"{length}.{name}": array
            for length, level in enumerate(self.levels, start=1)
            for name, array in (("keys", level.keys), ("probability", level.probability), ("weight", level.weight))
        }
