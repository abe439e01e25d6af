from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from cutaway.runs import MetricsLog

rows = st.lists(
    st.fixed_dictionaries({"step": st.integers(0, 50), "text": st.text(max_size=20), "loss": st.floats(-10, 10)}),
    max_size=8,
)


@given(rows=rows, cut=st.integers(0, 60), after=rows)
def test_a_torn_line_costs_only_itself(rows: list[dict[str, object]], cut: int, after: list[dict[str, object]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "stage", "metrics.jsonl")
        log = MetricsLog(path)
        for row in rows:
            log.append(row)
        assert MetricsLog.read(path) == rows
        if rows:
            data = path.read_bytes()
            last = len(data.splitlines()[-1]) + 1
            cut = cut % last  # tear within the last line; 0 leaves it whole
            path.write_bytes(data[: len(data) - cut])
            whole = rows[:-1] if cut > 1 else rows
            assert MetricsLog.read(path) == whole
            survived = rows[:-1] if cut else rows
            log = MetricsLog(path)
            for row in after:
                log.append(row)
            assert MetricsLog.read(path) == (survived + after if after else whole)


@given(rows=rows, step=st.integers(-1, 51))
def test_truncate_after(rows: list[dict[str, object]], step: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "metrics.jsonl")
        log = MetricsLog(path)
        log.truncate_after(step)
        for row in rows:
            log.append(row)
        log.truncate_after(step)
        assert MetricsLog.read(path) == [row for row in rows if row["step"] <= step]  # type: ignore[operator]
        log.append({"step": 99})
        assert MetricsLog.read(path)[-1] == {"step": 99}


def test_lines_are_strict_json(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "m.jsonl")
    log.append({"step": 1, "loss": float("nan"), "lr": float("inf"), "text": "two\nlines\u2028é"})
    [line] = (tmp_path / "m.jsonl").read_bytes().splitlines()
    row = json.loads(line, parse_constant=lambda name: pytest_fail(name))
    assert row == {"step": 1, "loss": None, "lr": None, "text": "two\nlines\u2028é"}


def pytest_fail(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")
