"""Training data as rows of equal length, all of a run's rows laid out before its first step.

The row that step `s` reads depends on the seed and `s` alone, so a resumed run reads what an unbroken one would have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cutaway.train.objectives.objective import Batch


@dataclass(frozen=True)
class Example:
    """Token ids, and for each whether the model is to learn to write it."""

    tokens: Sequence[int] | NDArray[np.integer[Any]]
    learned: Sequence[bool] | NDArray[np.bool_] | None = None

    @property
    def arrays(self) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Its tokens, and which of them to learn: all where it does not say."""
        tokens = np.asarray(self.tokens, np.int32)
        return tokens, np.ones(len(tokens), np.bool_) if self.learned is None else np.asarray(self.learned, np.bool_)


@dataclass(frozen=True)
class Source:
    """Examples of one kind, and the share of the rows that they fill."""

    name: str
    examples: Sequence[Example]
    share: float


@dataclass(frozen=True)
class Rows:
    """`tokens` `[row, length + 1]` and `learned` `[row, length + 1]`: what to read and which tokens to learn."""

    tokens: NDArray[np.int32]
    learned: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.tokens)

    def batch(self, step: int, size: int) -> Batch:
        """`tokens`, `targets`, and which targets are to be `learned`, of one step, each `[row, length]`."""
        at = slice(step * size, (step + 1) * size)
        tokens = torch.from_numpy(self.tokens[at].astype(np.int64))
        return {"tokens": tokens[:, :-1], "targets": tokens[:, 1:], "learned": torch.from_numpy(self.learned[at, 1:])}


def lay_out(sources: Sequence[Source], n_rows: int, length: int, seed: int) -> Rows:
    """Fill rows with the sources' examples, end to end, each source in its share, in an order drawn from `seed`.

    A source that runs out is shuffled and read again.
    """
    used = [source for source in sources if source.examples and source.share > 0]
    total = sum(source.share for source in used)
    counts = [round(n_rows * source.share / total) for source in used]
    counts[0] += n_rows - sum(counts)
    tokens = np.empty((n_rows, length + 1), np.int32)
    learned = np.empty((n_rows, length + 1), np.bool_)
    row = 0
    for number, (source, count) in enumerate(zip(used, counts, strict=True)):
        stream = endless(source.examples, np.random.default_rng([seed, number]))
        for tokens[row], learned[row] in (take(stream, length + 1) for _ in range(count)):
            row += 1
    order = np.random.default_rng([seed, len(used)]).permutation(n_rows)
    return Rows(tokens[order], learned[order])


def once(examples: Sequence[Example], length: int) -> Rows | None:
    """Rows of `length` of the examples end to end, each once; None if there are none.

    What the last row lacks is filled up with what is not to be learned.
    """
    if not examples:
        return None
    tokens, learned = map(np.concatenate, zip(*(example.arrays for example in examples), strict=True))
    missing, shape = -len(tokens) % (length + 1), (-1, length + 1)
    return Rows(np.pad(tokens, (0, missing)).reshape(shape), np.pad(learned, (0, missing)).reshape(shape))


@dataclass
class Stream:
    """Examples drawn without end, and what is left of the last one."""

    examples: Iterator[Example]
    tokens: NDArray[np.int32]
    learned: NDArray[np.bool_]


def endless(examples: Sequence[Example], rng: np.random.Generator) -> Stream:
    """The examples in one random order after another."""

    def draw() -> Iterator[Example]:
        while True:
            for i in rng.permutation(len(examples)):
                yield examples[int(i)]

    return Stream(draw(), np.empty(0, np.int32), np.empty(0, np.bool_))


def take(stream: Stream, n: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """The next `n` tokens of a stream."""
    tokens, learned, have = [stream.tokens], [stream.learned], len(stream.tokens)
    while have < n:
        next_tokens, next_learned = next(stream.examples).arrays
        tokens.append(next_tokens)
        learned.append(next_learned)
        have += len(next_tokens)
    all_tokens, all_learned = np.concatenate(tokens), np.concatenate(learned)
    stream.tokens, stream.learned = all_tokens[n:], all_learned[n:]
    return all_tokens[:n], all_learned[:n]
