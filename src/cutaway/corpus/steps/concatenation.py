"""Hashes of all runs of n neighbouring words, taken as one string, for any n at once and without making the strings.

A string's hash is a polynomial over its characters (Karp and Rabin, "Efficient randomized pattern-matching
algorithms", 1987), here modulo 2**64 and with each character's number stirred first. With sums over all prefixes of
the text the hash of any stretch is one subtraction and one product. Two different stretches of a page have the same
hash with a probability near 2**-64, unless somebody sets out to make such a pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)
_KEPT = 1 << 19
"""Powers that are kept between texts, in entries of 8 bytes."""


class Concatenation:
    """Words put together without anything between them."""

    def __init__(self, words: Sequence[str]) -> None:
        lengths = np.fromiter(map(len, words), dtype=np.int64, count=len(words))
        self.borders = np.concatenate([[0], np.cumsum(lengths)])
        """Where words begin, and after them the whole length: int64, shape [words + 1]."""
        self._words = words

    @cached_property
    def characters(self) -> npt.NDArray[np.uint32]:
        """Their numbers in Unicode: shape [characters]."""
        return np.frombuffer("".join(self._words).encode("utf-32-le", "surrogatepass"), dtype="<u4")

    def gram_lengths(self, n: int) -> npt.NDArray[np.int64]:
        """Characters in each run of n words: shape [words - n + 1]."""
        return self.borders[n:] - self.borders[: max(len(self.borders) - n, 0)]

    def gram_hashes(self, n: int) -> npt.NDArray[np.uint64]:
        """The hash of each run of n words: shape [words - n + 1].

        The runs "a bc" and "ab c" have the same hash, as they are the same string when put together.
        """
        prefixes, inverse = self._at_borders
        first = max(len(prefixes) - n, 0)
        return (prefixes[n:] - prefixes[:first]) * inverse[:first]

    @cached_property
    def _at_borders(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
        """At each border of words, the sum over all characters before it, and what takes the sum's power out."""
        powers, inverse = _powers(len(self.characters) + 1)
        stirred = (self.characters + np.uint64(1)) * np.uint64(0xD6E8FEB86659FD93)
        stirred ^= stirred >> np.uint64(32)
        stirred *= powers[: len(stirred)]
        prefixes = np.zeros(len(stirred) + 1, dtype=np.uint64)
        np.cumsum(stirred, out=prefixes[1:])
        return prefixes[self.borders], inverse[self.borders]


def _powers(count: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """At least the first `count` powers of the base, and of its inverse."""
    if count > _KEPT:
        return _make_powers(_BASE, count), _make_powers(_INVERSE, count)
    if not _TABLES:
        _TABLES.extend(_make_powers(base, _KEPT) for base in (_BASE, _INVERSE))
    return _TABLES[0], _TABLES[1]


_TABLES: list[npt.NDArray[np.uint64]] = []


def _make_powers(base: int, count: int) -> npt.NDArray[np.uint64]:
    powers = np.full(count, base, dtype=np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)
