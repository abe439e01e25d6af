from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from cutaway.runs import BadInput, Result, read_results, write_results


def test_round_trip(tmp_path: Path) -> None:
    results = [
        Result("sft", "facts_known", 0.93, "share", 300, 1, higher_is_better=True),
        Result("rl", "bits_per_byte", 1.24, "bits/byte", 100_000, 1, higher_is_better=False),
    ]
    write_results(tmp_path / "report.json", results, {"owner": "you"})
    assert read_results(tmp_path / "report.json") == results
    assert json.loads((tmp_path / "report.json").read_text())["owner"] == "you"


def test_a_figure_that_came_out_as_nothing(tmp_path: Path) -> None:
    write_results(tmp_path / "r.json", [Result("sft", "x", math.nan, "share", 0, 1, True)])
    assert math.isnan(read_results(tmp_path / "r.json")[0].value)
    assert "NaN" not in (tmp_path / "r.json").read_text()


@pytest.mark.parametrize("text", [None, "", "{}", '{"results": [{"stage": "x"}]}', '{"results": [3]}'])
def test_no_results(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "r.json").write_text(text)
    with pytest.raises(BadInput, match=r"r\.json"):
        read_results(tmp_path / "r.json")
