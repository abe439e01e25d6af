"""The log of a training run: JSON Lines that survive a kill in the middle of a line."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, cast

from cutaway.runs.atomic import told_plainly, write_text


class MetricsLog:
    """A file of one JSON object a line, appended to as training goes. The object's `step` orders the lines."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._checked = False

    def append(self, row: dict[str, Any]) -> None:
        """Add one line, handed to the system before this returns. NaN and infinities become null: JSON has neither.

        Raises:
            CutawayError: the disk is full.
        """
        if not self._checked:
            self._cut_torn_line()
            self._checked = True
        line = json.dumps({key: _finite(value) for key, value in row.items()}, ensure_ascii=False) + "\n"
        with told_plainly(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # One unbuffered write a line: a kill leaves whole lines and at most one torn at the end.
            with open(self.path, "ab", buffering=0) as file:
                file.write(line.encode())

    def truncate_after(self, step: int) -> None:
        """Drop the lines of steps later than `step`, which a run resumed from `step` is about to write again."""
        rows = MetricsLog.read(self.path)
        kept = [row for row in rows if row.get("step", step) <= step]
        if self.path.exists():
            write_text(self.path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))

    @staticmethod
    def read(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
        """All whole lines of the log, in order; a line torn by a kill is left out, a file not there is empty."""
        path = Path(path)
        if not path.exists():
            return []
        rows: list[dict[str, Any]] = []
        for line in path.read_bytes().splitlines():
            try:
                row: object = json.loads(line)
            except ValueError:  # also UnicodeDecodeError: torn inside a character
                continue
            if isinstance(row, dict):
                rows.append(cast("dict[str, Any]", row))
        return rows

    def _cut_torn_line(self) -> None:
        if not self.path.exists():
            return
        data = self.path.read_bytes()
        if data and not data.endswith(b"\n"):
            os.truncate(self.path, data.rfind(b"\n") + 1)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
