"""What was measured: the rows of report.json and of each stage's evals.json."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cutaway.runs.atomic import write_json
from cutaway.runs.errors import BadInput


@dataclass(frozen=True)
class Result:
    """One measured figure.

    Attributes:
        stage: the stage whose model was measured, such as "sft".
        metric: what was measured, such as "facts_known".
        value: the figure, in `unit`.
        unit: such as "bits/byte", "share" (0 to 1), "tokens/s".
        n: how many items (questions, bytes, ...) it was measured on.
        seed: the run's seed.
        higher_is_better: which way is good.
    """

    stage: str
    metric: str
    value: float
    unit: str
    n: int
    seed: int
    higher_is_better: bool


def write_results(
    path: str | os.PathLike[str], results: Iterable[Result], others: Mapping[str, Any] | None = None
) -> None:
    """Write `{"results": [...], **others}` to `path` atomically; a value that is not finite is written as null."""
    rows = [asdict(result) for result in results]
    for row in rows:
        if not math.isfinite(row["value"]):
            row["value"] = None
    write_json(path, {"results": rows, **(others or {})})


def read_results(path: str | os.PathLike[str]) -> list[Result]:
    """The results in `path`; a null value comes back as NaN.

    Raises:
        BadInput: the file is not there or does not hold results.
    """
    path = Path(path)
    try:
        rows: list[dict[str, Any]] = json.loads(path.read_bytes())["results"]
        for row in rows:
            if row["value"] is None:
                row["value"] = math.nan
        return [Result(**row) for row in rows]
    except FileNotFoundError:
        raise BadInput(f"{path} is not there; evaluate the model first (cutaway eval MODEL)") from None
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path} does not hold results ({error}); evaluate the model again") from error
