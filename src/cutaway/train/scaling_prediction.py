"""What a law foretells of a run that has not begun, put on record with the time; and what then came of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cutaway.runs import atomic
from cutaway.train.scaling_fit import NUMBERS, Fitted
from cutaway.train.scaling_ladder import FinishedRun

LAW, PREDICTION, OUTCOME = "law.json", "prediction.json", "outcome.json"


@dataclass(frozen=True)
class Prediction:
    """What is foretold of a run. Losses are in nats a token; the times are UTC, ISO 8601."""

    made: str
    """When."""
    name: str
    parameters: int
    tokens: int
    flops: float
    """Operations that its training will take."""
    times_largest: float
    """Those, over the operations of the largest run that the law was fitted to."""
    loss: float
    band: tuple[float, float]
    """95% interval of the law at this size and length."""
    interval: tuple[float, float]
    """95% interval of the run: that of the law, and a run's scatter about it."""
    runs: int
    """Runs that the law was fitted to."""

    def write(self, directory: Path) -> None:
        """Put it on record."""
        atomic.write_json(directory / PREDICTION, asdict(self))

    @classmethod
    def read(cls, directory: Path) -> Prediction:
        """The prediction that is on record."""
        held: dict[str, Any] = json.loads((directory / PREDICTION).read_text("utf-8"))
        pairs: dict[str, Any] = {name: (held[name][0], held[name][1]) for name in ("band", "interval")}
        return cls(**(held | pairs))

    def holds(self, loss: float) -> bool:
        """Whether a loss lies in the interval."""
        return self.interval[0] <= loss <= self.interval[1]


@dataclass(frozen=True)
class Outcome:
    """What came of the run that was foretold, and when it began and ended."""

    began: str
    finished: str
    run: FinishedRun

    def write(self, directory: Path) -> None:
        """Put it on record."""
        atomic.write_json(directory / OUTCOME, asdict(self))

    @classmethod
    def read(cls, directory: Path) -> Outcome:
        """The outcome that is on record."""
        held: dict[str, Any] = json.loads((directory / OUTCOME).read_text("utf-8"))
        return cls(held["began"], held["finished"], FinishedRun(**held["run"]))


def predict(
    fitted: Fitted, runs: Sequence[FinishedRun], name: str, parameters: int, tokens: int, flops: float
) -> Prediction:
    """What the law foretells of a run of so many parameters, tokens and operations."""
    return Prediction(
        made=now(),
        name=name,
        parameters=parameters,
        tokens=tokens,
        flops=flops,
        times_largest=flops / max(run.flops for run in runs),
        loss=fitted.law.loss(parameters, tokens),
        band=fitted.band(parameters, tokens),
        interval=fitted.interval(parameters, tokens),
        runs=len(runs),
    )


def write_law(fitted: Fitted, runs: Sequence[FinishedRun], directory: Path) -> None:
    """Write `law.json`, which `cutaway plan --fit` reads: the five numbers, and beside them how sure they are."""
    atomic.write_json(
        directory / LAW,
        {
            **{name: getattr(fitted.law, name) for name in NUMBERS},
            "unit": "nats a token of this run's held-out text; N: all parameters; D: tokens, each read once",
            "made": now(),
            "intervals_95": fitted.numbers(),
            "hardly_determined": fitted.loose,
            "spread_of_runs": fitted.spread,
            "runs": len(runs),
            "parameters": extent([run.parameters for run in runs]),
            "tokens": extent([run.tokens for run in runs]),
        },
    )


def extent(values: Sequence[int]) -> tuple[int, int]:
    """The least and the greatest."""
    return min(values), max(values)


def now() -> str:
    """This moment."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
