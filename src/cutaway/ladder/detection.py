"""What a filter finds, what it stops wrongly, and from which probability on it should stop.

A filter gives each text a score, and a threshold makes that a decision. Of all texts that should be stopped ("yes") and
those that should pass ("no"):

                        stopped                 passed
    yes                 hit                     miss
    no                  false alarm             (rightly passed)

    precision = hits / (hits + false alarms)    of what was stopped, how much deserved it
    recall    = hits / (hits + misses)          of what deserved it, how much was stopped

A lower threshold finds more and stops more wrongly; there is no best one without saying what each mistake costs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Detection:
    """How a filter's decisions came out, as numbers of texts."""

    hits: int
    false_alarms: int
    misses: int
    passed: int

    @property
    def precision(self) -> float:
        """1 where nothing was stopped, for then nothing was stopped wrongly."""
        stopped = self.hits + self.false_alarms
        return self.hits / stopped if stopped else 1.0

    @property
    def recall(self) -> float:
        """1 where there was nothing to find."""
        wanted = self.hits + self.misses
        return self.hits / wanted if wanted else 1.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall (van Rijsbergen 1979): high only where both are."""
        return 2 * self.hits / max(1, 2 * self.hits + self.false_alarms + self.misses)

    @property
    def accuracy(self) -> float:
        """The share of right decisions, which says little where few texts are to be stopped."""
        right = self.hits + self.passed
        return right / max(1, right + self.false_alarms + self.misses)

    def cost(self, false_alarm: float) -> float:
        """The mistakes in all, where a miss costs 1 and a false alarm `false_alarm`."""
        return self.misses + false_alarm * self.false_alarms


def decided(scores: Floats, targets: Floats, threshold: float) -> Detection:
    """What comes of stopping all texts whose score `[text]` is at least `threshold`; `targets` are 1 for yes, 0."""
    stopped, yes = scores >= threshold, targets > 0.5
    return Detection(
        int(np.sum(stopped & yes)),
        int(np.sum(stopped & ~yes)),
        int(np.sum(~stopped & yes)),
        int(np.sum(~stopped & ~yes)),
    )


def every_threshold(scores: Floats, targets: Floats) -> list[tuple[float, Detection]]:
    """All that a threshold can do: one for each different score, from the highest down, with what comes of it.

    One pass over the sorted scores counts them all: lowering the threshold past a text only adds that text.
    """
    order = np.argsort(-scores, kind="stable")
    sorted_scores, yes = scores[order], targets[order] > 0.5
    last_of_its_score = np.flatnonzero(np.append(np.diff(sorted_scores) != 0, True))
    hits, stopped = np.cumsum(yes)[last_of_its_score], last_of_its_score + 1
    n_yes, n = int(yes.sum()), len(scores)
    return [
        (float(sorted_scores[at]), Detection(int(h), int(s - h), n_yes - int(h), n - n_yes - int(s - h)))
        for at, h, s in zip(last_of_its_score, hits, stopped, strict=True)
    ]


def average_precision(scores: Floats, targets: Floats) -> float:
    """The area under precision over recall: the sum over all thresholds of (recall gained) * precision."""
    area, before = 0.0, 0.0
    for _, found in every_threshold(scores, targets):
        area += (found.recall - before) * found.precision
        before = found.recall
    return area


def threshold_by_cost(false_alarm: float) -> float:
    """From which probability p of yes on a text should be stopped, a miss costing 1 and a false alarm `false_alarm`.

    Passing it costs p * 1 on average, stopping it (1 - p) * false_alarm; these are equal at

        p = false_alarm / (1 + false_alarm)

    (Elkan 2001): 1/2 where both cost the same, 10/11 where one good letter lost is as bad as ten unwanted ones read. It
    is the best threshold if the filter's probabilities are true; `calibration` is about that.
    """
    return false_alarm / (1 + false_alarm)


def cheapest_threshold(scores: Floats, targets: Floats, false_alarm: float) -> float:
    """The threshold that costs least on these texts, found by trying all; infinity where stopping none is cheapest."""
    best, cost = float("inf"), float(np.sum(targets > 0.5))
    for threshold, found in every_threshold(scores, targets):
        if found.cost(false_alarm) < cost:
            best, cost = threshold, found.cost(false_alarm)
    return best
