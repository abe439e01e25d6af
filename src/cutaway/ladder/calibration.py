"""Calibration: is what a filter calls 90% sure right nine times of ten?

A probability is calibrated if, of all texts that get the probability p, the share p is a yes. One text cannot show it;
many can: texts are put into bins by their probability, and in each bin the mean probability is set beside the share of
yes. Drawn, that is the reliability diagram (Murphy and Winkler 1977), on whose diagonal a calibrated filter lies. The
mean distance from it, each bin weighed by its texts, is the expected calibration error (Naeini et al. 2015):

    ECE = sum over bins of (texts in the bin / texts) * |share of yes - mean probability|
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cutaway.ladder.activations import sigmoid

Floats = npt.NDArray[np.float64]

BINS = 10
"""Bins of equal width between 0 and 1."""


@dataclass(frozen=True)
class Bin:
    """Texts of about the same probability: how many, its mean, and the share of yes among them."""

    texts: int
    probability: float
    share: float


def reliability(probabilities: Floats, targets: Floats) -> list[Bin]:
    """The bins that hold any text, from low to high. `targets` are 1 for yes, 0 for no; both `[text]`."""
    which = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    members = [which == number for number in range(BINS)]
    return [
        Bin(int(those.sum()), float(probabilities[those].mean()), float(targets[those].mean()))
        for those in members
        if those.any()
    ]


def calibration_error(probabilities: Floats, targets: Floats) -> float:
    """ECE: 0 is calibrated, 1 is always certain and always wrong."""
    bins = reliability(probabilities, targets)
    return sum(one.texts * abs(one.share - one.probability) for one in bins) / len(probabilities)


def error_by_chance(probabilities: Floats, seed: int, draws: int = 200) -> float:
    """The median ECE of a filter that is calibrated exactly: its own probabilities, with targets drawn by them.

    It is not nought, for the share of yes among few texts scatters. An ECE about this large shows no fault.
    """
    random = np.random.default_rng(seed)
    drawn = random.random((draws, len(probabilities))) < probabilities
    return float(np.median([calibration_error(probabilities, one.astype(float)) for one in drawn]))


def log_loss(probabilities: Floats, targets: Floats) -> float:
    """Mean surprise at the targets, in nats: low only for who is both discerning and calibrated.

    Probabilities nearer to 0 or 1 than 1e-15 count as that near, or one certain mistake would make all infinite.
    """
    p = np.clip(probabilities, 1e-15, 1 - 1e-15)
    return float(-np.mean(targets * np.log(p) + (1 - targets) * np.log1p(-p)))


@dataclass(frozen=True)
class Platt:
    """One neuron with one input, which turns any score into a probability: p = sigmoid(scale * score + shift).

    With the scores z of a network, 1 / scale is the temperature of its sigmoid (Guo et al. 2017): above 1 for a network
    that is too sure of itself.
    """

    scale: float
    shift: float

    def probabilities(self, scores: Floats) -> Floats:
        """Of each score `[text]`, how likely yes is."""
        return sigmoid(self.scale * scores + self.shift)


def platt(scores: Floats, targets: Floats) -> Platt:
    """Fit scale and shift to texts that the filter has not learned from (Platt 1999).

    By Newton's method on the cross-entropy, two numbers being few enough for the whole curvature. Platt's smoothed
    targets, (yes + 1) / (yes + 2) and 1 / (no + 2), keep the scale finite where a score separates all texts.
    """
    yes = float(targets.sum())
    no = len(targets) - yes
    wanted = np.where(targets > 0.5, (yes + 1) / (yes + 2), 1 / (no + 2))
    middle, spread = float(scores.mean()), float(scores.std()) or 1.0
    x = np.column_stack([(scores - middle) / spread, np.ones(len(scores))])

    def loss(at: Floats) -> float:
        z = x @ at
        return float((np.logaddexp(0.0, z) - wanted * z).mean())

    found = np.zeros(2)
    for _ in range(100):
        p = sigmoid(x @ found)
        slope = x.T @ (p - wanted) / len(x)
        bend = (x * (p * (1 - p))[:, None]).T @ x / len(x) + 1e-12 * np.eye(2)
        move = np.linalg.solve(bend, slope)
        # Far from the valley a whole step may overshoot.
        while loss(found - move) > loss(found) and np.abs(move).max() > 1e-12:
            move = move / 2
        found = found - move
        if np.abs(move).max() < 1e-10:
            break
    scale = float(found[0]) / spread
    return Platt(scale, float(found[1]) - scale * middle)
