"""Charts draw finite numbers only, inside their frame."""

from __future__ import annotations

import re
from itertools import pairwise
from math import ulp
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from cutaway.evals.charts import Chart, Reference, Series, draw, inside, smooth, spread_apart, thin
from cutaway.evals.numbers import plain, short, ticks
from cutaway.evals.strips import Mark, strip

numbers = st.floats(-1e9, 1e9) | st.just(float("nan")) | st.just(float("inf"))
lines = st.lists(st.tuples(numbers, numbers), max_size=60).map(lambda line: sorted(line, key=lambda p: str(p[0])))


@given(st.lists(lines, max_size=3), st.lists(st.floats(-1e6, 1e6), max_size=2))
def test_any_numbers_make_a_chart_or_none(several: list[list[tuple[float, float]]], levels: list[float]) -> None:
    series = [Series(f"<{i}>", line, "abc"[i], faint=i == 1) for i, line in enumerate(several)]
    drawn = draw(Chart("a & b", series, "x", references=[Reference("r", y) for y in levels]))
    if not drawn:
        return
    ElementTree.fromstring(drawn)
    assert "nan" not in drawn
    assert "inf" not in drawn


def test_lines_stay_in_the_frame() -> None:
    line = [(float(x), 100.0 / (x + 1)) for x in range(100)]
    drawn = draw(Chart("t", [Series("s", line)], "x", width=400, height=200, y_range=(0, 20)))
    (path,) = re.findall(r'<path [^>]*d="([^"]+)"', drawn)
    for x, y in re.findall(r"[ML]([\d.-]+) ([\d.-]+)", path):
        assert 0 <= float(x) <= 400
        assert 0 <= float(y) <= 200


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(-3, 3)), max_size=30))
def test_a_cut_line_lies_between_its_levels(line: list[tuple[float, float]]) -> None:
    for run in inside(sorted(line), -1, 1):
        assert len(run) > 1
        assert all(-1 <= y <= 1 for _, y in run)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 8))
def test_ticks_are_few_round_and_inside(low: float, span: float, count: int) -> None:
    found = ticks(low, low + span, count)
    assert len(found) <= 3 * count
    # Where the span is down among the last digits of a large number, those digits are all there is.
    slack = 1e-6 * span + 8 * ulp(abs(low) + span)
    assert all(low - slack <= tick <= low + span + slack for tick in found)


@given(st.lists(st.floats(0, 100), max_size=8).map(sorted))
def test_labels_keep_their_distance(places: list[float]) -> None:
    moved = spread_apart(places, 10, 0, 100)
    assert all(b - a >= 10 - 1e-9 for a, b in pairwise(moved))


def test_smoothing_keeps_a_constant_and_lags_behind_nothing() -> None:
    assert [round(y, 9) for _, y in smooth([(x, 5.0) for x in range(30)])] == [5.0] * 30
    straight = smooth([(float(x), float(x)) for x in range(200)], 0.8)
    assert abs(straight[100][1] - 100) < 1e-6
    kept = thin([(float(x), 0.0) for x in range(1001)], 100)
    assert len(kept) <= 102
    assert kept[-1][0] == 1000


def test_numbers_as_people_write_them() -> None:
    assert [short(n) for n in (950, 1500, 2_400_000, 9.2e9)] == ["950", "1.5k", "2.4M", "9.2B"]
    assert [plain(n) for n in (0, 0.02, 1.5, 250, 12000)] == ["0", "0.02", "1.5", "250", "12k"]


def test_a_strip_says_what_it_shows() -> None:
    drawn = strip([Mark("before", 0.25, 40, "a"), Mark("<after>", 1.0, 40, "c")], target=0.9)
    ElementTree.fromstring(drawn)
    assert "before 25%, &lt;after&gt; 100%, target 90%" in drawn
