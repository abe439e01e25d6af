"""How good the filters of rung 6 are: what they find, how true their probabilities are, what their mistakes cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cutaway.ladder.activations import sigmoid
from cutaway.ladder.calibration import Bin, calibration_error, error_by_chance, log_loss, platt, reliability
from cutaway.ladder.detection import (
    Detection,
    average_precision,
    cheapest_threshold,
    decided,
    every_threshold,
    threshold_by_cost,
)
from cutaway.pipeline.rungs.labelled_texts import LabelledTexts
from cutaway.pipeline.rungs.spam_filters import Filter, Parts

Floats = npt.NDArray[np.float64]

HALF, BY_COST, BY_TRIAL = "one half", "by cost", "by trial"
"""Ways to choose a threshold: p = 1/2; as Elkan has it; that which costs least on the texts to choose by."""
EACH = 1000
"""Costs are told for so many texts."""


@dataclass(frozen=True)
class Measured:
    """A filter and its figures on the texts to be tested on.

    Attributes:
        filter: the filter.
        probabilities: its scores as probabilities of "stop", scaled by Platt on the texts to choose by, `[text]`.
        temperature: by which the scaling divides the scores.
        choosing_loss: log loss of these on the texts to choose by, in nats.
        loss: log loss on the texts to be tested on.
        raw_error: ECE of sigmoid(score), if that is meant as a probability.
        error: ECE of `probabilities`.
        chance: the ECE that probabilities such as these have by chance, though they be true.
        raw_bins: the reliability diagram that belongs to `raw_error`.
        bins: that of `error`.
        average_precision: the area under precision over recall.
        curve: (recall, precision) at every threshold.
        decisions: for each way to choose a threshold, the threshold and what comes of it.
    """

    filter: Filter
    probabilities: Floats
    temperature: float
    choosing_loss: float
    loss: float
    raw_error: float | None
    error: float
    chance: float
    raw_bins: Sequence[Bin]
    bins: Sequence[Bin]
    average_precision: float
    curve: Sequence[tuple[float, float]]
    decisions: Mapping[str, tuple[float, Detection]]

    def figures(self) -> list[tuple[str, float, str, bool]]:
        """Metric, value, unit, and whether more is better."""
        half, by_cost = self.decisions[HALF][1], self.decisions[BY_COST][1]
        found: list[tuple[str, float, str, bool]] = [
            ("accuracy", half.accuracy, "share", True),
            ("precision", half.precision, "share", True),
            ("recall", half.recall, "share", True),
            ("f1", half.f1, "share", True),
            ("average_precision", self.average_precision, "share", True),
            ("log_loss", self.loss, "nats", False),
            ("calibration_error", self.error, "share", False),
            ("precision_by_cost", by_cost.precision, "share", True),
            ("recall_by_cost", by_cost.recall, "share", True),
        ]
        if self.raw_error is not None:
            found.append(("calibration_error_unscaled", self.raw_error, "share", False))
        return found


@dataclass(frozen=True)
class Comparison:
    """All filters on the same texts. A false alarm costs `false_alarm`, a miss 1."""

    data: LabelledTexts
    parts: Parts
    filters: Sequence[Measured]
    false_alarm: float

    @property
    def best(self) -> Measured:
        """The filter that the texts to choose by surprise least."""
        return min(self.filters, key=lambda one: one.choosing_loss)

    def cost(self, found: Detection) -> float:
        """What the mistakes cost in 1,000 texts."""
        return EACH * found.cost(self.false_alarm) / len(self.parts.test.texts)

    def words(self, most: int) -> dict[str, float]:
        """The words that speak most for and against stopping, in the best filter in which a word has one weight."""
        single = [one for one in self.filters if one.filter.weights is not None]
        best = min(single, key=lambda one: one.choosing_loss).filter
        assert best.weights is not None
        order = np.argsort(-best.weights, kind="stable").tolist()
        chosen = [*order[:most], *order[max(most, len(order) - most) :]]
        return {self.parts.vocabulary.words[i]: float(best.weights[i]) for i in chosen}

    def as_json(self) -> dict[str, Any]:
        """What the pictures are drawn from."""
        return {
            "wanted": self.data.wanted,
            "false_alarm": self.false_alarm,
            "texts": {
                "learn": len(self.parts.learn.texts),
                "choose": len(self.parts.choose.texts),
                "test": len(self.parts.test.texts),
            },
            "words": self.words(20),
            "filters": {
                one.filter.name: {
                    "title": one.filter.title,
                    "temperature": one.temperature,
                    "bins": [(b.texts, b.probability, b.share) for b in one.bins],
                    "raw_bins": [(b.texts, b.probability, b.share) for b in one.raw_bins],
                    "curve": thinned(one.curve),
                    "decisions": {
                        how: {
                            "threshold": at if np.isfinite(at) else None,
                            "precision": d.precision,
                            "recall": d.recall,
                        }
                        for how, (at, d) in one.decisions.items()
                    },
                }
                for one in self.filters
            },
        }


def thinned(curve: Sequence[tuple[float, float]], most: int = 200) -> list[tuple[float, float]]:
    """About `most` points of a curve, its last among them."""
    every = max(1, len(curve) // most)
    return [point for i, point in enumerate(curve) if i % every == 0 or i == len(curve) - 1]


def measured(one: Filter, parts: Parts, false_alarm: float, seed: int) -> Measured:
    """A filter's figures. Its scale and thresholds are chosen on the texts to choose by."""
    choose, test = parts.choose.targets, parts.test.targets
    scaled = platt(one.on_choose, choose)
    chosen, probabilities = scaled.probabilities(one.on_choose), scaled.probabilities(one.on_test)
    raw = sigmoid(one.on_test) if one.probable else None
    thresholds = {
        HALF: 0.5,
        BY_COST: threshold_by_cost(false_alarm),
        BY_TRIAL: cheapest_threshold(chosen, choose, false_alarm),
    }
    return Measured(
        filter=one,
        probabilities=probabilities,
        temperature=1 / scaled.scale if scaled.scale else float("inf"),
        choosing_loss=log_loss(chosen, choose),
        loss=log_loss(probabilities, test),
        raw_error=None if raw is None else calibration_error(raw, test),
        error=calibration_error(probabilities, test),
        chance=error_by_chance(probabilities, seed),
        raw_bins=[] if raw is None else reliability(raw, test),
        bins=reliability(probabilities, test),
        average_precision=average_precision(one.on_test, test),
        curve=[(found.recall, found.precision) for _, found in every_threshold(one.on_test, test)],
        decisions={how: (at, decided(probabilities, test, at)) for how, at in thresholds.items()},
    )
