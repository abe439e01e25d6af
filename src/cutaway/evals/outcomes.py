"""What a model was asked, what it said, and whether that counted: kept so that a person can check the figures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cutaway.runs.atomic import write_text

OUTCOMES = "outcomes.jsonl"
"""The file beside a stage's evals.json."""


@dataclass(frozen=True)
class Outcome:
    """One question as it went. ``counted`` says for each of the task's metrics whether the reply counts."""

    task: str
    question: str
    reply: str
    answer: str | None
    counted: Mapping[str, bool]


def write_outcomes(path: Path, outcomes: Iterable[Outcome]) -> None:
    """One JSON object a line, atomically."""
    write_text(path, "".join(json.dumps(asdict(outcome), ensure_ascii=False) + "\n" for outcome in outcomes))


def read_outcomes(path: Path) -> list[Outcome]:
    """What `write_outcomes` wrote; nothing if the file is not there."""
    if not path.exists():
        return []
    # Split at line feeds alone: JSON leaves other line separators as they are inside its strings.
    rows: list[dict[str, Any]] = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    return [Outcome(**row) for row in rows]
