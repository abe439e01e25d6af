"""Bags of words: a text as the words in it and how much each of them weighs, in no order.

The simplest way to give a text to a network. Each word of a vocabulary is an input, each text a row of weights w(word,
text), nearly all of them nought, so only the others are kept. Three ways to weigh:

    counts      w = how often the word occurs in the text
    TF-IDF      w = count * idf(word), then every text scaled to length 1,
                idf(word) = 1 + ln((1 + texts) / (1 + texts with the word))
    shares      w = count / words in the text: whatever rows are summed by these weights are averaged

IDF, the inverse document frequency (Sparck Jones 1972), makes "the" weigh little and a rare word much; the length 1
(Salton and Buckley 1988) keeps a long text from speaking louder than a short one. The ones are added as though one more
text held every word, so that nothing is divided by nought.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_WORD = re.compile(r"\w+(?:['’]\w+)*|[!?$£€%]")


def words(text: str) -> list[str]:
    """The words of a text in small letters, and those signs that advertisements and feelings shout with."""
    return _WORD.findall(text.lower())


@dataclass(frozen=True)
class Bags:
    """Bags of several texts, end to end: entry e says that word `ids[e]` weighs `weights[e]` in its text.

    Attributes:
        ids: word numbers `[entry]`; a text's are ascending, each once.
        weights: `[entry]`.
        starts: the first entry of each text, and behind the last text the number of entries: `[text + 1]`.
    """

    ids: Ints
    weights: Floats
    starts: Ints

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def text(self) -> Ints:
        """To which text each entry belongs: `[entry]`."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    def sums(self, values: Floats) -> Floats:
        """Of each text the sum of `values` `[entry]`: `[text]`."""
        return np.bincount(self.text, weights=values, minlength=len(self)).astype(float)

    def take(self, rows: Ints) -> Bags:
        """The bags of some of the texts, in the order of `rows`."""
        lengths = np.diff(self.starts)[rows]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        entries = np.repeat(self.starts[rows] - starts[:-1], lengths) + np.arange(starts[-1])
        return Bags(self.ids[entries], self.weights[entries], starts)


class Vocabulary:
    """The words that count, numbered from the most frequent down, and their IDF. Others are as though not there."""

    def __init__(self, texts: Sequence[str], most: int, at_least: int) -> None:
        """Of all words that occur in `at_least` of the `texts`, the `most` frequent."""
        split = [words(text) for text in texts]
        present = Counter(word for text in split for word in set(text))
        frequent = Counter(word for text in split for word in text if present[word] >= at_least)
        # Of words equally frequent, the first in the alphabet, so that the same texts always number them alike.
        self.words = sorted(frequent, key=lambda word: (-frequent[word], word))[:most]
        self.number = {word: i for i, word in enumerate(self.words)}
        having = np.array([present[word] for word in self.words], float)
        self.idf: Floats = 1 + np.log((1 + len(texts)) / (1 + having))

    def __len__(self) -> int:
        return len(self.words)

    def counts(self, texts: Sequence[str]) -> Bags:
        """How often each word occurs in each text."""
        ids, weights, starts = list[int](), list[int](), [0]
        for text in texts:
            found = Counter(self.number[word] for word in words(text) if word in self.number)
            for word in sorted(found):
                ids.append(word)
                weights.append(found[word])
            starts.append(len(ids))
        return Bags(np.array(ids, np.int64), np.array(weights, float), np.array(starts, np.int64))

    def tf_idf(self, counts: Bags) -> Bags:
        """The same bags weighed by TF-IDF. A text without known words stays empty."""
        weights = counts.weights * self.idf[counts.ids]
        length = np.sqrt(counts.sums(weights**2))
        return replace(counts, weights=weights / length[counts.text])


def shares(counts: Bags) -> Bags:
    """The same bags, with each text's weights adding up to 1."""
    return replace(counts, weights=counts.weights / counts.sums(counts.weights)[counts.text])
