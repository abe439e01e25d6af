"""Word vectors: skip-gram and CBOW with negative sampling, known as word2vec.

"You shall know a word by the company it keeps" (Firth 1957). Each word w has two vectors: v_w for when it stands near
another, u_w for when it is the word in the middle. Each place in the text is a riddle: given what stands near, is this
the word in the middle, or was it drawn at random, as noise? A sigmoid answers,

    P(w is real | h) = sigmoid(u_w . h),        loss = -log sigmoid(u_w . h) - sum_k log sigmoid(-u_{n_k} . h),

with noise words n_1 ... n_K (Mikolov et al. 2013b, eq. 4). h is what stands near, and there the two models part
(Mikolov et al. 2013a, figure 1):

    skip-gram    each neighbour c is asked alone:                        h = v_c
    CBOW         all are asked together, whatever their order:           h = the mean of their v_c

There is no layer and no activation between. Words with like neighbours come to have like vectors, because nothing else
could give like answers. In the end the v are kept, and the u thrown away.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from cutaway.ladder.word_windows import Text, Windows, windows
from cutaway.runs import BadInput, Progress, Settings, atomic

Kind = Literal["skip-gram", "cbow"]

LAST_RATE = 1e-4
"""Where the learning rate falls to."""
MOST_AT_ONCE = 32
"""Steps of one word in one batch that count in full."""
LOOK_EVERY = 100
"""Batches."""


class WordVectorSettings(Settings):
    """How word vectors are learned; where not said otherwise as in the papers' own program."""

    dimensions: int = Field(default=100, ge=2, description="numbers that a word's vector has")
    window: int = Field(default=5, ge=1, description="words that a place looks at to each side, at most")
    noise: int = Field(default=5, ge=1, description="noise words a place")
    subsample: float = Field(default=1e-3, gt=0, description="share of the text from which a word is often passed over")
    min_count: int = Field(default=5, ge=1, description="times that a word must occur to get a vector")
    epochs: int = Field(default=5, ge=1, description="times that the text is read")
    lr: float = Field(default=0.025, gt=0, description="learning rate at the beginning; it falls in a line")
    batch: int = Field(default=256, ge=1, description="places of the text that are learned from at once")


