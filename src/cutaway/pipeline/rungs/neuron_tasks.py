"""What the single neuron of rung 1 learns to tell apart: texts by their letters, or images by their pixels."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cutaway.evals.plates import heatmap, images, side_by_side
from cutaway.ladder.image_data import read_images
from cutaway.pipeline.rungs.two_bibles import BASIC_ENGLISH_LABEL, KING_JAMES_LABEL, pieces
from cutaway.runs import BadInput

Floats = npt.NDArray[np.float64]

LETTERS = string.ascii_lowercase
HELD_OUT = 0.2
"""Share of the chapters that the neuron is tested on."""


@dataclass(frozen=True)
class Task:
    """Examples of two kinds, of which the second is to be answered with 1.

    Attributes:
        name: what they are.
        kinds: what the two are called.
        train_x: `[example, input]`.
        train_y: 0 or 1, `[example]`.
        test_x: as `train_x`.
        test_y: as `train_y`.
        shown: of each test example what a person sees of it; nothing of images.
        shape: rows and columns of an image; (0, 0) of letters.
    """

    name: str
    kinds: tuple[str, str]
    train_x: Floats
    train_y: Floats
    test_x: Floats
    test_y: Floats
    shown: Sequence[str]
    shape: tuple[int, int]

    def sway(self, weights: Floats) -> Floats:
        """How much each input sways the neuron: its weight times how much the input varies. Comparable, as weights of
        inputs that vary more or less are not.
        """
        return weights * self.train_x.std(0)

    def drawn(self, weights: Floats) -> str:
        """What the neuron has learned to look for."""
        less, more = self.kinds
        sway = self.sway(weights)
        if not self.shape[0]:
            title = f"What each letter says: {less} (blue) or {more} (red)"
            return heatmap(sway[None], title, columns=list(LETTERS), cell=22)
        means = [self.train_x[self.train_y == kind].mean(0).reshape(self.shape) for kind in (0, 1)]
        seen = images(means, "The average of each", names=self.kinds, size=132)
        looked_for = images(
            [sway.reshape(self.shape)],
            "What each pixel says",
            names=[f"{less} (blue) or {more} (red)"],
            scale="signed",
            limit=float(np.abs(sway).max()),
            size=132,
        )
        return side_by_side([seen, looked_for], "Two kinds of image, and the neuron that tells them apart")


def letter_shares(texts: Sequence[str]) -> Floats:
    """Of each text, what share of its letters is an a, a b, ...: `[text, 26]`."""
    counts = np.array([[text.count(letter) for letter in LETTERS] for text in map(str.lower, texts)], float)
    return counts / np.maximum(1, counts.sum(1, keepdims=True))


def letters(seed: int) -> Task:
    """Paragraphs of two Bibles. Held out are whole chapters, in both, so that no story is learned and tested on."""
    read = list(pieces("paragraph"))
    chapters = sorted({piece.chapter for piece in read})
    held = np.random.default_rng(seed).random(len(chapters)) < HELD_OUT
    tested_on = {chapter for chapter, out in zip(chapters, held, strict=True) if out}
    x = letter_shares([piece.text for piece in read])
    y = np.array([piece.label == KING_JAMES_LABEL for piece in read], float)
    out = np.array([piece.chapter in tested_on for piece in read])
    shown = [piece.text for piece in read if piece.chapter in tested_on]
    kinds = (BASIC_ENGLISH_LABEL, KING_JAMES_LABEL)
    return Task("paragraphs of two Bibles, by their letters", kinds, x[~out], y[~out], x[out], y[out], shown, (0, 0))


def pictures(path: Path | None, pair: tuple[int, int]) -> Task:
    """Images of two of ten classes; see `image_data.read_images`.

    Raises:
        BadInput: as that does; or the two classes are one, or there are no images of one of them.
    """
    if pair[0] == pair[1]:
        raise BadInput(f"the pair is {pair[0]} and {pair[1]}; give two different classes to tell apart")
    data = read_images(path)
    parts: list[Floats] = []
    for x, y in ((data.train_x, data.train_y), (data.test_x, data.test_y)):
        for label in pair:
            if not (y == label).any():
                raise BadInput(f"{path or data.name} has no image of class {label}; choose others with neuron.pair")
        of_pair = (y == pair[0]) | (y == pair[1])
        parts += [x[of_pair].reshape(int(of_pair.sum()), -1).astype(float), (y[of_pair] == pair[1]).astype(float)]
    shape = (data.train_x.shape[1], data.train_x.shape[2])
    return Task(f"{data.name}: {pair[0]} or {pair[1]}", (str(pair[0]), str(pair[1])), *parts, shown=(), shape=shape)
