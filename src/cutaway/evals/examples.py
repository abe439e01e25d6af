"""The same question to a model at each of its stages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cutaway.evals.measures import measure_of
from cutaway.evals.outcomes import Outcome


@dataclass(frozen=True)
class Asked:
    """One question, and how it went at each stage."""

    task: str
    question: str
    by_stage: Mapping[str, Outcome]

    def right(self, stage: str) -> bool:
        """Whether the reply of a stage was a good one: by the first metric of its task."""
        counted = self.by_stage[stage].counted
        metric = next(iter(counted))
        return counted[metric] == measure_of(metric).higher_is_better


def first_of_each(outcomes: Mapping[str, Sequence[Outcome]], stages: Sequence[str], most: int = 1) -> Iterator[Asked]:
    """The first ``most`` questions of every task that all of the stages were asked: not the best, the first."""
    if not stages:
        return
    by_question = {stage: {(o.task, o.question): o for o in reversed(outcomes.get(stage, ()))} for stage in stages}
    seen: dict[str, int] = {}
    for outcome in outcomes.get(stages[0], ()):
        key = (outcome.task, outcome.question)
        if seen.get(outcome.task, 0) >= most or not all(key in by_question[stage] for stage in stages):
            continue
        seen[outcome.task] = seen.get(outcome.task, 0) + 1
        yield Asked(outcome.task, outcome.question, {stage: by_question[stage][key] for stage in stages})
