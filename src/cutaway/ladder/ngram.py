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
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cutaway.runs.errors import BadInput

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
"""D1, D2, D3+ of an order whose counts are too few to estimate them (the defaults of KenLM's --discount_fallback)."""


@dataclass(frozen=True)
class _Level:
    """All n-grams of one length, sorted by key: (number of the context one level up) * vocabulary + last token."""

    keys: Ints  # [n-grams]
    probability: Floats  # [n-grams]: interpolated P(last token | the tokens before it)
    gamma: Floats  # [contexts]: weight of the next shorter context; 1 where the context is followed by nothing
    discounts: tuple[float, float, float]


class KneserNey:
    """An n-gram model over token ids 0 .. vocab_size - 1. Make it with `KneserNey.fit`."""

    def __init__(self, levels: Sequence[_Level], vocab_size: int) -> None:
        self._levels = tuple(levels)
        self.vocab_size = vocab_size

    @property
    def order(self) -> int:
        """Length of the longest n-grams."""
        return len(self._levels)

    @property
    def discounts(self) -> list[tuple[float, float, float]]:
        """(D1, D2, D3+) of each order, from single tokens up."""
        return [level.discounts for level in self._levels]

    @property
    def counts(self) -> list[int]:
        """How many different n-grams there are of each order, from single tokens up."""
        return [len(level.keys) for level in self._levels]

    @classmethod
    def fit(
        cls,
        sequences: Sequence[npt.ArrayLike],
        order: int = 5,
        *,
        vocab_size: int,
        discounts: Sequence[tuple[float, float, float]] | None = None,
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
        if order < 1 or vocab_size < 1:
            raise BadInput(f"an n-gram model needs order and vocab_size of at least 1, not {order} and {vocab_size}")
        arrays = [array for array in (np.asarray(sequence, dtype=np.int64) for sequence in sequences) if len(array)]
        if not arrays:
            raise BadInput("an n-gram model needs at least one token to count: give longer documents")
        tokens = np.concatenate(arrays)
        _check_ids(tokens, vocab_size)
        # How many tokens of the same document come before each token.
        before = np.concatenate([np.arange(len(array)) for array in arrays])
        shapes = _count(tokens, before, order, vocab_size)

        levels: list[_Level] = []
        shorter = np.full(vocab_size, 1.0 / vocab_size)  # what a level falls back on, by suffix: first the uniform
        for length, shape in enumerate(shapes, start=1):
            counts = shape.counts if length == len(shapes) else shape.continuations
            given = _estimate_discounts(counts) if discounts is None else discounts[length - 1]
            contexts = len(levels[-1].keys) if levels else 1
            level = _smooth(shape, counts, given, contexts, vocab_size, shorter)
            levels.append(level)
            shorter = level.probability
        return cls(levels, vocab_size)

    def log_probs(self, sequence: npt.ArrayLike) -> Floats:
        """Natural-log probability of each token given those before it in the sequence, shape [tokens] as `sequence`.

        The first token has no context; where a document begins with the end-of-text token, leave its value out.

        Raises:
            BadInput: a token outside the vocabulary.
        """
        tokens = np.asarray(sequence, dtype=np.int64)
        _check_ids(tokens, self.vocab_size)
        probability = np.full(len(tokens), 1.0 / self.vocab_size)
        # The number of the context that ends just before each token, in the level below; -1 where it never occurred.
        context = np.zeros(len(tokens), dtype=np.int64)
        for level in self._levels:
            found = _find(level.keys, np.where(context >= 0, context * self.vocab_size + tokens, -1))
            backed_off = np.where(context >= 0, level.gamma[context], 1.0) * probability
            probability = np.where(found >= 0, level.probability[found], backed_off)
            context = np.concatenate([[-1], found[:-1]])[: len(tokens)]
        return np.log(probability)

    def probabilities(self, context: npt.ArrayLike) -> Floats:
        """The distribution of the token that follows `context` (shape [tokens], may be empty): shape [vocab_size]."""
        tokens = np.asarray(context, dtype=np.int64)
        _check_ids(tokens, self.vocab_size)
        distribution = np.full(self.vocab_size, 1.0 / self.vocab_size)
        for length, level in enumerate(self._levels):
            number = self._number(tokens[len(tokens) - length :]) if length <= len(tokens) else -1
            if number < 0:
                break
            first, last = np.searchsorted(level.keys, [number * self.vocab_size, (number + 1) * self.vocab_size])
            distribution *= level.gamma[number]
            distribution[level.keys[first:last] - number * self.vocab_size] = level.probability[first:last]
        return distribution

    def _number(self, tokens: Ints) -> int:
        number = 0
        for level, token in zip(self._levels, tokens, strict=False):
            number = int(_find(level.keys, np.array([number * self.vocab_size + token]))[0])
            if number < 0:
                break
        return number


@dataclass(frozen=True)
class _Shape:
    """The n-grams of one length before smoothing."""

    keys: Ints  # [n-grams], sorted
    suffix: Ints  # [n-grams]: number of the n-gram without its first token, one level up; the token at length 1
    counts: Ints  # [n-grams]: how often each occurs
    continuations: Ints  # [n-grams]: how many different tokens come before each


def _count(tokens: Ints, before: Ints, order: int, vocab_size: int) -> list[_Shape]:
    """One sort a length. A key is made of the context's number and the last token, so that it always fits 64 bits."""
    shapes: list[_Shape] = []
    places = np.arange(len(tokens))  # where the n-grams of this length end
    numbers = np.zeros(len(tokens), dtype=np.int64)  # of the n-gram of the length before that ends at each token
    for length in range(1, order + 1):
        contexts = numbers[places - 1] if length > 1 else np.zeros(len(tokens), dtype=np.int64)
        suffixes = numbers[places] if length > 1 else tokens
        if not len(places):
            break  # no document is this long; the n-grams one shorter all begin documents and keep their plain counts
        keys, first, inverse, counts = np.unique(
            contexts * vocab_size + tokens[places], return_index=True, return_inverse=True, return_counts=True
        )
        if shapes:
            # Each n-gram of this length is one more different token before its suffix.
            shapes[-1].continuations[:] += np.bincount(suffixes[first], minlength=len(shapes[-1].keys))
        numbers = np.full(len(tokens), -1, dtype=np.int64)
        numbers[places] = inverse
        starting = numbers[places[before[places] == length - 1]]
        shapes.append(_Shape(keys, suffixes[first], counts, np.bincount(starting, minlength=len(keys))))
        places = places[before[places] >= length]
    return shapes


def _estimate_discounts(counts: Ints) -> tuple[float, float, float]:
    """D1, D2, D3+ from the numbers of n-grams that occur once, twice, three and four times ."""
    n1, n2, n3, n4 = (int(np.count_nonzero(counts == times)) for times in (1, 2, 3, 4))
    if not (n1 and n2 and n3 and n4):
        return FALLBACK_DISCOUNTS
    share = n1 / (n1 + 2 * n2)
    found = (1 - 2 * share * n2 / n1, 2 - 3 * share * n3 / n2, 3 - 4 * share * n4 / n3)
    # Small or strange data can ask to take more than there is, or less than nothing.
    return found if all(0 < value < limit for limit, value in enumerate(found, start=1)) else FALLBACK_DISCOUNTS


def _smooth(
    shape: _Shape,
    counts: Ints,
    discounts: tuple[float, float, float],
    contexts: int,
    vocab_size: int,
    shorter: Floats,
) -> _Level:
    taken = np.array([0.0, *discounts])[np.minimum(counts, 3)]
    context = shape.keys // vocab_size
    total = np.bincount(context, weights=counts, minlength=contexts)
    weight = np.bincount(context, weights=taken, minlength=contexts)
    followed = total > 0
    gamma = np.divide(weight, total, out=np.ones(contexts), where=followed)
    own = np.divide(counts - taken, total[context], out=np.zeros(len(counts)), where=followed[context])
    return _Level(shape.keys, own + gamma[context] * shorter[shape.suffix], gamma, discounts)


def _find(keys: Ints, wanted: Ints) -> Ints:
    """Place of each wanted key in the sorted keys, -1 where it is not there."""
    if not len(keys):
        return np.full(len(wanted), -1, dtype=np.int64)
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, places, -1)


def _check_ids(tokens: Ints, vocab_size: int) -> None:
    if len(tokens) and (tokens.min() < 0 or tokens.max() >= vocab_size):
        outside = tokens[(tokens < 0) | (tokens >= vocab_size)][0]
        raise BadInput(
            f"token {outside} is outside the vocabulary of {vocab_size}: use the tokenizer the model was made with"
        )
