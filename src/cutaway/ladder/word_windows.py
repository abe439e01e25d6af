"""A text as word2vec reads it: a vocabulary, and windows of words around each place.

Four things the papers found to matter more than the model itself (Mikolov et al. 2013a, section 3; 2013b, section 2):

- of the most frequent words most occurrences are passed over, for "the" tells little about its neighbours;
- how far a place looks is drawn anew each time, from one word up to the window: near words count for more;
- noise is drawn with probability proportional to count^0.75: rare words come up more often than they occur;
- words that are too rare to learn anything about are taken out of the text first.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from cutaway.runs import BadInput

NOISE_EXPONENT = 0.75
BATCHES_AT_ONCE = 500
"""Batches whose noise is drawn together."""

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


@dataclass(frozen=True)
class Text:
    """A text as numbers.

    Attributes:
        words: the vocabulary, the most frequent first.
        counts: how often each occurs, `[word]`.
        ids: the text, without the words that are too rare for the vocabulary, `[place]`.
        passages: the number of the passage that each place is in, `[place]`. No window looks across its border.
    """

    words: list[str]
    counts: NDArray[np.int64]
    ids: NDArray[np.int32]
    passages: NDArray[np.int32]


def words_of(passage: str) -> list[str]:
    """The words of a passage in small letters: letters in a row, an apostrophe between them allowed."""
    return _WORD.findall(passage.lower())


def read_text(passages: Iterable[str], min_count: int) -> Text:
    """Number the words of a text that comes passage by passage: of the text itself only the numbers are kept.

    Raises:
        BadInput: fewer than two words occur `min_count` times.
    """
    spoken, lengths, number_of = array("i"), array("i"), dict[str, int]()
    for passage in passages:
        words = words_of(passage)
        lengths.append(len(words))
        spoken.extend(number_of.setdefault(word, len(number_of)) for word in words)
    ids = np.array(spoken, np.int32)
    counts = np.bincount(ids, minlength=len(number_of))
    order = np.argsort(-counts, kind="stable")[: int((counts >= min_count).sum())]
    if len(order) < 2:
        raise BadInput(
            f"of the text's {len(ids):,} words {len(order)} occur {min_count} times or more, and two at least are "
            "needed; give more text, or lower min_count"
        )
    renumbered = np.full(len(counts), -1, np.int32)
    renumbered[order] = np.arange(len(order))
    ids, passage_of = renumbered[ids], np.repeat(np.arange(len(lengths), dtype=np.int32), np.array(lengths, np.int32))
    names, known = list(number_of), ids >= 0
    return Text([names[i] for i in order], counts[order], ids[known], passage_of[known])


@dataclass(frozen=True)
class Windows:
    """A batch of places in the text.

    Attributes:
        middle: the word at each place, `[place]`.
        near: the words around it, `[place, neighbour]`.
        present: 1 where there is such a neighbour, 0 beyond the passage's ends, `[place, neighbour]`.
        noise: words drawn at random, `[place, noise]`. All neighbours of a place share them (Ji et al. 2016, section
            3.2), which turns many products of two vectors into few of two small matrices.
        share: how much of this reading of the text lies before it.
    """

    middle: Int[Tensor, " place"]
    near: Int[Tensor, "place neighbour"]
    present: Float[Tensor, "place neighbour"]
    noise: Int[Tensor, "place noise"]
    share: float


def windows(
    text: Text, rng: np.random.Generator, *, batch: int, reach: int, n_noise: int, subsample: float
) -> Iterator[Windows]:
    """Read a text once, in batches of `batch` places that look up to `reach` words to each side.

    The places of a batch lie far apart: as many readers begin at equal distances and each moves on by a word a time.
    Places side by side would share their words, and all pull at the same vectors. How far they look is drawn for all of
    a batch together, so that its windows are a rectangle.
    """
    kept = rng.random(len(text.ids), np.float32) < keep_probability(text.counts, subsample)[text.ids]
    ids, passages = text.ids[kept], text.passages[kept]
    readers = max(1, min(batch, len(ids)))
    steps = len(ids) // readers  # what is left over at the end is less than a batch
    starts = steps * np.arange(readers)[:, None]
    reaches = rng.integers(1, reach + 1, steps)
    noise_shares = text.counts**NOISE_EXPONENT / (text.counts**NOISE_EXPONENT).sum()
    for first in range(0, steps, BATCHES_AT_ONCE):
        some = range(first, min(first + BATCHES_AT_ONCE, steps))
        noise = drawn(noise_shares, (len(some), readers, n_noise), rng)
        for step in some:
            offsets = np.delete(np.arange(-reaches[step], reaches[step] + 1), reaches[step])
            places = starts + step
            around = np.clip(places + offsets, 0, len(ids) - 1)
            present = (passages[around] == passages[places]) & (around - places == offsets)
            yield Windows(
                torch.from_numpy(ids[places[:, 0]]).long(),
                torch.from_numpy(ids[around]).long(),
                torch.from_numpy(present.astype(np.float32)),
                torch.from_numpy(noise[step - first]).long(),
                step / steps,
            )


def keep_probability(counts: NDArray[np.int64], subsample: float) -> NDArray[np.float64]:
    """How likely an occurrence of each word is to be read: sqrt(t/f) + t/f, and at most 1, of a word with share f.

    The paper has the first term alone (Mikolov et al. 2013b, eq. 5), the program that was published with it both.
    """
    ratio = subsample * counts.sum() / counts
    return np.minimum(1.0, np.sqrt(ratio) + ratio)


def drawn(shares: NDArray[np.float64], shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.int32]:
    """Words drawn independently by their `shares` `[word]`.

    How often each comes up is multinomial; in which order, a shuffle.
    """
    times = rng.multinomial(int(np.prod(shape)), shares)
    return rng.permutation(np.repeat(np.arange(len(shares), dtype=np.int32), times)).reshape(shape)
