"""Counting n-grams: how often each run of up to n tokens occurs in a text.

All that an n-gram model knows of a text are these counts; the models differ in what they make of them. With c(hw) how
often token w follows context h, and c(h) the sum of it over all w, the share c(hw) / c(h) is the first guess at
P(w | h), and wrong wherever c(hw) is 0: a text never holds all that could have been said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cutaway.ladder.protocol import Floats, Ints, checked
from cutaway.runs.errors import BadInput


@dataclass(frozen=True)
class Grams:
    """All n-grams of one length that occur, sorted by key; an n-gram's number is its place among them.

    A key is (number of the n-gram without its last token, one length down) * vocabulary + last token. So it fits 64
    bits however long the n-gram is, and all n-grams with the same context lie side by side.
    """

    keys: Ints  # [n-grams]
    suffix: Ints  # [n-grams]: number of the n-gram without its first token, one length down; the token at length 1
    counts: Ints  # [n-grams]: how often each occurs
    continuations: Ints  # [n-grams]: how many different tokens come before each

    def contexts(self, vocab_size: int) -> Ints:
        """The number of each n-gram's context, `[n-grams]`."""
        return self.keys // vocab_size


def count_grams(sequences: Sequence[npt.ArrayLike], order: int, *, vocab_size: int) -> list[Grams]:
    """The n-grams of length 1, 2, ... `order` in `sequences` (each the token ids of one document, `[tokens]`).

    No n-gram crosses from one document into the next. Let each document begin with the end-of-text token, so that its
    first word is foretold from that. What stands before a document counts as a token of its own each time. There are
    fewer lengths than `order` if no document is that long.

    Raises:
        BadInput: there is no token, or one outside the vocabulary; or the order or vocabulary is less than 1.
    """
    if order < 1 or vocab_size < 1:
        raise BadInput(f"an n-gram model needs order and vocab_size of at least 1, not {order} and {vocab_size}")
    arrays = [array for array in (np.asarray(sequence, dtype=np.int64) for sequence in sequences) if len(array)]
    if not arrays:
        raise BadInput("an n-gram model needs at least one token to count: give longer documents")
    tokens = checked(np.concatenate(arrays), vocab_size)
    # How many tokens of the same document come before each token.
    before = np.concatenate([np.arange(len(array)) for array in arrays])

    found: list[Grams] = []
    places = np.arange(len(tokens))  # where the n-grams of this length end
    numbers = np.zeros(len(tokens), dtype=np.int64)  # of the n-gram of the length before that ends at each token
    for length in range(1, order + 1):
        contexts = numbers[places - 1] if length > 1 else np.zeros(len(tokens), dtype=np.int64)
        suffixes = numbers[places] if length > 1 else tokens
        if not len(places):
            break  # no document is this long
        keys, first, inverse, counts = np.unique(
            contexts * vocab_size + tokens[places], return_index=True, return_inverse=True, return_counts=True
        )
        if found:
            # Each n-gram of this length is one more different token before its suffix.
            found[-1].continuations[:] += np.bincount(suffixes[first], minlength=len(found[-1].keys))
        numbers = np.full(len(tokens), -1, dtype=np.int64)
        numbers[places] = inverse
        starting = numbers[places[before[places] == length - 1]]
        found.append(Grams(keys, suffixes[first], counts, np.bincount(starting, minlength=len(keys))))
        places = places[before[places] >= length]
    return found


def totals(grams: Grams, contexts: int, vocab_size: int, values: Ints | Floats | None = None) -> Floats:
    """The sum over each context's n-grams of their counts, or of other `values` `[n-grams]`: `[contexts]`.

    `contexts` is how many n-grams there are one length down: one, the empty context, for single tokens.
    """
    weights = grams.counts if values is None else values
    found: Floats = np.bincount(grams.contexts(vocab_size), weights=weights, minlength=contexts).astype(np.float64)
    return found


def look_up(keys: Iterable[Ints], tokens: Ints, vocab_size: int) -> Iterator[tuple[Ints, Ints]]:
    """For each length, given its `keys`: the number of each token's context, and of the n-gram that ends there.

    Both `[tokens]`; -1 where it never occurred, or the sequence has not begun by then.
    """
    contexts = np.zeros(len(tokens), dtype=np.int64)
    for sorted_keys in keys:
        found = find(sorted_keys, np.where(contexts >= 0, contexts * vocab_size + tokens, -1))
        yield contexts, found
        contexts = np.concatenate([[-1], found[:-1]])[: len(tokens)]


def number_of(keys: Iterable[Ints], tokens: Ints, vocab_size: int) -> int:
    """The number of one n-gram among those of its length, -1 where it never occurred; 0 for no token at all."""
    number = 0
    for sorted_keys, token in zip(keys, tokens, strict=False):
        number = int(find(sorted_keys, np.array([number * vocab_size + token]))[0])
        if number < 0:
            break
    return number


def find(keys: Ints, wanted: Ints) -> Ints:
    """Place of each wanted key in the sorted keys, -1 where it is not there."""
    if not len(keys):
        return np.full(len(wanted), -1, dtype=np.int64)
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, places, -1)
