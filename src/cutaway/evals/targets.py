"""What must hold of the demo run, checked against its results: the table that a release stands on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Literal

from cutaway.evals.measures import BASELINE_STAGE, MEASURES, RUN_STAGE, Measure, measure_of, written
from cutaway.runs.results import Result

MOST_SECONDS = 15 * 60.0
MOST_BYTES = 4e9
GOAL_BITS_PER_BYTE = 1.25
LEAST_GAIN = 15.0
MOST_COST = 1.0
LEARNABLE = (0.30, 0.70)
TAUGHT_BY_RL = ("three_operands", "products")

# Figures shown for contrast, and those that say the same as another with the sign turned, count as no skill.
_NOT_A_SKILL = ("made_up", "sums_direct", "without_calculator", "bits_per_byte")


@dataclass(frozen=True)
class Check:
    """One requirement: what it is, what was measured, where the bound lies.

    ``bound`` and ``value`` are in ``unit``; ``kind`` says on which side of the bound the value must be ("goal": at
    most, but wished for rather than required).
    """

    name: str
    value: float
    bound: float
    unit: str
    kind: Literal["at least", "at most", "below", "goal"]
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether the value is on the right side of the bound."""
        if self.kind == "at least":
            return self.value >= self.bound - 1e-9
        if self.kind == "below":
            return self.value < self.bound
        return self.value <= self.bound + 1e-9

    @property
    def required(self) -> str:
        """The bound in words."""
        word = "goal" if self.kind == "goal" else self.kind
        return f"{word} {written(self.bound, self.unit).removeprefix('+')}"


class Table:
    """Results by stage and metric, with the stages in the order they came."""

    def __init__(self, results: Iterable[Result]) -> None:
        self._results = {(r.stage, r.metric): r for r in results}
        # The stages that evaluated a model, and of those the ones in the line that ends in the finished assistant.
        self.stages = list(dict.fromkeys(s for s, _ in self._results if s not in (BASELINE_STAGE, RUN_STAGE)))
        self.line = [s for s in ("pretrain", "sft", "rl") if s in self.stages] or self.stages
        self.metrics = list(dict.fromkeys(m for s, m in self._results if s in self.stages))

    def get(self, stage: str, metric: str) -> Result | None:
        """The result of a stage, or None if it was not measured."""
        found = self._results.get((stage, metric))
        return None if found is None or isnan(found.value) else found

    def value(self, stage: str, metric: str) -> float | None:
        """The value of a result, or None."""
        found = self.get(stage, metric)
        return None if found is None else found.value

    def of_run(self) -> Iterator[Result]:
        """Results of the run as a whole."""
        return (r for (stage, _), r in self._results.items() if stage == RUN_STAGE)

    def baselines(self) -> list[tuple[str, float]]:
        """Names and bits per byte of what the model is compared with."""
        return [(m, r.value) for (s, m), r in self._results.items() if s == BASELINE_STAGE and r.unit == "bits/byte"]


def checks(results: Iterable[Result]) -> list[Check]:
    """Every requirement that the results allow to check, in the order in which a person would ask."""
    table = Table(results)
    makers: Sequence[Callable[[Table], Iterator[Check]]] = (_run, _language, _single, _reinforcement)
    return [check for maker in makers for check in maker(table)]


def _run(table: Table) -> Iterator[Check]:
    for result in table.of_run():
        if result.metric == "seconds":
            yield Check("The whole run", result.value, MOST_SECONDS, "seconds", "at most")
        elif result.metric == "peak_memory":
            yield Check("Peak memory", result.value, MOST_BYTES, "bytes", "below")


def _language(table: Table) -> Iterator[Check]:
    measured = [(v, s) for s in table.line if (v := table.value(s, "bits_per_byte")) is not None]
    if not measured:
        return
    worst, stage = max(measured)
    note = "after every stage" if len(measured) > 1 else ""
    for name, value in table.baselines():
        yield Check(
            f"Held-out bits per byte, against {BASELINES.get(name, name)}", worst, value, "bits/byte", "below", note
        )
    best, stage = min(measured)
    yield Check("Held-out bits per byte, at its best", best, GOAL_BITS_PER_BYTE, "bits/byte", "goal", f"after {stage}")


BASELINES = {"xz": "xz −9e", "kneser_ney": "a Kneser–Ney 5-gram"}
"""Names of baselines for a person."""


def _single(table: Table) -> Iterator[Check]:
    last = table.line[-1] if table.line else ""
    for metric, measure in MEASURES.items():
        value = table.value(last, metric)
        if measure.target is not None and value is not None:
            yield Check(
                _name(measure), value, measure.target, "share", "at least" if measure.higher_is_better else "at most"
            )


def _name(measure: Measure) -> str:
    return f"{measure.title} ({measure.note})" if measure.note else measure.title


def practised(table: Table) -> str | None:
    """The metric to judge reinforcement learning by: of the families that were half-learned before, the one moved."""
    gains = {m: g for m in TAUGHT_BY_RL if (g := _gain(table, m)) is not None}
    fit = [metric for metric in gains if _half_learned(table, metric)]
    return max(fit or gains, key=lambda metric: gains[metric], default=None)


def _half_learned(table: Table, metric: str) -> bool:
    return LEARNABLE[0] <= (table.value("sft", metric) or 0.0) <= LEARNABLE[1]


def _reinforcement(table: Table) -> Iterator[Check]:
    if "sft" not in table.stages or "rl" not in table.stages:
        return
    family = practised(table)
    if family:
        fit = _half_learned(table, family)
        start = f"from {table.value('sft', family):.1%}" + ("" if fit else ", outside 30% to 70%")
        name = f"Gained by reinforcement learning: {measure_of(family).title.lower()}"
        yield Check(name, _gain(table, family) or 0.0, LEAST_GAIN, "points", "at least", start)
    costs = {
        m: g
        for m in table.metrics
        if "/" not in m and not m.startswith(_NOT_A_SKILL) and m != family and (g := _gain(table, m)) is not None
    }
    if costs:
        worst = min(costs, key=lambda metric: costs[metric])
        yield Check(
            "Cost of reinforcement learning to its worst-hit skill",
            max(0.0, -costs[worst]),
            MOST_COST,
            "points",
            "at most",
            measure_of(worst).title.lower() if costs[worst] < 0 else "no skill lost",
        )


def _gain(table: Table, metric: str) -> float | None:
    """How many points better a share is after reinforcement learning than before."""
    before, after = table.get("sft", metric), table.get("rl", metric)
    if before is None or after is None or after.unit != "share":
        return None
    return (after.value - before.value) * 100 * (1 if after.higher_is_better else -1)