class Word2Vec:
    """The two vectors of each word, and a step of learning.

    At first the v are small and random, the u nought, and so every answer is "one in two".
    """

    def __init__(self, n_words: int, dimensions: int, kind: Kind, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.kind = kind
        self.v = (torch.rand(n_words, dimensions, generator=generator) - 0.5) / dimensions
        self.u = torch.zeros(n_words, dimensions)

    def loss(self, windows: Windows) -> float:
        """The mean loss of an h, in nats; untrained it is (1 + K) log 2."""
        asked = self.ask(windows)
        signed = torch.cat([asked.scores[..., :1], -asked.scores[..., 1:]], dim=-1)
        return float((F.softplus(-signed) * asked.counts).sum() / asked.counts[..., 0].sum().clamp(min=1))

    def step(self, windows: Windows, rate: float) -> None:
        """Move each vector that a batch has to do with against the loss's gradient.

        Where the label y is 1 for the real word and 0 for noise, the derivative of the loss by a score is
        sigmoid(score) - y; by the chain rule that of u is it times h, and that of h is it times u.

        CBOW's h is a mean, so that of h's gradient each v should take its share only. The published program moves each
        by all of it (Irsoy et al. 2021, section 2), and since all figures that are known are its, so does this one.
        """
        asked = self.ask(windows)
        step = -torch.sigmoid(asked.scores)
        step[..., 0] += 1
        step *= asked.counts * rate
        step_of_u, step_of_h = step.mT @ asked.h, step @ asked.u
        add(self.u, asked.words, step_of_u)
        add(self.v, windows.near, step_of_h * windows.present[..., None] if self.kind == "cbow" else step_of_h)

    def ask(self, windows: Windows) -> Asked:
        """Work out the scores of a batch."""
        words = torch.cat([windows.middle[:, None], windows.noise], dim=1)
        h, present = F.embedding(windows.near, self.v), windows.present[..., None]
        if self.kind == "cbow":
            h = (h * present).sum(1, keepdim=True) / present.sum(1, keepdim=True).clamp(min=1)
            present = present.amax(1, keepdim=True)
        # Noise that happens to be the real word is none.
        true_noise = words[:, 1:] != windows.middle[:, None]
        counts = present * F.pad(true_noise, (1, 0), value=True)[:, None, :]
        u = F.embedding(words, self.u)
        return Asked(words, u, h, h @ u.mT, counts)


@dataclass(frozen=True)
class Asked:
    """What was asked of a batch of places: of skip-gram one h for each neighbour, of CBOW one.

    Attributes:
        words: the real word, then the noise, `[place, 1 + noise]`.
        u: their vectors, `[place, 1 + noise, d]`.
        h: what stands near, `[place, h, d]`.
        scores: u . h, `[place, h, 1 + noise]`.
        counts: 1 for each score that is to be learned from, else 0, of the same shape.
    """

    words: Int[Tensor, "place word"]
    u: Float[Tensor, "place word d"]
    h: Float[Tensor, "place h d"]
    scores: Float[Tensor, "place h word"]
    counts: Float[Tensor, "place h word"]


def add(matrix: Float[Tensor, "word d"], rows: Int[Tensor, "place n"], steps: Float[Tensor, "place n d"]) -> None:
    """Add steps to rows of a matrix; a row may be named many times.

    One after another, each step would see what those before it have done, and be small once the answer is right. Those
    of a batch all see the same vectors. Where a frequent word has many, their sum would overshoot, and ever more; so
    beyond `MOST_AT_ONCE` it is scaled down to that many.
    """
    flat = rows.flatten()
    times = torch.bincount(flat, minlength=len(matrix))[flat]
    scale = (MOST_AT_ONCE / times).clamp(max=1)
    matrix.index_add_(0, flat, steps.flatten(0, 1) * scale[:, None])


@dataclass(frozen=True)
class WordVectors:
    """A vector for each word: `words`, the most frequent first, and `vectors` `[word, d]`."""

    words: Sequence[str]
    vectors: NDArray[np.float32]

    @cached_property
    def unit(self) -> NDArray[np.float32]:
        """All of length 1, so that a dot product is a cosine."""
        return self.vectors / np.maximum(np.linalg.norm(self.vectors, axis=1, keepdims=True), 1e-12)

    @cached_property
    def number(self) -> dict[str, int]:
        """Which row is a word's."""
        return {word: i for i, word in enumerate(self.words)}

    def save(self, path: Path) -> None:
        """Write word2vec's text format: a line with both sizes, then on each line a word and its numbers."""

        def lines() -> Iterator[bytes]:
            yield "{} {}\n".format(*self.vectors.shape).encode()
            for word, row in zip(self.words, self.vectors.tolist(), strict=True):
                yield f"{word} {' '.join(f'{value:.6g}' for value in row)}\n".encode()

        atomic.write_chunks(path, lines())

    @classmethod
    def read(cls, path: Path) -> WordVectors:
        """Read word2vec's text format, or GloVe's, which is the same without the first line.

        Raises:
            BadInput: it is not there, or some line is not a word with as many numbers as the others have.
        """
        words, rows, number = list[str](), list[NDArray[np.float32]](), 0
        try:
            with path.open(encoding="utf-8") as file:
                for number, line in enumerate(file, 1):
                    word, *values = line.rstrip().split(" ")
                    if number == 1 and len(values) == 1:
                        continue
                    rows.append(np.array(values, np.float32))
                    if not values:
                        raise ValueError("no number follows the word")
                    if len(rows[-1]) != len(rows[0]):
                        raise ValueError(f"{len(rows[-1])} numbers, where the first has {len(rows[0])}")
                    words.append(word)
        except OSError as error:
            raise BadInput(f"{path} cannot be read ({error.strerror}); give word vectors as text") from None
        except ValueError as error:
            raise BadInput(f"{path} line {number} is no word with its vector ({error})") from None
        if not rows:
            raise BadInput(f"{path} holds no word vectors")
        return cls(words, np.stack(rows))


@dataclass(frozen=True)
class Lesson:
    """What came of a training: the vectors; the loss over the share of it that was done; and its seconds."""

    vectors: WordVectors
    losses: list[tuple[float, float]]
    seconds: float


def train_word_vectors(text: Text, kind: Kind, settings: WordVectorSettings, seed: int, progress: Progress) -> Lesson:
    """Learn a vector for each word of a text. The same seed gives the same vectors."""
    rng, began, losses = np.random.default_rng(seed), time.monotonic(), list[tuple[float, float]]()
    model = Word2Vec(len(text.words), settings.dimensions, kind, seed)
    total = settings.epochs * len(text.ids)
    with progress.task(kind, total, "words") as task, torch.inference_mode():
        for epoch in range(settings.epochs):
            batches = windows(
                text, rng, batch=settings.batch, reach=settings.window, n_noise=settings.noise,
                subsample=settings.subsample,
            )  # fmt: skip
            for number, batch in enumerate(batches):
                done = (epoch + batch.share) / settings.epochs
                if number % LOOK_EVERY == 0:
                    losses.append((done, model.loss(batch)))
                    task.update(round(done * total), loss=losses[-1][1])
                model.step(batch, settings.lr + (LAST_RATE - settings.lr) * done)
        task.update(total)
    return Lesson(WordVectors(text.words, model.v.numpy()), losses, time.monotonic() - began)
